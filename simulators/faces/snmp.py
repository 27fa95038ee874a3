"""Rack PDUs as SNMP agents, one for each PDU of the plant: every outlet's watts and state, and its switch.

They answer SNMP v2c under the PDU's community and v3 (SHA, AES-128) to its user, in the places and with the
traps of the public MIBs: an APC takes 1 for on and 2 for off, and says 2 for on and 1 for off. What every
agent has stands around them: the system group before, its engine after, which is where a walk finds its end.
"""

from __future__ import annotations

import asyncio
import socket
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pysnmp.carrier.asyncio.dgram.udp import DOMAIN_NAME, UdpTransport
from pysnmp.entity import config as access
from pysnmp.entity.engine import SnmpEngine
from pysnmp.entity.rfc3413.cmdrsp import GetCommandResponder, NextCommandResponder, SetCommandResponder
from pysnmp.entity.rfc3413.context import SnmpContext
from pysnmp.error import PySnmpError
from pysnmp.proto.rfc1902 import Gauge32, Integer32, ObjectIdentifier, ObjectName, OctetString, TimeTicks
from pysnmp.proto.rfc1905 import EndOfMibView, NoSuchInstance
from pysnmp.smi.error import NotWritableError, WrongValueError

from simulators.config import PduModel
from simulators.physics.pdu import Pdu
from simulators.plant import Plant

APC = (1, 3, 6, 1, 4, 1, 318, 1, 1, 26)
RARITAN = (1, 3, 6, 1, 4, 1, 13742, 6)
SYSTEM = (1, 3, 6, 1, 2, 1, 1)
ENGINE = (1, 3, 6, 1, 6, 3, 10, 2, 1)
SNMP_MAX_MESSAGE_BYTES = 1500
EVERYTHING = (1, 3, 6)
V2C, V3 = 2, 3

Oid = tuple[int, ...]
Values = Mapping[Oid, Any]
Switches = Mapping[Oid, tuple[int, Mapping[int, bool]]]
"""By object identifier: the outlet, and which value closes or opens it."""


