"""The grid side killed in the middle of events: the short run of `make bench-kill`."""

from __future__ import annotations

import pytest

from simulators.broker import mosquitto_binary
from tests.bench.kill import run


@pytest.mark.socket
@pytest.mark.slow
@pytest.mark.skipif(mosquitto_binary() is None, reason="mosquitto is not installed")
async def test_nothing_accepted_is_lost_and_nothing_is_answered_twice_or_late() -> None:
    tally = await run(kills=5, seed=1)

    assert tally.answered > 1
    assert tally.is_clean, tally
