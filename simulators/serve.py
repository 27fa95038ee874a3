"""A simulated site on real sockets and in real time, from a plant file or from a controller's site file.

    wattshift simulate PLANT.toml [--control-port N] [--speed 1.0] [--nvml-state PATH]
    wattshift simulate --site SITE.toml [--out FOLDER] [--first-address 127.64.0.1]

With --site, FOLDER gets a site.toml that leads to the simulated machines, and the NVML library of the
simulated GPUs. One line of JSON on stdout says that everything answers, and where; SIGTERM and SIGINT end it.

The control, HTTP on loopback:
    GET  /truth             what is physically so
    GET  /history?since=S   the site's power, sample by sample
    GET  /faults            the knobs that are turned; ?device=ID all knobs of one part
    POST /faults            {"device": "row-a-003", "fault": "lies_about_stop", "value": true}
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from functools import partial
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from simulators.broker import BrokerError
from simulators.config import PlantConfig, PlantFileError, load_plant
from simulators.faces.meters import MeterFace
from simulators.faces.miners import MinerFaces
from simulators.faces.mqttmeter import MqttMeterFace
from simulators.faces.registers import RegisterFace
from simulators.nvml.build import BuildError
from simulators.nvml.face import NvmlFace, create_state
from simulators.physics.faults import BadFaultError, neutral
from simulators.plant import RESOLUTION_S, Plant
from simulators.stagesite import staged_site

if TYPE_CHECKING:
    from simulators.faces.snmp import PduFace

PERIOD_S = 0.05
SAMPLE_S = 0.2
HISTORY_SAMPLES = 36_000
"""Two hours of the site's power at `SAMPLE_S`."""
CATCH_UP_S = 2.0
"""Plant time that one step may make up for; what a stalled process lost beyond that never happened."""
MAX_BODY_BYTES = 4096
NEUTRAL = neutral()
"""Every knob of any part as it is when nothing is wrong."""


class Face(Protocol):
    """One more kind of wire on which outsiders meet the plant."""

    def exchange(self, plant: Plant) -> None:
        """Called after every step: bring the plant's news out, take outsiders' orders in."""


class Wire(Protocol):
    """A face with a connection or a socket of its own."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


class SimulatedSite:
    """A plant, its faces and its control. `extra` faces are served beside miners and meters."""

    def __init__(
        self,
        plant: Plant,
        *,
        speed: float = 1.0,
        control_port: int = 0,
        extra: Sequence[Face] = (),
    ) -> None:
        self.plant = plant
        self.speed = speed
        self.history: deque[tuple[float, float]] = deque(maxlen=HISTORY_SAMPLES)
        self.control_url = ""
        self.meters = MeterFace(plant)
        self._miners = MinerFaces(plant)
        self.pdus = list(_pdu_faces(plant))
        mqtt = plant.config.mqtt
        published = [] if mqtt is None else [MqttMeterFace(plant, mqtt)]
        self.servers = [RegisterFace(plant, server) for server in plant.config.modbus]
        self._wires: list[Wire] = [self._miners, self.meters, *self.servers, *published, *self.pdus]
        self._extra: list[Face] = [*extra, *published]
        self._control_port = control_port
        self._due_s = plant.now_s

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Everything answers inside this context; time passes only in `run`."""
        async with AsyncExitStack() as stack:
            for wire in self._wires:
                stack.push_async_callback(wire.stop)
                await wire.start()
            runner = web.AppRunner(self._control(), access_log=None)
            stack.push_async_callback(runner.cleanup)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self._control_port).start()
            host, port = runner.addresses[0][:2]
            self.control_url = f"http://{host}:{port}"
            await self.exchange()
            yield

    async def run(self, until: asyncio.Event | None = None) -> None:
        """Let plant time follow real time, `speed` times as fast, until told or cancelled."""
        loop = asyncio.get_running_loop()
        last_s = next_s = loop.time()
        while until is None or not until.is_set():
            next_s = max(next_s + PERIOD_S, loop.time())
            await asyncio.sleep(next_s - loop.time())
            now_s = loop.time()
            await self.advance(min((now_s - last_s) * self.speed, CATCH_UP_S * max(1.0, self.speed)))
            last_s = now_s

    async def advance(self, by_s: float) -> None:
        """Let `by_s` of plant time pass, and carry it to every face."""
        self._due_s += by_s
        while self._due_s - self.plant.now_s >= RESOLUTION_S:
            self.plant.advance(min(self._due_s, self.plant.now_s + SAMPLE_S))
            if not self.history or self.plant.now_s - self.history[-1][0] >= SAMPLE_S - 1e-9:
                self.history.append((self.plant.now_s, self.plant.site_power_w))
        await self.exchange()

    async def exchange(self) -> None:
        for face in self._extra:
            face.exchange(self.plant)
        await self._miners.follow()

    # -- control ----------------------------------------------------------------------------------------

    def _control(self) -> web.Application:
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_get("/truth", self._get_truth)
        app.router.add_get("/history", self._get_history)
        app.router.add_get("/faults", self._get_faults)
        app.router.add_post("/faults", self._post_faults)
        return app

    async def _get_truth(self, _: web.Request) -> web.Response:
        return web.json_response(asdict(self.plant.truth()))

    async def _get_history(self, request: web.Request) -> web.Response:
        try:
            since_s = float(request.query.get("since", "-inf"))
        except ValueError:
            return _refusal(f"since = {request.query['since']!r} is not a number")
        samples = [sample for sample in self.history if sample[0] > since_s]
        return web.json_response({"now_s": self.plant.now_s, "samples": samples})

    async def _get_faults(self, request: web.Request) -> web.Response:
        """All knobs of one part, or of every part those that are not as they should be."""
        knobs = self.plant.faults()
        if (device := request.query.get("device")) is not None:
            if device not in knobs:
                return _refusal(f"device {device!r} does not exist")
            return web.json_response({device: knobs[device]})
        turned = {
            part: {name: value for name, value in of.items() if name not in NEUTRAL or value != NEUTRAL[name]}
            for part, of in knobs.items()
        }
        return web.json_response({part: of for part, of in turned.items() if of})

    async def _post_faults(self, request: web.Request) -> web.Response:
        try:
            order = await request.json()
            device, fault, value = order["device"], order["fault"], order.get("value", True)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            return _refusal(f'want {{"device": id, "fault": name, "value": value}}: {error!r}')
        try:
            self.plant.set_fault(device, fault, value)
        except (BadFaultError, TypeError) as error:
            return _refusal(str(error))
        await self.exchange()
        return web.json_response({"device": device, "fault": fault, "value": value})


