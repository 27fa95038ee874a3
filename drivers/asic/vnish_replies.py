"""What VNish's pages say: presets and which of them a machine may be told, its setting, and what it draws."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from controller.domain.devices import OperatingPoint, Quality, Reading
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from drivers.asic.adapter import Plate, Sample, allowed_draw, hottest, mac_address, number
from drivers.base import DriverError

Reply = dict[str, Any]

STOPPED = frozenset({"stopped", "shutting-down", "paused"})
MANUAL = "disabled"
"""The preset of a machine that runs on clocks set by hand: nothing tells its watts."""

LEAST_W_PER_THS = 5.0
"""No machine needs less for a terahash a second: whoever says so tells an efficiency, or nothing."""

MOST_SHARE = 2.0
"""An efficiency times the rate of this moment is no more than this share of the most that a machine draws."""

RATE_UNITS_THS = {"TH/s": 1.0, "GH/s": 1e-3, "MH/s": 1e-6}

_PRETTY = re.compile(
    r"(?P<watts>\d+)\s*w(?:att)?s?\s*~\s*(?P<rate>\d+(?:\.\d+)?)\s*(?P<unit>[TGM]H)", re.IGNORECASE
)


def preset_records(reply: Any) -> list[Reply]:
    """A bare list up to 1.2, inside an object in some later builds (pyasic PR #423)."""
    records = reply["presets"] if isinstance(reply, dict) else reply
    return [record for record in records if isinstance(record, dict)]


def presets(records: Iterable[Reply], plate: Plate) -> dict[str, OperatingPoint]:
    """Every preset whose watts are told; the operator's figures where a point of that name is configured."""
    found = {}
    for record in records:
        name = str(record["name"])
        pretty = _PRETTY.search(str(record.get("pretty", "")))
        if pretty is not None:
            rate_ths = (number(pretty["rate"]) or 0.0) * RATE_UNITS_THS[pretty["unit"].upper() + "/s"]
            found[name] = OperatingPoint(name=name, power=Power(int(pretty["watts"])), rate=rate_ths)
        elif name.isdecimal():
            found[name] = plate.point(name, int(name))
    if not any(is_tuned(record) for record in records):
        found[MANUAL] = plate.point(MANUAL, plate.rated_w)
    named = {str(record["name"]) for record in records}
    return found | {point.name: point for point in plate.points if point.name in named}


def offered_names(records: Iterable[Reply], plate: Plate) -> list[str]:
    """The presets to choose from: a machine ignores one that it is not tuned for, and says yes to it.

    What the operator named counts as tuned. Where nothing is tuned there is no choice but on and off.
    """
    named = {point.name for point in plate.points}
    tuned = [str(record["name"]) for record in records if is_tuned(record) or str(record["name"]) in named]
    return tuned or [MANUAL]


def is_tuned(record: Reply) -> bool:
    return record.get("status") == "tuned" and record.get("modded_psu_required") is not True


def is_stopped(miner: Reply) -> bool:
    return miner["miner_status"]["miner_state"] in STOPPED


def is_owed(needs: Reply) -> bool:
    return needs.get("restart_required") is True or needs.get("reboot_required") is True


def switcher_is_on(overclock: Reply) -> bool:
    switcher = overclock.get("preset_switcher")
    return isinstance(switcher, dict) and switcher.get("enabled") is True


def sample(
    summary: Reply, in_force: Bound, plate: Plate, found: dict[str, OperatingPoint], rate_unit_ths: float
) -> Sample:
    miner = summary["miner"]
    stopped = is_stopped(miner)
    bound = plate.asleep if stopped else in_force
    rate = rate_ths(miner, rate_unit_ths)
    draw, quality = told_draw(miner, rate, plate, bound, found)
    reading = Reading(
        device=plate.device,
        draw=draw,
        quality=quality,
        setting=bound,
        rate=rate,
        hottest_c=hottest_of(miner, "chip_temp"),
        board_c=hottest_of(miner, "pcb_temp"),
    )
    # Only some builds say in the summary whose it is.
    network = summary.get("system", {}).get("network_status", {})
    return Sample(reading=reading, mac=mac_address(network.get("mac")))


def setting(overclock: Reply, found: dict[str, OperatingPoint]) -> Bound:
    """The highest preset that the machine may be in: its switcher, where on, goes up to its top by itself."""
    names = [overclock["preset"]]
    if switcher_is_on(overclock):
        names.append(overclock["preset_switcher"].get("top_preset"))
    points = [found.get(str(name)) for name in names]
    powers = [point.power for point in points if point is not None]
    return Limit(max(powers)) if len(powers) == len(points) else NO_LIMIT


def told_draw(
    miner: Reply, rate: float, plate: Plate, bound: Bound, found: dict[str, OperatingPoint]
) -> tuple[Power, Quality]:
    """What the machine says it draws; measured only where it says that its PSU meters.

    A machine that tells nothing believable is taken to draw all that its setting allows, or that it hashes:
    its rate is that of the last seconds.
    """
    keys = ("power_consumption", "power_usage")
    told = {key: value for key in keys if (value := number(miner.get(key))) is not None}
    if not told:
        raise DriverError("summary: neither power_consumption nor power_usage")
    at_rest = is_stopped(miner) and rate == 0
    watts = [
        value
        for key, value in told.items()
        if value > 0 and (at_rest or are_watts(value, rate, plate, may_be_efficiency=key == "power_usage"))
    ]
    if watts:
        psu = miner.get("psu")
        metered = isinstance(psu, dict) and psu.get("psu_power_metering") is True
        return Power.up(max(watts)), Quality.MEASURED if metered else Quality.ESTIMATED
    limit = NO_LIMIT if is_stopped(miner) and rate > 0 else bound
    return allowed_draw(limit, rate, tuple(found.values()), plate), Quality.ESTIMATED


def are_watts(value: float, rate: float, plate: Plate, *, may_be_efficiency: bool) -> bool:
    """Whether a machine that is not at rest may draw so many watts. `power_usage` has been watts (1.2.1,
    1.2.6) and watts per terahash, and old builds have nothing else: it is in doubt where it could be those.
    """
    if value < plate.sleep.power.watts + LEAST_W_PER_THS * rate:
        return False
    return not may_be_efficiency or value * rate > MOST_SHARE * plate.ceiling_w


def rate_ths(miner: Reply, rate_unit_ths: float) -> float:
    """`hr_realtime` is in the unit that `info` names; builds without it tell TH/s (AnthillOS)."""
    rate = number(miner.get("hr_realtime"))
    if rate is not None:
        return rate * rate_unit_ths
    return number(miner.get("instant_hashrate")) or 0.0


def hottest_of(miner: Reply, sensor: str) -> float | None:
    """The hottest of one kind of sensor on all boards."""
    places = [miner, *(miner.get("chains") or [])]
    return hottest([number((place.get(sensor) or {}).get("max")) for place in places])
