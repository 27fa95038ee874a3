"""The HTTP face of the running controller, read-only: metrics, status, merit order, reasons of grants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from aiohttp import web

from controller.decide.plan import Grant, NodeState, Plan
from controller.domain.devices import DeviceSpec
from controller.domain.prices import MARKETS
from controller.run.board import Board, Tick
from controller.run.devices import outcome_name
from controller.run.doorkeeper import Doorkeeper
from controller.run.meritanswer import merits
from controller.run.metrics.site import Detail
from controller.run.plainjson import Json, plain, rounded, watts

T = TypeVar("T")
SHUTDOWN_S = 2.0
IDLE_S = 75.0
"""So long a visitor that was answered keeps its place: it asks more often, or anew."""
BACKLOG = 128


class ApiError(Exception):
    """The address cannot be listened on; the message names it."""


class Api:
    """Serves `board` on one address; `metrics` renders the Prometheus text, as much as is asked for."""

    def __init__(self, *, board: Board, host: str, port: int, metrics: Callable[[Detail], bytes]) -> None:
        self._board = board
        self._host = host
        self._port = port
        self._metrics = metrics
        self._writing = asyncio.Lock()
        app = web.Application()
        app.add_routes(
            [
                web.get("/metrics", self._get_metrics),
                web.get("/healthz", self._get_health),
                web.get("/status", self._get_status),
                web.get("/why/{device}", self._get_why),
                web.get("/merit", self._get_merit),
            ]
        )
        self._runner = web.AppRunner(
            app, shutdown_timeout=SHUTDOWN_S, keepalive_timeout=IDLE_S, access_log=None
        )
        self._server: asyncio.Server | None = None

    async def start(self) -> int:
        """Listen; returns the port, which is the kernel's choice when 0 was asked for."""
        await self._runner.setup()
        assert self._runner.server is not None
        door = Doorkeeper(self._runner.server)
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(door, self._host, self._port, backlog=BACKLOG)
        except OSError as error:
            await self._runner.cleanup()
            raise ApiError(f"API on {self._host} port {self._port}: {error}") from error
        return int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        await self._runner.cleanup()

    async def _get_metrics(self, request: web.Request) -> web.Response:
        try:
            detail = Detail(request.query.get("detail", Detail.DEVICES))
        except ValueError:
            raise web.HTTPBadRequest(text=f"detail: one of {', '.join(Detail)}\n") from None
        return web.Response(
            body=await self._beside(partial(self._metrics, detail)),
            headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"},
        )

    async def _get_health(self, _: web.Request) -> web.Response:
        ready = self._board.last is not None and self._board.last.plan.ready
        return web.Response(text="ok\n" if ready else "starting\n", status=200 if ready else 503)

    async def _get_status(self, _: web.Request) -> web.Response:
        return await self._answer(self._status)

    async def _get_why(self, request: web.Request) -> web.Response:
        return await self._answer(partial(self._why, request.match_info["device"]))

    async def _get_merit(self, _: web.Request) -> web.Response:
        return await self._answer(self._merit)

    async def _answer(self, tell: Callable[[Tick], web.Response]) -> web.Response:
        """Tell of the last tick."""
        if self._board.last is None:
            return web.json_response({"error": "no tick has finished yet"}, status=503)
        return await self._beside(partial(tell, self._board.last))

    async def _beside(self, write: Callable[[], T]) -> T:
        """Off the loop: ten thousand devices take a while to write down. One answer at a time, however many
        ask: the loop shares the interpreter with every thread that computes, and its threads with name
        look-ups."""
        async with self._writing:
            return await asyncio.to_thread(write)

    def _status(self, tick: Tick) -> web.Response:
        plan = tick.plan
        specs = {spec.id: spec for spec in tick.inputs.specs}
        return web.json_response(
            {
                "site": self._board.site.name,
                "version": self._board.version,
                "ready": plan.ready,
                "mode": self._board.site.policy.mode.value,
                "utc_s": tick.utc_s,
                "link": tick.inputs.link.value,
                "cap": _cap(plan),
                "value_usd_per_hour": rounded(plan.value_per_hour, 4),
                "usd_per_kwh": rounded(tick.valuation.usd_per_kwh, 6),
                "gap": rounded(plan.gap, 6),
                "nodes": [_node(node) for node in self._board.nodes(plan)],
                "devices": [_device(specs[grant.device], grant) for grant in plan.grants],
                "prices": self._prices(tick),
                "jobs": _jobs(tick),
                "events": [
                    {
                        "event": s.event,
                        "status": s.status.value,
                        "least_w": plan.least.watts,
                        "possible_w": s.possible.watts,
                    }
                    for s in plan.standings
                ],
                "announced": [
                    {
                        "event": one.event,
                        "start_utc_s": one.start_utc_s,
                        "status": one.status.value,
                        "asked_w": one.asked.watts,
                        "possible_w": one.possible.watts,
                    }
                    for one in plan.outlooks
                ],
                "alarms": [
                    {"kind": a.kind.value, "subject": a.subject, "detail": a.detail} for a in plan.alarms
                ],
                "ticks": {"count": self._board.ticks, "late": self._board.late_ticks, "took_s": tick.took_s},
                "commands": self._commands(tick),
                "price_troubles": dict(self._board.price_troubles),
            }
        )

    def _prices(self, tick: Tick) -> list[Json]:
        """Each price in force, where it is from, and what is wrong with those that should come first."""
        return [
            {
                "price": price.key.price.value,
                "model": price.key.model,
                "value": rounded(price.value, 6),
                "unit": MARKETS[price.key.price].unit,
                "source": price.source,
                "age_s": None if price.age_s is None else rounded(price.age_s, 1),
                "passed": list(price.passed),
            }
            for price in tick.inputs.prices_now
        ]

    def _commands(self, tick: Tick) -> Json:
        """What devices answered, and what measured watts then made of it."""
        devices = tick.state.devices.values()
        return {
            "sent": self._board.commands.total(),
            **self._board.commands,
            "confirmed": sum(device.proofs for device in devices),
            "lied": sum(device.lies for device in devices),
            "reasserted": sum(device.reasserts for device in devices),
        }

    def _why(self, device: str, tick: Tick) -> web.Response:
        """The device, its grant, and the room on every node above it."""
        spec = next((spec for spec in tick.inputs.specs if spec.id == device), None)
        if spec is None:
            return web.json_response({"error": f"no device {device!r}"}, status=404)
        grant = tick.plan.grants.of(device)
        sample = tick.inputs.readings.get(device)
        hottest_c = sample.value.hottest_c if sample is not None else None
        state = tick.state.devices[device]
        return web.json_response(
            _device(spec, grant)
            | {
                "mode": self._board.site.policy.mode.value,
                "points": [
                    {"name": p.name, "watts": p.power.watts, "rate": rounded(p.rate, 4)} for p in spec.points
                ],
                "age_s": rounded(grant.age_s, 2) if sample is not None else None,
                "hottest_c": rounded(hottest_c, 2) if hottest_c is not None else None,
                "derate": rounded(state.derate, 3),
                "lies": state.lies,
                "reasserts": state.reasserts,
                "answered": _answered(tick, device),
                **self._gpu(device),
                "above": self._way_up(tick, spec.node),
                "cap": _cap(tick.plan),
            }
        )

    def _gpu(self, device: str) -> Json:
        """What a GPU tells beyond its reading: nothing for other devices."""
        detail = self._board.details().get(device)
        return {} if detail is None else {"gpu": plain(detail)}

    def _merit(self, tick: Tick) -> web.Response:
        return web.json_response(merits(tick))

    def _way_up(self, tick: Tick, node: str | None) -> list[Json]:
        nodes = {node.node: node for node in self._board.nodes(tick.plan)}
        parents = {node.id: node.parent for node in self._board.site.nodes}
        way: list[Json] = []
        while node is not None:
            way.append(_node(nodes[node]))
            node = parents[node]
        return way


