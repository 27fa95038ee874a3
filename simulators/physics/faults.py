"""What can go wrong with each part of the plant, as knobs that are set by name in a file or at run time.

A knob whose name ends in `_now` acts once and springs back.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields


class BadFaultError(ValueError):
    """There is no such fault, or it does not take such a value."""


@dataclass(slots=True)
class MinerFaults:
    """The three lies acknowledge, read back as done, and do nothing. `slow_s` delays every answer."""

    lies_about_stop: bool = False
    lies_about_resume: bool = False
    lies_about_limit: bool = False
    dead: bool = False
    hangs: bool = False
    half_reply: bool = False
    garbage: bool = False
    never_closes: bool = False
    slow_s: float = 0.0
    refuses: bool = False
    wrong_password: bool = False
    session_stolen: bool = False
    frozen_reads: bool = False
    reported_power_factor: float = 1.0
    forgets_limit_on_reboot: bool = False
    reboot_now: bool = False
    pool_loss: bool = False


@dataclass(slots=True)
class GpuFaults:
    """What a board does, and what NVML then says of it.

    `lies_about_limit` accepts a limit and does not obey it; after `limit_returns_s` a limit goes back to the
    default by itself, and one of `outside_limit_w` holds beside it (a baseboard controller's). A `lost`
    board answers nothing until it is reset; one that fell `off_the_bus` says so first, by XID 79; one that
    `needs_reset` says that. `driver_gone` is an unloaded driver: what comes back has forgotten its limits.
    `denied` takes the permission to set anything. `hangs` lets every call for this board hang, `slow_s`
    delays it. `xid_now` raises that XID once. `power_brake` and `hw_slowdown` halve its power, `foreign_w`
    is what somebody else's process asks of it. A job's process that was killed is listed, and its memory
    held, until the driver `lets_go_after_s`. `frozen_reads` are of its watts alone: its limit is read as it
    is; of `mean_reads` they are the mean of a second, where no other field is to be had.
    """

    lies_about_limit: bool = False
    reset_limit_now: bool = False
    limit_returns_s: float = 0.0
    outside_limit_w: float = 0.0
    lost: bool = False
    off_the_bus: bool = False
    needs_reset: bool = False
    driver_gone: bool = False
    denied: bool = False
    hangs: bool = False
    slow_s: float = 0.0
    xid_now: float = 0.0
    ecc_uncorrected: float = 0.0
    row_remap_pending: bool = False
    row_remap_failed: bool = False
    power_brake: bool = False
    hw_slowdown: bool = False
    mig_instances: float = 0.0
    foreign_w: float = 0.0
    lets_go_after_s: float = 0.0
    frozen_reads: bool = False
    mean_reads: bool = False
    reported_power_factor: float = 1.0


@dataclass(slots=True)
class MeterFaults:
    dead: bool = False
    frozen_reads: bool = False
    reported_power_factor: float = 1.0


@dataclass(slots=True)
class PduFaults:
    """A PDU that `ignores_orders` acknowledges them; the relays of a `welded` one never open. They act
    `late_s` after an order, as those of PDUs that switch their outlets one after the other."""

    dead: bool = False
    ignores_orders: bool = False
    welded: bool = False
    late_s: float = 0.0


@dataclass(slots=True)
class ZoneFaults:
    """`supply_offset_c` is a heat wave, or a chiller in trouble; a dead sensor tells nothing."""

    fans_stopped: bool = False
    sensor_dead: bool = False
    supply_offset_c: float = 0.0


@dataclass(slots=True)
class NodeFaults:
    """`breaker_open` is set by the plant itself when the breaker trips; setting it to false closes it again.
    `foreign_w` is load that somebody connected here and told nobody of."""

    breaker_open: bool = False
    foreign_w: float = 0.0


Faults = MinerFaults | GpuFaults | MeterFaults | PduFaults | ZoneFaults | NodeFaults


def set_fault(faults: Faults, name: str, value: bool | float) -> None:
    known = {field.name: field.default for field in fields(faults)}
    if name not in known:
        raise BadFaultError(f"fault {name!r} is unknown; there are {', '.join(known)}")
    if isinstance(known[name], bool):
        if not isinstance(value, bool):
            raise BadFaultError(f"fault {name!r} takes true or false, got {value!r}")
        setattr(faults, name, value)
    else:
        if isinstance(value, bool) or not isinstance(value, int | float) or not -1e6 < value < 1e6:
            raise BadFaultError(f"fault {name!r} takes a number, got {value!r}")
        setattr(faults, name, float(value))


def neutral() -> dict[str, bool | float]:
    """Every knob of any part as it is when nothing is wrong. One name means one thing in all of them."""
    return {
        name: value
        for part in (MinerFaults(), GpuFaults(), MeterFaults(), PduFaults(), ZoneFaults(), NodeFaults())
        for name, value in asdict(part).items()
    }
