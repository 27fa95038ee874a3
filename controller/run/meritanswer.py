"""The merit order as the API tells it."""

from __future__ import annotations

from controller.decide.merit import Merit, merit_order
from controller.run.board import Tick
from controller.run.plainjson import Json, rounded


def merits(tick: Tick) -> Json:
    """Every device in the order in which it is shed, and the price of energy that order goes by."""
    inputs, valuation = tick.inputs, tick.valuation
    order = merit_order(tick.plan, inputs.specs, valuation, inputs.queues, tick.state.devices)
    return {
        "utc_s": tick.utc_s,
        "usd_per_kwh": rounded(valuation.usd_per_kwh, 6),
        "usd_per_ths_day": rounded(valuation.prices.usd_per_ths_day, 6),
        "devices": [_merit_of(merit) for merit in order],
    }


def _merit_of(merit: Merit) -> Json:
    """One device; a cost that is beyond all numbers is null, and `leaving` says why."""
    return {
        "position": merit.position,
        "device": merit.device,
        "kind": merit.kind.value,
        "node": merit.node,
        "point": merit.point,
        "grant_w": merit.power.watts,
        "draw_w": merit.draw.watts,
        "usd_per_hour": rounded(merit.usd_per_hour, 6),
        "next_usd_per_kwh": _known(merit.next_usd_per_kwh),
        "shed_usd_per_kwh": _known(merit.shed_usd_per_kwh),
        "leaving_usd": rounded(merit.leaving_usd, 6),
        "leaving": merit.leaving,
        "reason": merit.reason.value,
        "limited_by": merit.limited_by,
    }


def _known(usd: float | None) -> float | None:
    return None if usd is None else rounded(usd, 6)