def _pdu_faces(plant: Plant) -> Iterator[PduFace]:
    if plant.pdus:
        from simulators.faces.snmp import PduFace  # a plant without PDUs need not pay for it

        yield from (PduFace(plant, pdu) for pdu in plant.pdus.values())


def _refusal(why: str) -> web.Response:
    return web.json_response({"error": why}, status=400)


async def serve(
    config: PlantConfig,
    *,
    control_port: int = 0,
    speed: float = 1.0,
    nvml_state: Path | None = None,
    ready: Callable[[SimulatedSite], None] = lambda site: None,
    until: asyncio.Event | None = None,
) -> None:
    """Serve the site until told or cancelled; `ready` is called once, when everything answers."""
    plant = Plant(config)
    extra = [] if nvml_state is None else [NvmlFace(create_state(nvml_state, plant.gpus.values()))]
    site = SimulatedSite(plant, speed=speed, control_port=control_port, extra=extra)
    async with site.serving():
        ready(site)
        await site.run(until)


def main(argv: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(argv)
    try:
        asyncio.run(_serve_until_told(options))
    except (PlantFileError, BuildError, BrokerError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _serve_until_told(options: argparse.Namespace) -> None:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    async with AsyncExitStack() as stack:
        if options.site is not None:
            staged = await stack.enter_async_context(
                staged_site(options.site, options.out, options.first_address)
            )
            config, state, leads = staged.plant, staged.nvml_state, {"site": str(staged.site_file)}
            if state is not None:
                leads["nvml_state"] = str(state)
            if config.mqtt is not None:
                leads["mqtt"] = f"{config.mqtt.host}:{config.mqtt.port}"
        else:
            config, state, leads = load_plant(options.plant), options.nvml_state, {}
        await serve(
            config,
            control_port=options.control_port,
            speed=options.speed,
            nvml_state=state,
            ready=partial(_print_ready, leads=leads),
            until=told,
        )


def _print_ready(site: SimulatedSite, *, leads: Mapping[str, str]) -> None:
    host, port = site.meters.address
    line = {
        **leads,
        "control": site.control_url,
        "modbus": f"{host}:{port}",
        "servers": {server.id: f"{server.address[0]}:{server.address[1]}" for server in site.servers},
        "pdus": {pdu.id: f"{pdu.address[0]}:{pdu.address[1]}" for pdu in site.pdus},
        "ports": site.plant.config.ports,
        "miners": len(site.plant.miners),
        "gpus": len(site.plant.gpus),
        "seed": site.plant.seed,
    }
    print(json.dumps(line), flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="wattshift simulate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage=argparse.SUPPRESS,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("plant", type=Path, nargs="?", help="the plant file (TOML)")
    what.add_argument("--site", type=Path, help="a controller's site file (TOML), instead of a plant file")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("var/simulated"),
        help="with --site: folder for what the controller needs",
    )
    parser.add_argument(
        "--first-address",
        type=IPv4Address,
        default=IPv4Address("127.64.0.1"),
        help="with --site: where the simulated machines' loopback addresses begin",
    )
    parser.add_argument("--control-port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--speed", type=float, default=1.0, help="plant seconds per real second")
    parser.add_argument(
        "--nvml-state", type=Path, help="where to put the state of the simulated NVML library"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