def _device(spec: DeviceSpec, grant: Grant) -> Json:
    return {
        "device": grant.device,
        "kind": spec.kind.value,
        "node": spec.node,
        "point": grant.point.name,
        "wanted": grant.wanted.name,
        "grant_w": grant.power.watts,
        "worst_w": grant.worst.watts,
        "draw_w": grant.draw.watts,
        "reason": grant.reason.value,
        "limited_by": grant.limited_by,
        "truth": grant.truth.value,
    }


def _answered(tick: Tick, device: str) -> Json | None:
    """What it said to the newest command, once it has: in its own words, or its outlet's."""
    sample = tick.inputs.outcomes.get(device)
    if sample is None:
        return None
    return {
        "outcome": outcome_name(sample.value),
        "why": getattr(sample.value, "why", ""),
        "age_s": rounded(tick.inputs.now_s - sample.at_s, 2),
    }


def _cap(plan: Plan) -> Json:
    return {"watts": watts(plan.cap), "reason": plan.cap_reason.value, "event": plan.cap_event}


def _node(node: NodeState) -> Json:
    return {
        "node": node.node,
        "limit_w": watts(node.limit),
        "metered_w": watts(node.metered),
        "granted_w": node.granted.watts,
        "wanted_w": node.wanted.watts,
        "worst_w": node.worst.watts,
        "unexplained_w": node.unexplained.watts,
        "feasible": node.feasible,
    }


def _jobs(tick: Tick) -> list[Json]:
    return [
        {
            "queue": queue.queue,
            "job": status.job.id,
            "state": status.state.value,
            "gpus": list(status.gpus),
            "usd_per_gpu_hour": status.job.usd_per_gpu_hour,
        }
        for queue in tick.inputs.queues
        for status in queue.jobs
    ]
