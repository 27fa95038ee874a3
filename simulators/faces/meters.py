"""Meters and zone sensors on Modbus TCP: one server, one unit id per meter and per zone, read only.

Holding and input registers alike (functions 3 and 4), high word first. This is the plain map; a meter can
have the map of one on the market instead (`metermaps`):

| unit  | register | type    | what                                                    |
|-------|----------|---------|---------------------------------------------------------|
| meter | 0-1      | float32 | active power, W                                         |
| meter | 2-3      | int32   | active power, W                                         |
| meter | 4        | uint16  | count of samples shown so far, wraps: stands still when the meter is frozen |
| zone  | 10       | int16   | inlet temperature, 0.1 C                                |
| zone  | 11       | uint16  | fan proof: 1 proven, 0 not                              |
| zone  | 12       | int16   | coolant supply temperature, 0.1 C                       |

A dead meter and an unknown unit answer with exception 11 (the gateway's target does not respond).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from simulators.faces.metermaps import LAYOUTS, words_of
from simulators.physics.cooling import Zone
from simulators.physics.electrical import Meter
from simulators.plant import Plant

PLAIN_REGISTERS = (0, 5)
ZONE_REGISTERS = (10, 3)
ANY_UNIT = 0

Answer = Callable[[], list[int] | ExcCodes]
Action = Callable[
    [int, int, int, int, list[int], list[int] | list[bool] | None], Coroutine[None, None, ExcCodes | None]
]


class MeterFace:
    """`port` 0 takes a free one; `address` tells which, once it is started."""

    def __init__(self, plant: Plant, host: str | None = None, port: int | None = None) -> None:
        config = plant.config
        self._address = (
            str(config.modbus_host) if host is None else host,
            config.modbus_port if port is None else port,
        )
        self._devices = [
            _device(ANY_UNIT, PLAIN_REGISTERS, lambda: ExcCodes.GATEWAY_NO_RESPONSE),
            *(_meter(meter, unit) for meter in plant.meters.values() if (unit := meter.config.unit)),
            *(
                _device(unit, ZONE_REGISTERS, _sensed(zone))
                for zone in plant.zones.values()
                if (unit := zone.config.unit)
            ),
        ]
        self._server: ModbusTcpServer | None = None

    @property
    def address(self) -> tuple[str, int]:
        return self._address

    async def start(self) -> None:
        self._server = ModbusTcpServer(self._devices, address=self._address)
        await self._server.serve_forever(background=True)
        listening = self._server.transport
        assert isinstance(listening, asyncio.Server)  # pymodbus declares a transport and keeps a server there
        host, port = listening.sockets[0].getsockname()
        self._address = host, port

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # untyped in pymodbus 3.16
            self._server = None


def _meter(meter: Meter, unit: int) -> SimDevice:
    layout = LAYOUTS[meter.config.map]

    def answer() -> list[int] | ExcCodes:
        return ExcCodes.GATEWAY_NO_RESPONSE if meter.faults.dead else layout.words(meter)

    return _device(unit, (layout.first, len(layout.words(meter))), answer)


def _sensed(zone: Zone) -> Answer:
    def answer() -> list[int] | ExcCodes:
        if zone.faults.sensor_dead:
            return ExcCodes.GATEWAY_NO_RESPONSE
        return words_of(">hHh", round(zone.inlet_c * 10), int(zone.fans_proven), round(zone.coolant_c * 10))

    return answer


def _device(unit: int, registers: tuple[int, int], answer: Answer) -> SimDevice:
    first, count = registers
    block = SimData(first, values=[0] * count, datatype=DataType.REGISTERS, readonly=True)
    return SimDevice(unit, simdata=[block], action=_action(answer))


def _action(answer: Answer) -> Action:
    async def action(
        _function: int,
        _start: int,
        _address: int,
        _count: int,
        registers: list[int],
        _values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        values = answer()
        if isinstance(values, ExcCodes):
            return values
        registers[: len(values)] = values
        return None

    return action
