"""Modbus TCP servers with each value where a site file says it is: by unit, function, address and type."""

from __future__ import annotations

import asyncio
import struct
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from simulators.faces.metermaps import LAYOUTS
from simulators.plant import Plant
from simulators.signals import WORDS, ModbusServerConfig, Quantity, RegisterConfig

READS = {"holding": 3, "input": 4}
_STRUCT = {"int16": ">h", "uint16": ">H", "int32": ">i", "uint32": ">I", "float32": ">f"}
_RANGE = {
    "int16": (-0x8000, 0x7FFF),
    "uint16": (0, 0xFFFF),
    "int32": (-0x80000000, 0x7FFFFFFF),
    "uint32": (0, 0xFFFFFFFF),
}


class Action(Protocol):
    async def __call__(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None: ...


class RegisterFace:
    """One server; `address` is where it listens, once it is started."""

    def __init__(self, plant: Plant, config: ModbusServerConfig) -> None:
        self.id = config.id
        self.address = str(config.host), config.port
        units: defaultdict[int, list[_Cell]] = defaultdict(list)
        for register in config.registers:
            units[register.unit].append(_Cell(plant, register))
        self._devices = [_device(unit, cells) for unit, cells in units.items()]
        self._server: ModbusTcpServer | None = None

    async def start(self) -> None:
        self._server = ModbusTcpServer(self._devices, address=self.address)
        await self._server.serve_forever(background=True)
        listening = self._server.transport
        assert isinstance(listening, asyncio.Server)  # pymodbus declares a transport and keeps a server there

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.shutdown()  # type: ignore[no-untyped-call]  # untyped in pymodbus 3.16
            self._server = None


def told(plant: Plant, what: Quantity) -> float | None:
    """The quantity in W or C, or a proof's number, as its sensor gives it; None from a dead one."""
    if what.meter is not None:
        meter = plant.meters[what.meter]
        return None if meter.faults.dead else meter.value_w
    assert what.zone is not None
    zone = plant.zones[what.zone]
    if zone.faults.sensor_dead:
        return None
    if what.inlet_of is not None:
        return zone.inlet_c
    if what.coolant_of is not None:
        return zone.coolant_c
    return what.proven if zone.fans_proven else what.not_proven


@dataclass(frozen=True, slots=True)
class _Cell:
    plant: Plant
    config: RegisterConfig

    @property
    def addresses(self) -> range:
        config = self.config
        if config.map is None:
            return range(config.address, config.address + WORDS[config.type])
        assert config.meter is not None
        layout, meter = LAYOUTS[config.map], self.plant.meters[config.meter]
        return range(layout.first, layout.first + len(layout.words(meter)))

    def words(self) -> list[int] | None:
        config = self.config
        value = told(self.plant, config)
        if value is None:
            return None
        if config.map is not None:
            assert config.meter is not None
            return LAYOUTS[config.map].words(self.plant.meters[config.meter])
        count = value * config.sign / config.scale
        if config.type in _RANGE:
            low, high = _RANGE[config.type]
            count = min(max(round(count), low), high)
        packed = struct.pack(_STRUCT[config.type], count)
        words = list(struct.unpack(f">{len(packed) // 2}H", packed))
        return words if config.word_order == "big" else words[::-1]


def _device(unit: int, cells: Sequence[_Cell]) -> SimDevice:
    blocks = [
        SimData(run.start, values=[0] * len(run), datatype=DataType.REGISTERS, readonly=True)
        for run in _runs(address for cell in cells for address in cell.addresses)
    ]
    return SimDevice(unit, simdata=blocks, action=_answering(cells))


def _runs(addresses: Iterable[int]) -> list[range]:
    """Addresses as ranges without gaps."""
    runs: list[range] = []
    for address in sorted(set(addresses)):
        if runs and runs[-1].stop == address:
            runs[-1] = range(runs[-1].start, address + 1)
        else:
            runs.append(range(address, address + 1))
    return runs


def _answering(cells: Sequence[_Cell]) -> Action:
    """Fill in what is asked for, by the function that it is asked with; a dead meter's gateway says so."""

    async def action(
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        found = False
        for cell in cells:
            here = cell.addresses
            by_map = cell.config.map is not None
            if not by_map and READS[cell.config.function] != function:
                continue
            if here.stop <= address or here.start >= address + count:
                continue
            words = cell.words()
            if words is None:
                return ExcCodes.GATEWAY_NO_RESPONSE
            registers[here.start - start : here.stop - start] = words
            found = True
        return None if found else ExcCodes.ILLEGAL_ADDRESS

    return action
