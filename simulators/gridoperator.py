"""A simulated grid operator: an OpenADR 3.1 VTN that speaks MQTT only, and writes down what it is told.

It sends what an operator sends - heartbeats, events, a retained snapshot - and judges nothing. It shares
no code with the controller, so that the two can disagree.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from typing import Any, Self

import aiomqtt

from simulators.gridmessages import (
    Ack,
    Sample,
    duration,
    new_event,
    payload,
    private_times,
    read_report,
    stamp,
    to_json,
    window,
)

CALL_TIMEOUT_S = 5.0
RECONNECT_S = 0.2
MAX_KEPT = 10_000


class GridOperator:
    """`async with GridOperator(host, port, ven) as operator`, then `limit`, `target`, `price`, `update`,
    `delete`. Events of which the broker heard nothing are in the next snapshot all the same."""

    def __init__(
        self,
        host: str,
        port: int,
        ven: str,
        *,
        prefix: str = "",
        heartbeat_s: float = 1.0,
        snapshot_s: float = 5.0,
        patience_s: float = CALL_TIMEOUT_S,
        utc: Callable[[], float] = time.time,
    ) -> None:
        self.acks: deque[Ack] = deque(maxlen=MAX_KEPT)
        self.telemetry: deque[Sample] = deque(maxlen=MAX_KEPT)
        self.unreadable: deque[bytes] = deque(maxlen=100)
        self.site: Mapping[str, Any] = {}
        self.events: dict[str, dict[str, Any]] = {}
        self.beating = True
        self._topics = (f"reports/vens/{ven}/create", f"vens/{ven}/status")
        self._address = host, port
        self._ven = ven
        self._prefix = prefix
        self._heartbeat_s = heartbeat_s
        self._patience_s = patience_s
        self._snapshot_s = snapshot_s
        self._utc = utc
        self._client: aiomqtt.Client | None = None
        self._connected = asyncio.Event()
        self._came = asyncio.Condition()
        self._beats = count(1)
        self._snapshots = count(int(utc() * 1000))
        self._ids = count(1)
        self._last_version_s = 0.0
        self._group = asyncio.TaskGroup()
        self._run: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._run = self._group.create_task(self._stay_connected())
        try:
            async with asyncio.timeout(self._patience_s):
                await self._connected.wait()
        except TimeoutError:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._run is not None:
            self._run.cancel()
        await self._group.__aexit__(None, None, None)

    async def limit(
        self,
        kw: float,
        start_in_s: float = 0.0,
        duration_s: float = 60.0,
        *,
        id: str | None = None,  # noqa: A002 - the standard's own word for it
        priority: int = 1,
        ramp_s: float | None = None,
        report_s: float | None = None,
    ) -> str:
        """Limit the site's import to `kw`; returns the id of the event."""
        payloads = [payload("IMPORT_CAPACITY_LIMIT", kw), *private_times(ramp_s, report_s)]
        wants = {"priority": priority, "wants_reports": report_s is not None}
        event = self._new(id, "IMPORT_CAPACITY_LIMIT", {"units": "KW"}, **wants)
        return await self._create(event | window(self._utc() + start_in_s, duration_s, [payloads]))

    async def target(
        self,
        kw: float,
        start_in_s: float = 0.0,
        duration_s: float = 60.0,
        *,
        id: str | None = None,  # noqa: A002 - the standard's own word for it
        priority: int = 5,
        ramp_s: float | None = None,
    ) -> str:
        """Ask the site to draw `kw`; returns the id of the event."""
        payloads = [payload("DISPATCH_SETPOINT", kw), *private_times(ramp_s, None)]
        event = self._new(id, "DISPATCH_SETPOINT", {"units": "KW"}, priority=priority)
        return await self._create(event | window(self._utc() + start_in_s, duration_s, [payloads]))

    async def price(
        self,
        usd_per_kwh: Sequence[float],
        start_in_s: float = 0.0,
        step_s: float = 900.0,
        *,
        id: str | None = None,  # noqa: A002 - the standard's own word for it
    ) -> str:
        """Announce one price for each `step_s`; returns the id of the event."""
        units = {"units": "KWH", "currency": "USD"}
        intervals = [[payload("PRICE", value)] for value in usd_per_kwh]
        event = self._new(id, "PRICE", units)
        return await self._create(event | window(self._utc() + start_in_s, step_s, intervals))

    async def update(self, event_id: str, **changes: Any) -> None:
        """Send a new version of an event: `changes` replace keys of the OpenADR object; `kw`, `duration_s`
        and `start_in_s` change the common ones."""
        event = json.loads(json.dumps(self.events[event_id]))
        if "kw" in changes:
            event["intervals"][0]["payloads"][0]["values"] = [changes.pop("kw")]
        if "duration_s" in changes:
            event["intervalPeriod"]["duration"] = duration(changes.pop("duration_s"))
        if "start_in_s" in changes:
            event["intervalPeriod"]["start"] = stamp(self._utc() + changes.pop("start_in_s"))
        event |= {"modificationDateTime": self._version(), **changes}
        self.events[event_id] = event
        await self._notify("UPDATE", event)

    async def delete(self, event_id: str) -> None:
        """Cancel an event."""
        event = self.events.pop(event_id)
        kept = {key: event[key] for key in ("objectType", "id", "programID", "createdDateTime")}
        await self._notify("DELETE", {**kept, "modificationDateTime": self._version()})

    async def snapshot(self) -> None:
        """Publish the state of everything, retained."""
        content = {
            "asOf": stamp(max(self._utc(), self._last_version_s)),
            "seq": next(self._snapshots),
            "ven": self._ven,
            "events": list(self.events.values()),
        }
        await self.send(f"events/vens/{self._ven}/snapshot", to_json(content), retain=True)

    async def send(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish anything at all. While the broker is away it is lost, as it would be."""
        if self._client is not None:
            with suppress(aiomqtt.MqttError):
                await self._client.publish(self._prefix + topic, payload, qos=qos, retain=retain)
            _obey_cancellation()

    async def acked(self, event_id: str, status: str, timeout_s: float = 10.0) -> Ack:
        """The first acknowledgement of `event_id` with `status`, waited for if need be."""

        def found() -> Ack | None:
            return next((ack for ack in self.acks if (ack.event, ack.status) == (event_id, status)), None)

        async with asyncio.timeout(timeout_s), self._came:
            await self._came.wait_for(lambda: found() is not None)
        ack = found()
        assert ack is not None
        return ack

    async def online(self, expected: bool = True, timeout_s: float = 10.0) -> None:
        """Wait until the site's retained status says so."""
        async with asyncio.timeout(timeout_s), self._came:
            await self._came.wait_for(lambda: self.site.get("online") is expected)

    async def sampled(self, at_least: int, timeout_s: float = 10.0) -> None:
        """Wait for that many intervals of telemetry."""
        async with asyncio.timeout(timeout_s), self._came:
            await self._came.wait_for(lambda: len(self.telemetry) >= at_least)

    async def _stay_connected(self) -> None:
        while True:
            try:
                async with aiomqtt.Client(*self._address, timeout=CALL_TIMEOUT_S) as client:
                    await client.subscribe([(self._prefix + topic, 1) for topic in self._topics])
                    self._client = client
                    await self.snapshot()
                    self._connected.set()
                    async with asyncio.TaskGroup() as group:
                        others = (self._beat(), self._repeat_snapshots())
                        tasks = [group.create_task(other) for other in others]
                        await self._listen(client)
                        for task in tasks:
                            task.cancel()
            except aiomqtt.MqttError:
                pass  # the broker is away; everything is in the snapshot that follows
            finally:
                self._client = None
            _obey_cancellation()
            await asyncio.sleep(RECONNECT_S)

    async def _listen(self, client: aiomqtt.Client) -> None:
        """Take in what comes until the connection ends."""
        with suppress(aiomqtt.MqttError):
            async for message in client.messages:
                if isinstance(message.payload, bytes):
                    async with self._came:
                        self._take(message.topic.value.removeprefix(self._prefix), message.payload)
                        self._came.notify_all()

    async def _beat(self) -> None:
        while True:
            if self.beating:
                beat = {"seq": next(self._beats), "utc": stamp(self._utc())}
                await self.send("heartbeat/vtn", to_json(beat), qos=0)
            await asyncio.sleep(self._heartbeat_s)

    async def _repeat_snapshots(self) -> None:
        while True:
            await asyncio.sleep(self._snapshot_s)
            if self.beating:
                await self.snapshot()

    def _take(self, topic: str, payload: bytes) -> None:
        """Write down one message of the site."""
        try:
            content = json.loads(payload)
            if topic.endswith("/status"):
                self._take_status(content)
            else:
                self._take_report(content["object"])
        except (ValueError, KeyError, TypeError, IndexError):
            self.unreadable.append(payload)

    def _take_status(self, status: Mapping[str, Any]) -> None:
        """A Will that belongs to an older connection says nothing about the newer one."""
        if status["bdSeq"] >= self.site.get("bdSeq", 0):
            self.site = status

    def _take_report(self, report: Mapping[str, Any]) -> None:
        for item in read_report(report, self._utc()):
            if isinstance(item, Ack):
                self.acks.append(item)
            else:
                self.telemetry.append(item)

    def _new(self, event_id: str | None, payload_type: str, units: Mapping[str, str], **options: Any) -> Any:
        event_id = event_id or f"sim-{int(self._utc())}-{next(self._ids)}"
        return new_event(event_id, self._version(), self._ven, payload_type, units, **options)

    async def _create(self, event: dict[str, Any]) -> str:
        self.events[event["id"]] = event
        await self._notify("CREATE", event)
        return str(event["id"])

    async def _notify(self, operation: str, event: Mapping[str, Any]) -> None:
        notice = {"objectType": "EVENT", "operation": operation, "targets": [self._ven], "object": event}
        await self.send(f"events/vens/{self._ven}/{operation.lower()}", to_json(notice))
        await self.snapshot()

    def _version(self) -> str:
        """The time of a change; no two changes have the same."""
        self._last_version_s = max(self._utc(), self._last_version_s + 0.001)
        return stamp(self._last_version_s)


def _obey_cancellation() -> None:
    """In Python 3.11 `wait_for`, and so aiomqtt, loses a cancellation that comes together with its result."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m simulators.gridoperator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=1883)
    parser.add_argument("--ven", required=True)
    parser.add_argument("--prefix", default="", help="of every topic, ending in /")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("limit", "limit the site's import"), ("target", "ask the site to draw a power")):
        command = commands.add_parser(name, help=what)
        command.add_argument("--kw", type=float, required=True)
        command.add_argument("--in", dest="start_in_s", type=float, default=0.0, help="seconds of notice")
        command.add_argument("--for", dest="duration_s", type=float, default=60.0, help="seconds")
        command.add_argument("--id", default=None)
    price = commands.add_parser("price", help="announce prices")
    price.add_argument("--usd-per-kwh", type=float, nargs="+", required=True)
    price.add_argument("--in", dest="start_in_s", type=float, default=0.0, help="seconds of notice")
    price.add_argument("--step", dest="step_s", type=float, default=900.0, help="seconds for each price")
    commands.add_parser("watch", help="send heartbeats only, and print what the site reports")
    return parser


async def _main(arguments: argparse.Namespace) -> None:
    """Send one instruction, then stay: an operator that leaves is a lost link to the site."""
    place = (arguments.host, arguments.port, arguments.ven)
    async with GridOperator(*place, prefix=arguments.prefix) as operator:
        match arguments.command:
            case "limit":
                time = (arguments.start_in_s, arguments.duration_s)
                await operator.limit(arguments.kw, *time, id=arguments.id, report_s=1.0)
            case "target":
                await operator.target(
                    arguments.kw, arguments.start_in_s, arguments.duration_s, id=arguments.id
                )
            case "price":
                await operator.price(arguments.usd_per_kwh, arguments.start_in_s, arguments.step_s)
            case _:
                pass
        await _print_reports(operator)


async def _print_reports(operator: GridOperator) -> None:
    seen: set[str] = set()
    while True:
        reports: list[Ack | Sample] = [*operator.acks, *operator.telemetry]
        for report in reports:
            if report.id in seen:
                continue
            seen.add(report.id)
            if isinstance(report, Ack):
                print(f"ack event={report.event} status={report.status} why={' '.join(report.why)}")
            else:
                print(f"telemetry event={report.event} demand_kw={report.demand_kw} of={report.setpoint_kw}")
        sys.stdout.flush()
        await asyncio.sleep(0.2)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(_main(_parser().parse_args()))
