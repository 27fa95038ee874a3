"""A grid operator and its broker in memory: the real messages, over a line that breaks, repeats and reorders.

It stands in for MQTT below the controller's session: all bytes in and out are those of the contract.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import aiomqtt

from controller.grid.dialects import Letter
from controller.run.operators.gridsession import GridSession
from simulators.gridmessages import Ack, new_event, payload, read_report, stamp, to_json, window

LATENCY_S = (0.002, 0.03)
RECONNECT_S = 0.5
HEARTBEAT_S = 1.0
SNAPSHOT_S = 5.0
VEN = "site"


@dataclass(slots=True)
class Broker:
    """QoS 1 and a kept session: what was not taken waits. `is_up` is whether anybody can reach it;
    `repeats` and `reorders` are the chances that a message comes twice, or after the next one."""

    random: random.Random
    is_up: bool = True
    repeats: float = 0.0
    reorders: float = 0.0
    waiting: deque[tuple[str, bytes, bool]] = field(default_factory=deque)
    moved: asyncio.Event = field(default_factory=asyncio.Event)
    received: list[tuple[str, bytes]] = field(default_factory=list)

    def send(self, topic: str, content: bytes, *, kept: bool = True) -> None:
        """From the operator. What is not `kept` (QoS 0) is lost while nobody listens."""
        if not self.is_up:
            return
        times = 2 if self.random.random() < self.repeats else 1
        for _ in range(times):
            if self.waiting and self.random.random() < self.reorders:
                self.waiting.insert(len(self.waiting) - 1, (topic, content, kept))
            else:
                self.waiting.append((topic, content, kept))
        self.moved.set()

    def set_up(self, is_up: bool) -> None:
        self.is_up = is_up
        self.moved.set()

    def drop_unkept(self) -> None:
        self.waiting = deque(message for message in self.waiting if message[2])

    async def pause(self) -> None:
        await asyncio.sleep(self.random.uniform(*LATENCY_S))


def session_with(broker: Broker) -> type[GridSession]:
    """The controller's side of the line, for `serve`."""

    class Joined(GridSession):
        async def run(self) -> None:
            while True:
                await asyncio.sleep(RECONNECT_S)
                if broker.is_up:
                    broker.drop_unkept()
                    await self._joined()

        async def _joined(self) -> None:
            self.connected = True
            self.connects += 1
            writing = asyncio.create_task(self._write(self._publish))
            try:
                while broker.is_up and not writing.done():
                    await self._take()
            finally:
                self.connected = False
                writing.cancel()
                await asyncio.wait([writing])

        async def _take(self) -> None:
            broker.moved.clear()
            if not broker.waiting:
                await broker.moved.wait()
            await broker.pause()
            if broker.waiting and broker.is_up:
                topic, content, _ = broker.waiting.popleft()
                self._read(topic, content, False)

        async def _publish(self, letter: Letter) -> None:
            await broker.pause()
            if not broker.is_up:
                raise aiomqtt.MqttError("the broker is away")
            broker.received.append((letter.topic, letter.payload))
            await broker.pause()
            if not broker.is_up:
                raise aiomqtt.MqttError("whether the broker has it is not known")

    return Joined


class Operator:
    """Sends heartbeats, snapshots and events, and reads what comes back. Its clock is the true one."""

    def __init__(self, broker: Broker, utc: Callable[[], float]) -> None:
        self.is_beating = True
        self.events: dict[str, dict[str, Any]] = {}
        self.acks: list[Ack] = []
        self._broker = broker
        self._utc = utc
        self._seq = 0
        self._version_s = self._as_of_s = 0.0

    async def run(self) -> None:
        beat = 0
        while True:
            self._hear()
            if self.is_beating:
                beat += 1
                content = to_json({"seq": beat, "utc": stamp(self._utc())})
                self._broker.send("heartbeat/vtn", content, kept=False)
                if beat % int(SNAPSHOT_S / HEARTBEAT_S) == 1:
                    self._snapshot()
            await asyncio.sleep(HEARTBEAT_S)

    def limit(self, name: str, *, kw: float, in_s: float, for_s: float) -> None:
        event = new_event(name, self._version(), VEN, "IMPORT_CAPACITY_LIMIT", {"units": "KW"}, priority=1)
        event |= window(self._utc() + in_s, for_s, [[payload("IMPORT_CAPACITY_LIMIT", kw)]])
        self.events[name] = event
        self._notify("CREATE", event)

    def cancel(self, name: str) -> None:
        event = self.events.pop(name)
        kept = {key: event[key] for key in ("objectType", "id", "programID", "createdDateTime")}
        self._notify("DELETE", {**kept, "modificationDateTime": self._version()})

    def acked(self, name: str, status: str) -> Ack | None:
        self._hear()
        return next((ack for ack in self.acks if (ack.event, ack.status) == (name, status)), None)

    def _hear(self) -> None:
        for topic, content in self._broker.received:
            if topic.startswith("reports/"):
                found = read_report(json.loads(content)["object"], self._utc())
                self.acks += [report for report in found if isinstance(report, Ack)]
        self._broker.received.clear()

    def _snapshot(self) -> None:
        self._seq += 1
        self._as_of_s = max(self._utc(), self._version_s)
        as_of = stamp(self._as_of_s)
        content = {"asOf": as_of, "seq": self._seq, "ven": VEN, "events": list(self.events.values())}
        self._broker.send(f"events/vens/{VEN}/snapshot", to_json(content))

    def _notify(self, operation: str, event: dict[str, Any]) -> None:
        notice = {"objectType": "EVENT", "operation": operation, "targets": [VEN], "object": event}
        self._broker.send(f"events/vens/{VEN}/{operation.lower()}", to_json(notice))
        self._snapshot()

    def _version(self) -> str:
        """Later than every other, and than every snapshot that does not know of it."""
        self._version_s = max(self._utc(), self._version_s + 0.001, self._as_of_s + 0.001)
        return stamp(self._version_s)
