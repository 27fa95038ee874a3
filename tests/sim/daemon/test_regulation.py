"""The whole daemon follows a moving set-point with its real drivers, well enough to be paid for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.bench.regulation import BASE
from tests.sim.daemon.container import OTHER_W, SERVER_W, Container, Kind
from tests.sim.daemon.regulated import Regulated

SMALL = Container(
    kinds=(
        Kind(family="luxos", model="Antminer S21", pdu="pdu-a", count=4, rated_w=3500, rated_ths=200,
             wake_s=15, site={"dwell_s": 20}),
        Kind(family="whatsminer", model="M50SVH35", pdu="pdu-b", count=6, rated_w=3400, rated_ths=130,
             wake_s=20, site={"dwell_s": 20}),
    ),
    servers=1,
)  # fmt: skip
BAND_W = 4_000
PERIOD_S = 240.0
"""Of a set-point that moves by 4 % of the band in two seconds at most, as PJM's fast signal mostly does."""
MEAN_ERROR = 0.1
"""Of the band, on average; a Whatsminer's step is 0.04 of it, and who stands still is 0.5 off."""

pytestmark = pytest.mark.slow


def test_the_daemon_follows_a_set_point_every_two_seconds_and_passes_no_limit(tmp_path: Path) -> None:
    signal = 0.8 * np.sin(2 * np.pi * np.arange(0.0, 180.0, 2.0) / PERIOD_S)
    site = Regulated(SMALL, tmp_path, seed=1)
    base_w = BASE * SMALL.miners_w + OTHER_W + SMALL.servers * SERVER_W + SMALL.gpus * 475

    site.run([base_w + BAND_W * regd for regd in signal.tolist()], warm_up_s=70.0)

    given = (np.array(site.drawn_w) - base_w) / BAND_W
    assert np.abs(given - signal).mean() < MEAN_ERROR
    assert site.over == []
    assert site.told.shortest_dwell_s > -1.0
