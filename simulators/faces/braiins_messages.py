"""The gRPC messages of Braiins OS+, which pyasic ships, and those of them that several services send."""

from __future__ import annotations

import logging
import warnings
from typing import Any

_root = logging.getLogger()
_before = (_root.level, list(_root.handlers))
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside pyasic, at import
    from pyasic.web.braiins_os.proto.braiins.bos import v1 as v1
_root.setLevel(_before[0])  # which pyasic changes
_root.handlers[:] = _before[1]

BEST_SHARE = 19_649_871
ACCEPTED, REJECTED = 4210, 3
SPANS = ("5_s", "15_s", "30_s", "1_m", "5_m", "15_m", "30_m", "1_h", "24_h")


def watts(value: float) -> Any:
    return v1.Power(watt=round(value))


def celsius(value: float) -> Any:
    return v1.Temperature(degree_c=round(value, 1))


def work(rate_ths: float, nominal_ths: float) -> Any:
    """What was solved over every span, as if the rate had always been this one."""
    rate = v1.GigaHashrate(gigahash_per_second=round(rate_ths * 1000, 3))
    return v1.WorkSolverStats(
        real_hashrate=v1.RealHashrate(**{f"last_{span}": rate for span in SPANS}, since_restart=rate),
        nominal_hashrate=v1.GigaHashrate(gigahash_per_second=round(nominal_ths * 1000, 3)),
        error_hashrate=v1.MegaHashrate(megahash_per_second=1.5),
        best_share=BEST_SHARE,
    )


def shares() -> Any:
    return v1.PoolStats(
        accepted_shares=ACCEPTED,
        rejected_shares=REJECTED,
        stale_shares=1,
        last_difficulty=65_536,
        best_share=BEST_SHARE,
        generated_work=41_775_104,
    )
