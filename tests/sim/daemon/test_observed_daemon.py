"""The whole daemon of a site that is only observed, against the plant's protocols; then it is commanded."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from controller.cli.replay import Request, replay
from controller.config import Settings
from controller.domain.jobs import JobState
from tests.sim.daemon.judge import Event, Fault
from tests.sim.daemon.operator import Operator
from tests.sim.daemon.world import World

pytestmark = pytest.mark.slow

TAKES_OVER_S = 220.0


class ObservedWorld(World):
    """Its first controller only looks; each that comes after that commands."""

    def settings(self) -> Settings:
        settings = super().settings()
        return settings.only_observed() if self.lives == 1 else settings

    def _begin(self) -> None:
        if self.lives == 1:
            self.orders_before, self.drawn_before_w = self.orders, self.plant.site_power_w
        super()._begin()

    @property
    def orders(self) -> int:
        return self.plant.truth().orders


def told(operator: Operator, event: str) -> list[str]:
    return list(dict.fromkeys(ack.status for ack in operator.acks if ack.event == event))


def rows(directory: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(directory / "journal.db")) as db:
        return db.execute(query).fetchall()


def test_an_observed_site_is_told_nothing_through_an_event_and_all_that_breaks(tmp_path: Path) -> None:
    world = ObservedWorld(3, tmp_path)
    world.events = [Event(at_s=40, name="dr", kw=14, in_s=10, for_s=100)]
    world.faults = [
        Fault(at_s=20, subject="", what="job", value=60),
        Fault(at_s=60, subject="luxos-000", what="reboot_now", value=True),
        Fault(at_s=70, subject="main", what="dead", value=True),
        Fault(at_s=90, subject="main", what="dead", value=False),
        Fault(at_s=100, subject="", what="silent", value=True),
        Fault(at_s=150, subject="", what="silent", value=False),
    ]

    world.run(200)

    assert world.orders == world.commands == 0
    assert {job.state for job in world.queue.jobs.values()} == {JobState.QUEUED}
    assert told(world.operator, "dr") == ["REJECTED"]
    assert rows(tmp_path, "SELECT count(*) FROM commands") == [(0,)]
    assert rows(tmp_path, "SELECT count(*) FROM alarms WHERE kind = 'observed' AND raised = 1") == [(1,)]
    lies = rows(tmp_path, "SELECT subject FROM alarms WHERE kind = 'device_lying'")
    assert lies == []
    assert replay(Request(path=tmp_path / "journal.db")).differing == 0


def test_a_controller_that_commands_takes_over_an_observed_site_with_nothing_to_undo(tmp_path: Path) -> None:
    world = ObservedWorld(4, tmp_path)
    world.events = [Event(at_s=40, name="dr", kw=14, in_s=10, for_s=600)]
    world.faults = [Fault(at_s=TAKES_OVER_S, subject="", what="kill", value=3)]

    world.run(TAKES_OVER_S + 120)

    assert (world.orders_before, world.lives) == (0, 2)
    assert world.drawn_before_w > 20_000
    assert world.plant.site_power_w <= 14_000
    assert told(world.operator, "dr")[:2] == ["REJECTED", "RECEIVED"]
    assert "COMPLIANT" in told(world.operator, "dr")
    assert rows(tmp_path, "SELECT subject FROM alarms WHERE kind = 'device_lying'") == []
