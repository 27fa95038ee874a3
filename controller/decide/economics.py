"""Dated prices -> the prices in force, each with its source; what they make of a kWh and of an event."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from controller.decide.inputs import Inputs, PriceNow
from controller.decide.plan import Alarm
from controller.decide.timeline import GridNow
from controller.decide.value import Valuation
from controller.decide.words import AlarmKind
from controller.domain.jobs import Job, JobStatus, PricedBy, QueueReading
from controller.domain.power import Limit
from controller.domain.prices import ANY_MODEL, MARKETS, NO_SERIES, Ladder, Price, PriceKey, Rung, Series
from controller.domain.site import Prices, Site

CONSTANT = "constant"
"""The source of a price that stands in the site file. No source may be called so."""
LEAST_SHED_S = 1.0
"""However soon an event is over, what is shed for it is shed for so long."""
SOAK_USD_PER_KWH = -1e-4
"""What energy costs under a set-point at most: the least that lets machines run that earn nothing at all."""


def prices_now(
    ladders: Sequence[Ladder],
    series: Mapping[str, Series],
    utc_s: float,
    awaited: Collection[str] = (),
) -> tuple[PriceNow, ...]:
    """Each price from the first of its sources that is fresh, or else its constant.

    `awaited` are sources that had no time to be heard yet: they are passed over without a complaint.
    """
    return tuple(_now(ladder, series, utc_s, awaited) for ladder in ladders)


def _now(ladder: Ladder, series: Mapping[str, Series], utc_s: float, awaited: Collection[str]) -> PriceNow:
    passed: list[str] = []
    waits, value, source, age_s = False, ladder.constant, CONSTANT, None
    for rung in ladder.rungs:
        quote = series.get(rung.source, NO_SERIES).at(utc_s)
        if quote is not None and utc_s - quote.from_utc_s <= rung.stale_after_s:
            value, source, age_s = quote.value, rung.source, utc_s - quote.from_utc_s
            break
        if rung.source in awaited:
            waits = True
        else:
            passed.append(_why_passed(rung, None if quote is None else utc_s - quote.from_utc_s))
    return PriceNow(
        key=ladder.key, value=value, source=source, age_s=age_s, passed=tuple(passed), awaited=waits
    )


def _why_passed(rung: Rung, age_s: float | None) -> str:
    if age_s is None:
        return f"{rung.source} has no value for now"
    return f"{rung.source} is {age_s:.0f} s old, at most {rung.stale_after_s:g} s"


def prices_of(now: Sequence[PriceNow], constants: Prices) -> Prices:
    """What values points: the prices in force, and for what no ladder gives, `constants`."""
    found = {price.key: price.value for price in now}
    gpu_hours = {key.model: value for key, value in found.items() if key.price is Price.GPU_HOUR}

    def of(price: Price, constant: float) -> float:
        return found.get(PriceKey(price=price), constant)

    return Prices(
        usd_per_ths_day=of(Price.HASH, constants.usd_per_ths_day),
        usd_per_kwh=of(Price.ENERGY, constants.usd_per_kwh),
        usd_per_gpu_hour={**constants.usd_per_gpu_hour, **gpu_hours},
        usd_per_kwh_reduced=of(Price.REDUCTION, constants.usd_per_kwh_reduced),
    )


def alarms(now: Sequence[PriceNow], event_usd_per_kwh: float | None = None) -> Iterator[Alarm]:
    """One for each price that does not come from the first of its sources, or may be one in another unit."""
    for price in now:
        if price.passed:
            detail = f"{'; '.join(price.passed)}; {price.value:g} of {price.source} holds"
            yield Alarm(kind=AlarmKind.PRICE_STALE, subject=str(price.key), detail=detail)
        yield from _unusual(price.key.price, price.value, str(price.key), f" of {price.source}")
    if event_usd_per_kwh is not None:
        yield from _unusual(Price.ENERGY, event_usd_per_kwh, f"{Price.ENERGY} of an event")


def _unusual(price: Price, value: float, subject: str, whose: str = "") -> Iterator[Alarm]:
    """Nobody can tell a price of a MWh told as one of a kWh from scarcity. It is obeyed: to stop for an hour
    in vain costs that hour's earnings, to run through scarcity a hundred times as much."""
    market = MARKETS[price]
    if abs(value) > market.usual:
        detail = f"{value:g} {market.unit}{whose} is obeyed; {value / 1000:g} if it was told per MWh"
        yield Alarm(kind=AlarmKind.PRICE_UNUSUAL, subject=subject, detail=detail)


def valuation_now(site: Site, inputs: Inputs, grid: GridNow) -> Valuation:
    """How points are valued in this plan: with the prices in force, and what the grid makes of them."""
    energy = partial(energy_usd_per_kwh, inputs.prices, event_usd_per_kwh=grid.usd_per_kwh)
    usd_per_kwh = energy(meets_target=isinstance(grid.target, Limit), reduction_paid=grid.limits_load)
    horizon_s = site.policy.switch_horizon_s
    return Valuation(
        prices=inputs.prices,
        usd_per_kwh=usd_per_kwh,
        horizon_s=horizon_s,
        shed_s=min(horizon_s, max(LEAST_SHED_S, grid.over_utc_s - inputs.utc_s)),
        spares_work=bool(grid.firm),
        forgone_usd_per_kwh=usd_per_kwh - energy(meets_target=False),
    )


def energy_usd_per_kwh(
    prices: Prices,
    *,
    event_usd_per_kwh: float | None,
    meets_target: bool,
    reduction_paid: bool = False,
) -> float:
    """What the site gives up for each kWh it draws now, in USD.

    An event's price takes the place of the site's. While an event pays for reduction, a kWh drawn is one
    that is not paid for. A set-point asks for the energy and pays for it: it costs nothing then, or what it
    earns where its price is negative, and a little less, so that the set-point is met by machines that
    would earn nothing.
    """
    usd = prices.usd_per_kwh if event_usd_per_kwh is None else event_usd_per_kwh
    if meets_target:
        return min(usd, SOAK_USD_PER_KWH)
    return usd + prices.usd_per_kwh_reduced if reduction_paid else usd


def priced(
    queues: Sequence[QueueReading], prices: Prices, models: Mapping[str, str]
) -> tuple[QueueReading, ...]:
    """The queues with a price on every job that its owner put none on.

    `models` says which GPU is of which model. A job is worth what the cheapest GPU it holds is; one that
    waits, what the cheapest that it may be given is, so that it is never taken for more than it may earn.
    """
    return tuple(_priced_queue(queue, prices, models) for queue in queues)


def _priced_queue(queue: QueueReading, prices: Prices, models: Mapping[str, str]) -> QueueReading:
    if all(status.job.priced_by is PricedBy.OWNER for status in queue.jobs):
        return queue
    waiting = _cheapest(queue.gpus, prices, models)
    return replace(queue, jobs=tuple(_priced_job(status, prices, models, waiting) for status in queue.jobs))


def _priced_job(status: JobStatus, prices: Prices, models: Mapping[str, str], waiting: float) -> JobStatus:
    if status.job.priced_by is PricedBy.OWNER:
        return status
    usd = _cheapest(status.gpus, prices, models) if status.gpus else waiting
    job: Job = replace(status.job, usd_per_gpu_hour=usd)
    return replace(status, job=job)


def _cheapest(gpus: Collection[str], prices: Prices, models: Mapping[str, str]) -> float:
    by_model = prices.usd_per_gpu_hour
    anyone = by_model.get(ANY_MODEL, 0.0)
    return min((by_model.get(models.get(gpu, ""), anyone) for gpu in gpus), default=anyone)
