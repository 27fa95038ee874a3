"""Every device's state at one moment, also as arrays: what was heard since the moment before is all that is
worked out anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from controller.decide import columns, thermal, truth
from controller.decide.arrays import Flags
from controller.decide.columns import CODE, Columns, overdue
from controller.decide.device import DeviceState
from controller.decide.fleet import Fleet, fleet_of
from controller.decide.ground import Ground, ground_of
from controller.decide.inputs import Inputs, Sample
from controller.decide.words import Truth
from controller.domain.devices import Outcome, Reading
from controller.domain.power import ZERO
from controller.domain.site import Site


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mirror:
    """`devices` as arrays, and the readings and answers they were observed with. Valid for that very mapping
    only.
    """

    ground: Ground
    fleet: Fleet
    devices: Mapping[str, DeviceState]
    columns: Columns
    readings: Mapping[str, Sample[Reading]]
    outcomes: Mapping[str, Sample[Outcome]]

    def way(self, row: int) -> tuple[int, ...]:
        """The nodes above a device, from its own up to the root."""
        return self.ground.tree.paths[self.fleet.node[row]]


def idle_gpus(fleet: Fleet, readings: Mapping[str, Sample[Reading]], among: Flags) -> list[int]:
    """The rows of those GPUs that say that nothing runs on them; each of them was heard."""
    rows = np.flatnonzero(among & fleet.gpu).tolist()
    return [row for row in rows if readings[fleet.specs[row].id].value.rate == 0]


def observed(
    site: Site,
    mirror: Mirror | None,
    devices: Mapping[str, DeviceState],
    inputs: Inputs,
    unknown: DeviceState,
) -> Mirror:
    """Every device's state now. Only those are observed that were heard, or that time itself changes; all of
    them where `mirror` is not that of `devices`. Who is not in those was `unknown` before.
    """
    if mirror is None or mirror.devices is not devices or mirror.ground.site is not site:
        return _all_observed(ground_of(site), devices, inputs, unknown)
    if not mirror.fleet.made_of(inputs.specs) or not mirror.readings.keys() <= inputs.readings.keys():
        return _all_observed(mirror.ground, devices, inputs, unknown)
    fleet, before = mirror.fleet, mirror.columns
    news = {
        name: sample
        for name, sample in inputs.readings.items()
        if mirror.readings.get(name) is not sample and name in fleet.row
    }
    quiet_s = inputs.now_s - before.heard_s
    silent = before.seen & (quiet_s > fleet.stale_after_s)
    booted = ~before.seen & (quiet_s >= fleet.boots_s) & (before.worst_w < fleet.ceiling_w) & ~fleet.isolated
    rows = {fleet.row[name] for name in news}
    rows.update(np.flatnonzero(silent | booted | overdue(fleet, before, inputs.now_s)).tolist())
    rows.update(_answering(mirror, inputs))
    known, states = before.copy(), dict(devices)
    rows -= _said_again(mirror, news, inputs.now_s, states, known)
    changed: dict[str, DeviceState] = {}
    steady: list[int] = []
    for row in rows:
        spec = fleet.specs[row]
        was, last = states[spec.id], mirror.readings.get(spec.id)
        after = changed[spec.id] = _device(site, fleet, row, was, inputs)
        again = last is not None and last.value is inputs.readings[spec.id].value and was.at_s < after.at_s
        if again and was.said_again(after) and truth.lasts(spec, after, inputs.now_s):
            steady.append(row)
    states.update(changed)
    known.put(fleet, changed)
    known.steady[steady] = True
    return replace(mirror, devices=states, columns=known)


def known_before(
    seen: Mirror, mirror: Mirror | None, devices: Mapping[str, DeviceState], unknown: DeviceState
) -> Columns:
    """What was known of every device before it was `observed`, with the same arguments."""
    if mirror is not None and mirror.devices is devices and mirror.fleet is seen.fleet:
        return mirror.columns
    known = columns.empty(len(seen.fleet))
    known.put(seen.fleet, {spec.id: devices.get(spec.id, unknown) for spec in seen.fleet.specs})
    return known


def _answering(mirror: Mirror, inputs: Inputs) -> Iterator[int]:
    """Those of whom an answer is waited for, and who gave another one than that they were observed with, or
    in the very moment in which they were told."""
    before, now, known = mirror.outcomes, inputs.outcomes, mirror.columns
    unanswered = (known.truth == CODE[Truth.COMMANDED]).tolist()
    for row in np.flatnonzero(known.in_flight).tolist():
        name = mirror.fleet.specs[row].id
        answer = now.get(name)
        at_once = unanswered[row] and answer is not None and answer.at_s >= known.sent_s[row]
        if at_once or answer is not before.get(name):
            yield row


def _said_again(
    mirror: Mirror,
    news: Mapping[str, Sample[Reading]],
    now_s: float,
    devices: dict[str, DeviceState],
    known: Columns,
) -> set[int]:
    """The steady ones of those that were heard, of which only is noted when that was."""
    fleet, steady = mirror.fleet, known.steady.tolist()
    again: dict[int, float] = {}
    for name, sample in news.items():
        row = fleet.row[name]
        if not steady[row] or mirror.readings[name].value is not sample.value:
            continue
        was = devices[name]
        if was.at_s < sample.at_s and now_s - sample.at_s <= fleet.specs[row].stale_after_s:
            devices[name] = was.heard(was.draw, was.quality, sample.at_s)
            again[row] = sample.at_s
    known.heard_s[list(again)] = list(again.values())
    return set(again)


def _all_observed(
    ground: Ground, before: Mapping[str, DeviceState], inputs: Inputs, unknown: DeviceState
) -> Mirror:
    fleet = fleet_of(ground.site, ground.tree, inputs.specs)
    known = columns.empty(len(fleet))
    devices: dict[str, DeviceState] = {}
    for row, spec in enumerate(fleet.specs):
        devices[spec.id] = _device(ground.site, fleet, row, before.get(spec.id, unknown), inputs)
    known.put(fleet, devices)
    return Mirror(
        ground=ground,
        fleet=fleet,
        devices=devices,
        columns=known,
        readings=inputs.readings,
        outcomes=inputs.outcomes,
    )


def _device(site: Site, fleet: Fleet, row: int, before: DeviceState, inputs: Inputs) -> DeviceState:
    spec = fleet.specs[row]
    sample = inputs.readings.get(spec.id)
    after = truth.observe(
        spec,
        before,
        sample,
        inputs.outcomes.get(spec.id),
        inputs.now_s,
        is_ours=not site.policy.observes,
    )
    if sample is None or not after.seen:
        # Where there is no voltage, silence is what is to be expected.
        return after._replace(worst=ZERO) if fleet.isolated[row] else after
    derates = thermal.device_derates(spec, sample.value, before.derates, inputs.now_s - after.since_s)
    warned = thermal.warned(spec, sample.value)
    if derates == before.derates and warned == before.warned:
        return after
    return after._replace(derates=derates, warned=warned)
