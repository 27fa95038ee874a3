"""Values as plain JSON and back: exact, self-explaining, and nothing but the program's own vocabulary."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.decide.inputs import Inputs, Sample
from controller.decide.metering import NodeMemory
from controller.decide.snapshot import State
from controller.decide.step import step
from controller.domain.devices import Acknowledged, Failed, Outcome, Quality, Reading
from controller.domain.grid import GridEvent, LimitSignal, Link, TargetSignal
from controller.domain.power import NO_LIMIT, Bound, Limit, Power
from controller.domain.site import Node, Prices, Site
from controller.run.recording.plainform import MOVED, PlainFormError, Reader, Writer, classes, differ
from tests.run.fleet import spec

names = st.sampled_from(["a", "b", "c"])
bounds = st.one_of(st.just(NO_LIMIT), st.integers(0, 9).map(lambda watts: Limit(Power(watts))))


def readings(name: str, draw_w: int, setting: Bound, hottest_c: float | None) -> Sample[Reading]:
    reading = Reading(
        device=name, draw=Power(draw_w), quality=Quality.ESTIMATED, setting=setting, hottest_c=hottest_c
    )
    return Sample(0.1 + draw_w, reading)


samples = st.builds(
    readings, names, st.integers(0, 3), bounds, st.one_of(st.none(), st.floats(allow_nan=False))
)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.just(Acknowledged()), st.builds(Failed, st.sampled_from(["", "gone"]))
)
inputs = st.builds(
    Inputs,
    now_s=st.sampled_from([0.0, 0.1, 1e300]),
    utc_s=st.sampled_from([0.0, 0.1, 1e300]),
    specs=st.lists(names, max_size=2).map(lambda found: tuple(map(spec, found))),
    readings=st.dictionaries(names, samples, max_size=2),
    outcomes=st.dictionaries(names, st.builds(Sample, st.floats(0, 1), outcomes), max_size=2),
    links=st.dictionaries(names, st.sampled_from(Link), max_size=2),
)


def carried(writer: Writer, reader: Reader, form: Any) -> Any:
    """Through the text that a stream is made of, the layouts first."""
    for layout in writer.take_layouts():
        reader.learn(json.loads(json.dumps(layout)))
    return json.loads(json.dumps(form))


@given(st.lists(inputs, min_size=1, max_size=3))
def test_any_inputs_come_back_as_they_were_whole_or_as_changes(history: list[Inputs]) -> None:
    writer, reader = Writer(), Reader()
    was = history[0]
    read = reader.whole(carried(writer, reader, writer.whole(was)))
    assert read == was

    for now in history[1:]:
        if differ(was, now):
            read = reader.changed(read, carried(writer, reader, writer.change(was, now)))
        assert read == now
        was = now


@pytest.mark.parametrize(
    "value",
    [
        (1, 1.0, True, None, "x", math.inf, 0.1 + 0.2),
        frozenset({"b", "a"}),
        {("feeder", 1): (Link.UP, frozenset[str]())},
        (LimitSignal(Power(5)), TargetSignal(Power(5))),
        GridEvent(id="e", version_utc_s=1.5, source="s", intervals=()),
    ],
)
def test_a_value_keeps_its_types(value: object) -> None:
    writer, reader = Writer(), Reader()

    read = reader.whole(carried(writer, reader, writer.whole(value)))

    assert read == value
    assert repr(read) == repr(value) or isinstance(value, frozenset)


@pytest.mark.parametrize(
    "array", [np.arange(6).reshape(2, 3), np.array([0.1, np.nan]), np.array([], dtype=bool), np.int64(7)]
)
def test_an_array_comes_back_bit_by_bit(array: Any) -> None:
    writer, reader = Writer(), Reader()

    read = reader.whole(carried(writer, reader, writer.whole(array)))

    assert (type(read), read.dtype, read.shape) == (type(array), array.dtype, array.shape)
    assert read.tobytes() == array.tobytes()
    assert not differ(read, array) or np.isnan(array).any()


def test_only_what_changed_of_a_device_is_written() -> None:
    before = readings("a", 3000, Limit(Power(3500)), 71.0)
    now = Sample(before.at_s + 5, replace(before.value, draw=Power(3010)))

    assert Writer().change(before, now) == [-1, 0, now.at_s, 1, [-1, 1, [-1, 0, 3010]]]


# -- another version of the program --------------------------------------------------------------------------


def test_a_field_that_is_no_longer_known_is_left_out_and_named() -> None:
    reader = Reader()
    reader.learn([10, "Prices", ["usd_per_ths_day", "usd_per_kwh", "usd_per_litre"]])

    read = reader.whole([10, 0.07, 0.02, 1.5])
    changed = reader.changed(read, [-1, 1, 0.03, 2, 1.6])

    assert (read, changed) == (
        Prices(usd_per_ths_day=0.07, usd_per_kwh=0.02),
        Prices(usd_per_ths_day=0.07, usd_per_kwh=0.03),
    )
    assert reader.unknown == {"Prices.usd_per_litre"}


def test_a_field_that_was_not_yet_known_has_its_default() -> None:
    reader = Reader()
    reader.learn([10, "Node", ["parent", "id"]])

    assert reader.whole([10, None, "site"]) == Node(id="site")


def test_what_was_recorded_of_a_meter_by_watts_alone_is_read_without_a_share() -> None:
    reader = Reader()
    reader.learn([10, "controller.decide.nodes.NodeMemory", ["unexplained_w", "moved_w"]])

    assert reader.whole([10, 700.0, 650.0]) == NodeMemory(unexplained_w=700.0, moved_w=650.0)


def test_where_a_class_was_before_is_known_for_each_that_has_moved() -> None:
    assert MOVED.keys().isdisjoint(classes())
    assert classes().keys() >= set(MOVED.values())


@pytest.mark.parametrize(
    ("layouts", "form", "complaint"),
    [
        ([], [10, 1], "class 10 of this stream was never explained"),
        ([[10, "Node", ["parent"]]], [10, None], "Node is recorded without id"),
        ([], [7, 1], "not a value"),
        ([], [], "not a value"),
    ],
)
def test_what_cannot_be_read_is_refused(layouts: list[Any], form: Any, complaint: str) -> None:
    reader = Reader()
    for layout in layouts:
        reader.learn(layout)

    with pytest.raises(PlainFormError, match=complaint):
        reader.whole(form)


def test_nothing_outside_the_vocabulary_is_ever_made() -> None:
    for name in ("os.system", "builtins.list", "Path", "controller.run.journal.journal.Journal"):
        with pytest.raises(PlainFormError, match="no class"):
            Reader().learn([10, name, []])
    assert all(kind.__module__.startswith("controller.") for kind in classes().values())


@dataclass(frozen=True)
class Foreign:
    anything: int = 1


@pytest.mark.parametrize("value", [Foreign(), object(), {"a": [1]}, 1j, np.array([object()])])
def test_what_could_not_be_read_back_is_not_written(value: object) -> None:
    with pytest.raises(PlainFormError, match="has no plain form"):
        Writer().whole(value)


def test_the_cores_state_comes_back_as_it_was_and_without_what_is_derived_from_it() -> None:
    specs = tuple(map(spec, "ab"))
    said = {"a": readings("a", 3, NO_LIMIT, 60.0)}
    here = Site(name="here", nodes=(Node(id=specs[0].node, meter="main"),))
    state, _ = step(here, State(), Inputs(now_s=5.0, utc_s=5.0, specs=specs, readings=said))
    writer, reader = Writer(), Reader()

    again = reader.whole(carried(writer, reader, writer.whole(state)))

    assert state.mirror is not None
    assert (again, again.mirror) == (state, None)


def test_a_writer_gives_way_after_each_piece_of_work_and_not_for_what_stayed_the_same() -> None:
    pieces: list[None] = []
    writer = Writer(lambda: pieces.append(None))
    before = {f"asic-{at}": Limit(Power(at)) for at in range(100)}

    writer.change(before, before | {"asic-7": Limit(Power(7))})
    alike = len(pieces)
    writer.change(before, {name: Limit(Power(1_000)) for name in before})

    assert alike == 1, "what is another value has to be looked at"
    assert len(pieces) > 100