class PduFace:
    """`address` is where the agent answers, once it is started."""

    def __init__(self, plant: Plant, pdu: Pdu) -> None:
        self.id = pdu.id
        self.address = str(pdu.config.host), pdu.config.port
        self._mib = _Mib(plant, pdu)
        self._config = pdu.config
        self._engine: SnmpEngine | None = None

    async def start(self) -> None:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.setblocking(False)
        bound.bind(self.address)
        self.address = bound.getsockname()
        self._engine = engine = SnmpEngine()
        self._mib.engine_id = bytes(engine.snmpEngineID)
        transport = UdpTransport().open_server_mode(sock=bound)
        access.add_transport(engine, DOMAIN_NAME, transport)
        self._let_in(engine)
        context = SnmpContext(engine)
        context.unregister_context_name(b"")
        context.register_context_name(b"", self._mib)
        for responder in (GetCommandResponder, NextCommandResponder, SetCommandResponder):
            responder(engine, context)
        await asyncio.sleep(0)

    async def stop(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close_dispatcher()
            await asyncio.sleep(0)

    def _let_in(self, engine: SnmpEngine) -> None:
        access.add_v1_system(engine, "site", self._config.community)
        access.add_vacm_user(engine, V2C, "site", "noAuthNoPriv", EVERYTHING, EVERYTHING)
        keys = (access.USM_AUTH_HMAC96_SHA, self._config.password)
        access.add_v3_user(
            engine, self._config.user, *keys, access.USM_PRIV_CFB128_AES, self._config.password
        )
        access.add_vacm_user(engine, V3, self._config.user, "authPriv", EVERYTHING, EVERYTHING)


class _Mib:
    """pysnmp's controller of values. What the agent has, computed anew for every request."""

    def __init__(self, plant: Plant, pdu: Pdu) -> None:
        self._plant = plant
        self._pdu = pdu
        self._values, self._switches = TREES[pdu.config.model]
        self.engine_id = b""

    def read_variables(self, *binds: Any, **_: Any) -> list[Any]:
        values = self._now()
        return [(name, values.get(tuple(name), NoSuchInstance())) for name, _value in binds]

    def read_next_variables(self, *binds: Any, **_: Any) -> list[Any]:
        values = self._now()
        names = sorted(values)

        def after(name: Any) -> tuple[Any, Any]:
            at = bisect_right(names, tuple(name))
            return (ObjectName(names[at]), values[names[at]]) if at < len(names) else (name, EndOfMibView())

        return [after(name) for name, _value in binds]

    def write_variables(self, *binds: Any, **_: Any) -> list[Any]:
        """All or nothing, as the standard wants it."""
        self._now()
        switches = self._switches(self._pdu)
        orders = []
        for at, (name, value) in enumerate(binds):
            if tuple(name) not in switches:
                raise NotWritableError(name=name, idx=at)
            outlet, meanings = switches[tuple(name)]
            if int(value) not in meanings:
                raise WrongValueError(name=name, idx=at)
            orders.append((outlet, meanings[int(value)]))
        for outlet, closed in orders:
            self._plant.switch_outlet(self._pdu.id, outlet, closed=closed)
        return list(binds)

    def _now(self) -> Values:
        if self._pdu.faults.dead:
            raise PySnmpError("a dead agent answers nothing")
        uptime_s = self._plant.now_s
        return dict(
            (*_system(self._pdu, uptime_s), *self._values(self._pdu), *_engine(self.engine_id, uptime_s))
        )


def _system(pdu: Pdu, uptime_s: float) -> Iterator[tuple[Oid, Any]]:
    """The system group of RFC 3418; its uptime counts hundredths of a second and wraps."""
    product, description = PRODUCTS[pdu.config.model]
    yield (*SYSTEM, 1, 0), OctetString(description)
    yield (*SYSTEM, 2, 0), ObjectIdentifier(product)
    yield (*SYSTEM, 3, 0), TimeTicks(int(uptime_s * 100) % 2**32)
    yield (*SYSTEM, 4, 0), OctetString("")
    yield (*SYSTEM, 5, 0), OctetString(pdu.id)
    yield (*SYSTEM, 6, 0), OctetString("")


def _engine(engine_id: bytes, uptime_s: float) -> Iterator[tuple[Oid, Any]]:
    """Who speaks, in the words of RFC 3411: id, boots, seconds since the last one, largest message."""
    yield (*ENGINE, 1, 0), OctetString(engine_id)
    yield (*ENGINE, 2, 0), Integer32(1)
    yield (*ENGINE, 3, 0), Integer32(int(uptime_s))
    yield (*ENGINE, 4, 0), Integer32(SNMP_MAX_MESSAGE_BYTES)


def _apc_values(pdu: Pdu) -> Iterator[tuple[Oid, Any]]:
    yield (*APC, 4, 3, 1, 5, 1), Integer32(round(pdu.total_w / 10))
    for outlet in pdu.machines:
        on = pdu.says_closed(outlet)
        yield (*APC, 9, 2, 3, 1, 5, outlet), Integer32(2 if on else 1)
        yield (*APC, 9, 2, 4, 1, 5, outlet), Integer32(1 if on else 2)
        yield (*APC, 9, 4, 3, 1, 7, outlet), Integer32(round(pdu.watts(outlet)))


def _apc_switches(pdu: Pdu) -> Switches:
    return {(*APC, 9, 2, 4, 1, 5, outlet): (outlet, {1: True, 2: False}) for outlet in pdu.machines}


def _raritan_values(pdu: Pdu) -> Iterator[tuple[Oid, Any]]:
    """With one decimal place, as newer firmware has it."""
    yield (*RARITAN, 3, 3, 4, 1, 7, 1, 1, 5), Gauge32(1)
    yield (*RARITAN, 5, 2, 3, 1, 4, 1, 1, 5), Gauge32(round(pdu.total_w * 10))
    for outlet in pdu.machines:
        on = pdu.says_closed(outlet)
        yield (*RARITAN, 3, 5, 4, 1, 7, 1, outlet, 5), Gauge32(1)
        yield (*RARITAN, 4, 1, 2, 1, 2, 1, outlet), Integer32(1 if on else 0)
        yield (*RARITAN, 4, 1, 2, 1, 3, 1, outlet), Integer32(7 if on else 8)
        yield (*RARITAN, 5, 4, 3, 1, 4, 1, outlet, 5), Gauge32(round(pdu.watts(outlet) * 10))


def _raritan_switches(pdu: Pdu) -> Switches:
    return {(*RARITAN, 4, 1, 2, 1, 2, 1, outlet): (outlet, {1: True, 0: False}) for outlet in pdu.machines}


TREES: Mapping[PduModel, tuple[Callable[[Pdu], Iterator[tuple[Oid, Any]]], Callable[[Pdu], Switches]]] = {
    PduModel.APC_RPDU2: (_apc_values, _apc_switches),
    PduModel.RARITAN_PX: (_raritan_values, _raritan_switches),
}

PRODUCTS: Mapping[PduModel, tuple[Oid, str]] = {
    PduModel.APC_RPDU2: ((1, 3, 6, 1, 4, 1, 318, 1, 3, 4, 6), "APC Web/SNMP Management Card"),
    PduModel.RARITAN_PX: (RARITAN, "Raritan PX"),
}
"""What each says that it is: `sysObjectID`, `sysDescr`."""
