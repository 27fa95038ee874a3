"""Looks at both sides of the running demo: the plant's truth and the controller's belief."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from simulators.demo.judge import Sample

Json = dict[str, Any]
LOOK_EVERY_S = 0.25
ANSWER_S = 3.0
NEWS_KEPT = 8


@dataclass(slots=True)
class Sight:
    """The newest of everything. `samples` is the whole run; `plant_utc_s` turns plant time into wall time."""

    samples: list[Sample] = field(default_factory=list)
    node_worst_w: dict[str, float] = field(default_factory=dict)
    truth: Json = field(default_factory=dict)
    status: Json = field(default_factory=dict)
    plant_utc_s: float = float("inf")
    news: deque[str] = field(default_factory=lambda: deque(maxlen=NEWS_KEPT))
    lied: set[str] = field(default_factory=set)
    silent: set[str] = field(default_factory=set)
    done_jobs: set[str] = field(default_factory=set)
    jobs: dict[str, str] = field(default_factory=dict)

    @property
    def now_s(self) -> float:
        """Plant seconds of the newest sample."""
        return self.samples[-1][0] if self.samples else 0.0

    def reasons(self) -> Counter[tuple[str, str]]:
        return Counter((device["kind"], device["reason"]) for device in self.status.get("devices", ()))

    def tell(self, news: str) -> None:
        self.news.append(f"{self.now_s:6.1f} s  {news}")


class Watch:
    """Polls the plant's control and the controller's API until cancelled."""

    def __init__(self, control_url: str, api_url: str, sight: Sight) -> None:
        self._control_url = control_url
        self._api_url = api_url
        self._sight = sight

    async def run(self) -> None:
        timeout = aiohttp.ClientTimeout(total=ANSWER_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                await self._look_at_plant(session)
                await self._look_at_controller(session)
                await asyncio.sleep(LOOK_EVERY_S)

    async def _look_at_plant(self, session: aiohttp.ClientSession) -> None:
        """A plant that does not answer ends the demo: without truth there is no verdict."""
        sight = self._sight
        async with session.get(f"{self._control_url}/history", params={"since": sight.now_s}) as answer:
            history = await answer.json()
            sight.plant_utc_s = min(sight.plant_utc_s, time.time() - history["now_s"])
        sight.samples += [(float(at_s), float(watts)) for at_s, watts in history["samples"]]
        async with session.get(f"{self._control_url}/truth") as answer:
            sight.truth = await answer.json()
        for node, truth in sight.truth["nodes"].items():
            sight.node_worst_w[node] = max(sight.node_worst_w.get(node, 0.0), truth["power_w"])

    async def _look_at_controller(self, session: aiohttp.ClientSession) -> None:
        try:
            async with session.get(f"{self._api_url}/status") as answer:
                if answer.status == 200:
                    self._sight.status = await answer.json()
                    self._note()
        except (aiohttp.ClientError, TimeoutError):
            self._sight.status = {}

    def _note(self) -> None:
        """What changed since the last look, in words."""
        sight, status = self._sight, self._sight.status
        for alarm in status["alarms"]:
            known = {"device_lying": sight.lied, "device_silent": sight.silent}.get(alarm["kind"])
            if known is not None and alarm["subject"] not in known and status["ready"]:
                known.add(alarm["subject"])
                sight.tell(f"{alarm['kind'].replace('_', ' ')}: {alarm['subject']} {alarm['detail']}")
        now = {f"{job['queue']}/{job['job']}": job["state"] for job in status["jobs"]}
        for job, state in now.items():
            if sight.jobs.get(job) != state:
                sight.tell(f"job {job}: {state}")
        for job in sight.jobs.keys() - now.keys():
            sight.done_jobs.add(job)
            sight.tell(f"job {job}: over")
        sight.jobs = now
