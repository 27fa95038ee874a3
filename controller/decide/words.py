"""The words in which a plan says why, and how far what it knows is proven. Dashboards and tests read them."""

from __future__ import annotations

from enum import StrEnum


class Reason(StrEnum):
    """Why a device has its grant. A public contract: dashboards and tests read these strings."""

    FULL = "full"
    """at the point that earns most"""
    LIMITED = "limited"
    """a node above it has no room for more"""
    WAITING = "waiting"
    """may have more, once the watts for it are measured to be free"""
    RAMPING = "ramping"
    """may have more or less, and waits for its turn in the ramp"""
    THERMAL = "thermal"
    """too warm, or in a zone that is, or whose cooling is not proven"""
    DWELLING = "dwelling"
    """changed a moment ago, and is left alone until its dwell, or its least time to run or stand, is over"""
    RESTING = "resting"
    """was started as often as it may be in an hour, or told in vain to go up"""
    FOLLOWING = "following"
    """a GPU that moves with the set-point, for what slower machines do not meet"""
    PACED = "paced"
    """a GPU whose job goes no faster than its slowest GPU, which cannot have more"""
    DRAINING = "draining"
    """below a node that is to be switched off"""
    ISOLATED = "isolated"
    """below a node that is declared to have no voltage"""
    OUTLET_OFF = "outlet_off"
    """its outlet is off, and only a person may switch it on"""
    UNPROFITABLE = "unprofitable"
    """more would cost more than it earns, what the change itself costs included"""
    IDLE = "idle"
    """a GPU without a job"""
    HELD = "held"
    """nothing is raised now: starting up, or too many devices silent at once"""
    STALE = "stale"
    """it answered once and is silent now: counted at its worst"""
    UNREACHABLE = "unreachable"
    """it has not answered yet: counted at its worst"""
    LYING = "lying"
    """it said yes and its watts did not move: its watts are taken from others"""
    OBSERVED = "observed"
    """would be told something else, and the site is only observed"""
    REFUSING = "refusing"
    """asked for less, it said no, or was not seen to do it in time: its watts are taken from others"""


class Truth(StrEnum):
    """How far the last command to a device is proven."""

    COMMANDED = "commanded"
    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    CONFIRMED = "confirmed"
    LYING = "lying"
    UNREACHABLE = "unreachable"
    STALE = "stale"


TRUTHS = tuple(Truth)
REASONS = tuple(Reason)
"""In arrays, a truth or a reason is its place here."""


class CapReason(StrEnum):
    """What sets the site's cap now. A public contract, like `Reason`."""

    NONE = "none"
    RATING = "rating"
    EVENT = "event"
    TARGET = "target"
    LINK_LOST = "link_lost"


class AlarmKind(StrEnum):
    """A public contract, like `Reason`."""

    INFEASIBLE = "infeasible"
    NOT_ASSURED = "not_assured"
    CAP_PASSED = "cap_passed"
    METER_STALE = "meter_stale"
    DEVICE_SILENT = "device_silent"
    DEVICE_LYING = "device_lying"
    LINK_LOST = "link_lost"
    NETWORK_FAULT = "network_fault"
    COOLING = "cooling"
    UNEXPLAINED = "unexplained"
    ENERGISED = "energised"
    HOT = "hot"
    PRICE_STALE = "price_stale"
    PRICE_UNUSUAL = "price_unusual"
    QUEUE_SILENT = "queue_silent"
    PDU_SILENT = "pdu_silent"
    OUTLET_OFF = "outlet_off"
    OBSERVED = "observed"
