"""The miners' faces: each miner of the plant on its own loopback address, speaking its family's protocols."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from simulators.faces.antminer import AntminerApi
from simulators.faces.auradine import AuradineApi
from simulators.faces.avalon import AvalonApi, TakingTurns, Turns
from simulators.faces.axeos import AxeosApi
from simulators.faces.cgminer import JsonApi, JsonConnection
from simulators.faces.connection import Listener
from simulators.faces.epic import EpicApi, EpicDashboard
from simulators.faces.http import HttpConnection, WebApi
from simulators.faces.luxos import LuxosApi
from simulators.faces.marafw import MaraApi
from simulators.faces.vnish import VnishApi
from simulators.faces.vnish_rpc import VnishRpc
from simulators.faces.whatsminer import WhatsminerApi
from simulators.faces.whatsminer_v3 import FramedConnection, LegacyApi, WhatsminerV3Api
from simulators.groups import Family
from simulators.physics.miner import Miner
from simulators.plant import Plant

RPC = 4028
HTTP = 80
AURADINE_HTTP = 8080
WHATSMINER_V3 = 4433
BRAIINS_GRPC = 50_051


class Port(Protocol):
    """One that a miner listens on."""

    async def open(self) -> None: ...

    def close(self) -> None: ...


@dataclass(slots=True)
class MinerSockets:
    """All sockets of one miner, open exactly while it can be reached: a dead one really refuses."""

    miner: Miner
    listeners: Sequence[Port]
    open: bool = False

    async def follow(self) -> None:
        self.close()
        if self.miner.reachable:
            self.open = True
            for listener in self.listeners:
                await listener.open()

    def close(self) -> None:
        self.open = False
        for listener in self.listeners:
            listener.close()


class MinerFaces:
    """The plant's `ports` map a port of the protocol to the one listened on; one not there is itself."""

    def __init__(self, plant: Plant) -> None:
        self._ports = plant.config.ports
        self._sockets = [
            MinerSockets(miner, self._listeners_of(miner, plant)) for miner in plant.miners.values()
        ]

    async def start(self) -> None:
        _raise_file_limit()
        await self.follow()

    async def follow(self) -> None:
        """Open and close sockets as miners come and go; to be called after every step of the plant."""
        for sockets in self._sockets:
            if sockets.open is not sockets.miner.reachable:
                await sockets.follow()

    async def stop(self) -> None:
        for sockets in self._sockets:
            sockets.close()
        await asyncio.sleep(0)  # connections are closed by the loop's next turn

    def _listeners_of(self, miner: Miner, plant: Plant) -> Sequence[Port]:
        def now_s() -> float:
            return plant.now_s

        match miner.group.family:
            case Family.LUXOS:
                return [self._rpc(miner, LuxosApi(miner, now_s))]
            case Family.WHATSMINER:
                return [self._rpc(miner, WhatsminerApi(miner, now_s))]
            case Family.ANTMINER:
                api = AntminerApi(miner, now_s)
                return [self._rpc(miner, api), self._http(miner, api)]
            case Family.WHATSMINER_V3:
                framed = partial(FramedConnection, api=WhatsminerV3Api(miner, now_s))
                legacy = [self._rpc(miner, LegacyApi(miner, now_s))] if miner.group.legacy_api else []
                return [Listener(miner, self._ports.get(WHATSMINER_V3, WHATSMINER_V3), framed), *legacy]
            case Family.AVALON:
                taking_turns = partial(TakingTurns, api=AvalonApi(miner, now_s), turns=Turns())
                return [Listener(miner, self._ports.get(RPC, RPC), taking_turns)]
            case Family.VNISH:
                return [self._rpc(miner, VnishRpc(miner, now_s)), self._http(miner, VnishApi(miner, now_s))]
            case Family.AURADINE:
                both = AuradineApi(miner, now_s)
                return [self._rpc(miner, both), self._http(miner, both, AURADINE_HTTP)]
            case Family.AXEOS:
                return [self._http(miner, AxeosApi(miner, now_s))]
            case Family.MARAFW:
                mara = MaraApi(miner, now_s)
                return [self._rpc(miner, mara), self._http(miner, mara)]
            case Family.BRAIINS:
                return self._braiins(miner, now_s)
            case Family.EPIC:
                return [
                    self._http(miner, EpicApi(miner, now_s), RPC),
                    self._http(miner, EpicDashboard()),
                ]

    def _braiins(self, miner: Miner, now_s: Callable[[], float]) -> Sequence[Port]:
        # Its messages come with pyasic, which costs a second of CPU and 48 MB.
        from simulators.faces.braiins import BraiinsGrpc
        from simulators.faces.braiins_rpc import BraiinsRpc, Firmware
        from simulators.faces.grpc import GrpcListener

        firmware = Firmware(miner, now_s)
        grpc = GrpcListener(miner, self._ports.get(BRAIINS_GRPC, BRAIINS_GRPC), BraiinsGrpc(firmware))
        return [self._rpc(miner, BraiinsRpc(firmware)), grpc]

    def _rpc(self, miner: Miner, api: JsonApi) -> Listener:
        return Listener(miner, self._ports.get(RPC, RPC), partial(JsonConnection, api=api))

    def _http(self, miner: Miner, api: WebApi, port: int = HTTP) -> Listener:
        return Listener(miner, self._ports.get(port, port), partial(HttpConnection, api=api))


def _raise_file_limit() -> None:
    """Each address and port is one descriptor, each client another."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
