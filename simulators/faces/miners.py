"""The miners' faces: each miner of the plant on its own loopback address, speaking its family's protocols."""

from __future__ import annotations

import resource
from collections.abc import Callable, Mapping
from functools import partial

from simulators.config import Family
from simulators.faces.antminer import AntminerApi
from simulators.faces.cgminer import JsonApi, JsonConnection
from simulators.faces.connection import Listener
from simulators.faces.http import HttpConnection, WebApi
from simulators.faces.luxos import LuxosApi
from simulators.faces.whatsminer import WhatsminerApi
from simulators.physics.miner import Miner
from simulators.plant import Plant

RPC = 4028
HTTP = 80


class MinerFaces:
    """`ports` maps a port of the protocol to the one listened on; one that is missing stands for itself."""

    def __init__(self, plant: Plant, ports: Mapping[int, int] | None = None) -> None:
        self._ports = dict(plant.config.ports if ports is None else ports)
        self._listeners = [
            listener for miner in plant.miners.values() for listener in self._listeners_of(miner, plant)
        ]

    async def start(self) -> None:
        _raise_file_limit()
        await self.follow()

    async def follow(self) -> None:
        """Open and close sockets as miners come and go; to be called after every step of the plant."""
        for listener in self._listeners:
            if listener.listening != listener.miner.reachable:
                await listener.follow()

    async def stop(self) -> None:
        for listener in self._listeners:
            listener.close()

    def _listeners_of(self, miner: Miner, plant: Plant) -> list[Listener]:
        now_s: Callable[[], float] = lambda: plant.now_s  # noqa: E731  # one clock, read late
        match miner.group.family:
            case Family.LUXOS:
                return [self._rpc(miner, LuxosApi(miner, now_s))]
            case Family.WHATSMINER:
                return [self._rpc(miner, WhatsminerApi(miner, now_s))]
            case Family.ANTMINER:
                api = AntminerApi(miner, now_s)
                return [self._rpc(miner, api), self._http(miner, api)]

    def _rpc(self, miner: Miner, api: JsonApi) -> Listener:
        return Listener(miner, self._ports.get(RPC, RPC), partial(JsonConnection, api=api))

    def _http(self, miner: Miner, api: WebApi) -> Listener:
        return Listener(miner, self._ports.get(HTTP, HTTP), partial(HttpConnection, api=api))


def _raise_file_limit() -> None:
    """Each address and port is one descriptor, each client another."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
