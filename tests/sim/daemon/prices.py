"""A file of the price of energy that somebody writes, well or badly; whether machines stop for what prices
make of them, and start again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from simulators.physics.miner import Miner
from simulators.plant import Plant
from tests.sim.daemon.fittings import (
    LEAST_S,
    PRICE_STALE_S,
    USUAL_USD_PER_KWH,
    USUAL_USD_PER_THS_DAY,
)

EVERY_S = 20.0
TOO_DEAR_USD_PER_KWH, CHEAP_USD_PER_KWH = 0.16, 0.06
"""From the one on no machine of these worlds earns what a kWh costs, whatever its point, and up to the other
every one does: for the usual price of hashing, and in proportion for another."""
STOPS_S = LEAST_S + 45.0
"""A file is looked at, an order sent and carried out; again to who was silent or refused a moment ago, and
not before a machine has run for its least time."""
STARTS_S = LEAST_S + 45.0
"""A price is heard; a start waits for what its machine did last, for a controller that knows its site, and
for who was silent or refused a moment ago."""
ENOUGH = 0.7
"""Of the machines: with fewer that answer a fault of the network is likely, and nothing is raised."""
WORKS = 0.1
"""Of its rating; what draws less sleeps or idles."""
HEAD = "time,value"


class PriceFile:
    """Told now and then, by who writes it whole and moves it into place, unless it is `silent` or `broken`.

    Broken is a file that somebody writes in place: by its half, not at all, or with a figure in another unit.
    """

    def __init__(self, path: Path, utc: Callable[[], float]) -> None:
        self.usd_per_kwh = USUAL_USD_PER_KWH
        self.is_silent = False
        self.broken_s: float | None = None
        """Since when, by the true clock."""
        self._path = path
        self._utc = utc
        self._rows: list[tuple[float, float]] = []
        self._due_s = 0.0

    def tell(self, usd_per_kwh: float) -> None:
        self.usd_per_kwh = usd_per_kwh
        self._due_s = 0.0

    def advance(self) -> None:
        now_s = self._utc()
        if self.is_silent or self.broken_s is not None or now_s < self._due_s:
            return
        self._due_s = now_s + EVERY_S
        self._rows = [*self._rows[-50:], (round(now_s, 3), self.usd_per_kwh)]
        self._write()

    def damage(self, how: int) -> None:
        """0 mends it."""
        if how == 0:
            self.broken_s, self._due_s = None, 0.0
            self._write()
            return
        self.broken_s = self._utc() if self.broken_s is None else self.broken_s
        text = self._text()
        match how:
            case 1:
                self._path.write_text(text[: text.rindex(",") - 3])
            case 2:
                self._path.write_text(f"{HEAD}\n")
            case 3:
                self._path.unlink(missing_ok=True)
            case _:
                self._path.write_text(f"{text}{stamp(self._utc())},63.5e3\n")

    def known_usd(self, site_utc_s: float, began_utc_s: float) -> float:
        """What a controller that began then can know by its own clock."""
        if self.broken_s is not None and began_utc_s >= self.broken_s:
            return USUAL_USD_PER_KWH
        known = [(at_s, usd) for at_s, usd in self._rows if at_s <= site_utc_s]
        if not known or site_utc_s - known[-1][0] > PRICE_STALE_S:
            return USUAL_USD_PER_KWH
        return known[-1][1]

    def _write(self) -> None:
        beside = self._path.with_suffix(".new")
        beside.write_text(self._text())
        beside.replace(self._path)

    def _text(self) -> str:
        return "".join([f"{HEAD}\n", *(f"{stamp(at_s)},{usd}\n" for at_s, usd in self._rows)])


@dataclass(frozen=True, slots=True)
class Known:
    """The prices that a controller can know."""

    usd_per_kwh: float
    usd_per_ths_day: float = USUAL_USD_PER_THS_DAY

    @property
    def is_dear(self) -> bool:
        return self._usual_usd_per_kwh >= TOO_DEAR_USD_PER_KWH

    @property
    def is_cheap(self) -> bool:
        return self._usual_usd_per_kwh <= CHEAP_USD_PER_KWH

    @property
    def _usual_usd_per_kwh(self) -> float:
        """What a kWh may cost for hashing to be worth as much, at its usual price."""
        return self.usd_per_kwh * USUAL_USD_PER_THS_DAY / self.usd_per_ths_day


class Spending:
    """`look` every `step_s`; `found` says which machines went on at prices at which none earns anything, and
    when all of them stood still at prices at which every one does."""

    def __init__(self, plant: Plant, obeys: Callable[[Miner], bool], step_s: float) -> None:
        self.found: list[str] = []
        self._plant = plant
        self._obeys = obeys
        self._step_s = step_s
        self._wastes_s = dict.fromkeys(plant.miners, 0.0)
        self._idles_s = 0.0

    def look(self, now_s: float, known: Known, *, in_charge: bool, is_free: bool = False) -> None:
        """`is_free`: nothing but prices keeps machines from starting."""
        self._look_at_waste(now_s, known, in_charge)
        self._look_at_idleness(now_s, known, in_charge and is_free)

    def _look_at_waste(self, now_s: float, known: Known, in_charge: bool) -> None:
        for name, miner in self._plant.miners.items():
            is_waste = known.is_dear and self._works(miner)
            if not (is_waste and in_charge and self._obeys(miner) and not miner.faults.frozen_reads):
                self._wastes_s[name] = 0.0
                continue
            before_s = self._wastes_s[name]
            self._wastes_s[name] = before_s + self._step_s
            if before_s <= STOPS_S < self._wastes_s[name]:
                self.found.append(f"{name} still works at {now_s:.1f} s for {known.usd_per_kwh} USD/kWh")

    def _look_at_idleness(self, now_s: float, known: Known, is_free: bool) -> None:
        miners = self._plant.miners.values()
        enough = sum(self._obeys(miner) for miner in miners) >= ENOUGH * len(miners)
        if not (is_free and enough and known.is_cheap) or any(self._works(miner) for miner in miners):
            self._idles_s = 0.0
            return
        before_s = self._idles_s
        self._idles_s = before_s + self._step_s
        if before_s <= STARTS_S < self._idles_s:
            self.found.append(f"nothing works at {now_s:.1f} s for {known.usd_per_kwh} USD/kWh")

    @staticmethod
    def _works(miner: Miner) -> bool:
        return miner.watts > WORKS * miner.rated_w


def unsettled(logs: Iterable[Mapping[str, Any]], first: Mapping[str, str]) -> Iterator[str]:
    """What the last words of a daemon leave broken: prices that are not from their `first` source, and
    sources that fail."""
    sources, failing = dict[str, str](), dict[str, str]()
    for entry in logs:
        match entry["event"]:
            case "price_source":
                sources[entry["price"]] = entry["source"]
            case "price_source_failing":
                failing[entry["subject"]] = entry["why"]
            case "price_source_answers_again":
                failing.pop(entry["subject"], None)
            case "started":  # it knows nothing of what another met
                sources.clear()
                failing.clear()
            case _:
                pass
    yield from (
        f"{price} is from {source} at the end, not from {first[price]}"
        for price, source in sources.items()
        if first.get(price, source) != source
    )
    yield from (f"{name} fails at the end: {why}" for name, why in failing.items())


def stamp(utc_s: float) -> str:
    return datetime.fromtimestamp(utc_s, UTC).isoformat(timespec="milliseconds")
