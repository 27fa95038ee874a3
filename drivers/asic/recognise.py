"""From an address to the machine that is there, without a guess.

A machine counts as one of a family only if pyasic recognises its firmware and it then proves it to our own
code for that family, by which it would be driven.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import Any

from controller.domain.devices import Quality, Reading
from drivers.asic import facts
from drivers.asic.adapter import Adapter, KeepsConnection, Plate
from drivers.asic.build import ADAPTERS
from drivers.asic.config import Family, Login, Logins
from drivers.asic.facts import EXCHANGE_S, Facts, Reader
from drivers.asic.generic import SWITCHES, WATCHED, prepare
from drivers.asic.identify import backend_of
from drivers.asic.library import get_miner
from drivers.asic.trouble import as_driver_error, contained
from drivers.base import DriverError

GENERIC: Family = "generic"
FAMILIES: dict[str, Family] = {
    **dict.fromkeys([*WATCHED, *SWITCHES], GENERIC),
    **{adapter.backend: family for family, adapter in ADAPTERS.items()},
}

READERS: dict[str, Reader] = {
    "LUXMiner": facts.luxos,
    "BTMinerV2": facts.whatsminer,
    "AntminerModern": facts.antminer,
    "AntminerOld": facts.antminer,
    "BMMiner": facts.antminer,  # a model that pyasic does not know
}

NO_RATING_W = 100_000
"""For an adapter that must be told a rating to be asked anything: no estimate that uses it is passed on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A miner. `backend` is pyasic's name of its firmware; without `family` no driver here speaks it."""

    address: str
    backend: str
    family: Family | None
    facts: Facts


async def recognise(host: str, logins: Logins) -> Machine:
    """Who is at `host`; raises `DriverError` where that cannot be established."""
    miner = await contained(get_miner(host))
    if miner is None:
        return await _by_hello(host, logins)
    backend = backend_of(type(miner))
    family = FAMILIES.get(backend)
    try:
        if (reader := READERS.get(backend)) is not None:
            known = await reader(host, logins)
        elif family is not None:
            known = await _by_adapter(miner, family, logins)
        else:
            known = await told_by_pyasic(miner)
    except DriverError as error:
        raise DriverError(f"looks like {backend}, but does not answer like it: {error}") from error
    return Machine(address=host, backend=backend, family=family, facts=known)


async def _by_hello(host: str, logins: Logins) -> Machine:
    """A stopped Whatsminer refuses the commands by which pyasic knows it, but not all that prove it."""
    proofs = {adapter.backend for adapter in ADAPTERS.values() if adapter.hello_is_proof}
    for backend, reader in READERS.items():
        if backend in proofs:
            try:
                known = await reader(host, logins)
            except DriverError:
                continue
            return Machine(address=host, backend=backend, family=FAMILIES[backend], facts=known)
    raise DriverError("answers like no miner that is known here")


async def _by_adapter(miner: Any, family: Family, logins: Logins) -> Facts:
    """Of a family without a reader: what its driver hears, and pyasic's word for model and firmware."""
    login = logins.get(family, Login())
    plate = Plate(
        device=family,
        host=str(miner.ip),
        rated_w=NO_RATING_W,
        rated_ths=1.0,
        sleep_w=0,
        ceiling_w=NO_RATING_W,
        username=login.username,
        password=login.password,
    )
    prepare(miner, plate)
    adapter = ADAPTERS[family](plate)
    try:
        mac, reading, doubts = await _hear(adapter)
    finally:
        if isinstance(adapter, KeepsConnection):
            adapter.close()
    known = await told_by_pyasic(miner, mac=mac)
    draw_w = reading.draw.watts if reading and reading.quality is Quality.MEASURED else None
    rate_ths = reading.rate if reading else None
    return replace(known, rate_ths=rate_ths, draw_w=draw_w, doubts=(*doubts, *known.doubts))


async def _hear(adapter: Adapter) -> tuple[str | None, Reading | None, tuple[DriverError, ...]]:
    """The MAC, a reading, and why one of both is missing. Either proves the family: a hello may also fail
    because no operating point fits, which here nobody has configured."""
    mac = unheard = None
    try:
        with as_driver_error():
            mac = facts.told_mac((await adapter.hello()).mac)
    except DriverError as error:
        unheard = error
    try:
        with as_driver_error():
            return mac, (await adapter.read()).reading, ()
    except DriverError as error:
        if unheard is not None:
            raise unheard from error
        return mac, None, (error,)


async def told_by_pyasic(miner: Any, *, mac: str | None = None) -> Facts:
    """Only what tells one machine from another: pyasic makes up much of the rest. `mac` is known already."""
    doubts = []
    version = None
    try:
        async with asyncio.timeout(EXCHANGE_S):
            mac = mac or facts.told_mac(await contained(miner.get_mac()))
            version = facts.told(await contained(miner.get_fw_ver()))
    except TimeoutError:
        doubts.append(DriverError(f"no MAC or firmware version within {EXCHANGE_S:g} s"))
    except DriverError as error:
        doubts.append(error)
    # pyasic's word for a model that it does not know is the maker.
    model = await facts.told_type(str(miner.ip)) if miner.raw_model is None else str(miner.raw_model)
    maker = miner.make if miner.firmware in (None, "Stock") else miner.firmware
    firmware = " ".join(filter(None, (str(maker or backend_of(type(miner))), version)))
    return Facts(model=model, firmware=firmware, mac=mac, doubts=tuple(doubts))
