"""The plant file: what a simulated site consists of, read once from TOML and checked whole.

Unknown keys are errors, and every error names the key and the value it is about.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from ipaddress import IPv4Address
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, ValidationError, model_validator

from simulators.groups import GpuGroup, MinerGroup
from simulators.signals import MeterMap, ModbusServerConfig, Quantity, TopicConfig
from simulators.tables import LOOPBACK, Celsius, Name, Port, Positive, Table, Unit, Watts


class PlantFileError(ValueError):
    """The plant file cannot be used; the message names each key and value at fault."""


class NodeConfig(Table):
    """A place in the electrical tree. `load_w` is the mean of its other load (fans, switches, lights)."""

    id: Name
    parent: str | None = None
    load_w: Watts = 0.0
    load_wander: Annotated[float, Field(ge=0, le=1)] = 0.03
    breaker_w: Positive | None = None


class ZoneConfig(Table):
    """A cooling zone. The `rise_*` are the inlet's rise over the supply with every machine at its rating.

    With a broker, its inlet is published on `topic` in Celsius, and the proof of its fans on `proof_topic`.
    """

    id: Name
    unit: Unit | None = None
    topic: Annotated[str, Field(pattern=r"^[^+#]+$")] | None = None
    proof_topic: Annotated[str, Field(pattern=r"^[^+#]+$")] | None = None
    supply_c: Celsius = 24.0
    rise_c: Annotated[float, Field(ge=0, le=100)] = 4.0
    rise_fans_stopped_c: Annotated[float, Field(ge=0, le=200)] = 45.0
    settle_s: Positive = 180.0


class MqttConfig(Table):
    """The broker to which what has a `topic` is published. `heartbeat_s` is in the plant's time."""

    host: IPv4Address = IPv4Address("127.0.0.1")
    port: Port
    heartbeat_topic: str | None = None
    heartbeat_topics: tuple[str, ...] = ()
    heartbeat_s: Positive = 10.0


class MeterConfig(Table):
    """`noise` is the standard deviation of a reading as a fraction of it.

    What has a `unit` is on the plant's own Modbus server; `[[modbus]]` and `[[topics]]` put it elsewhere.
    """

    id: Name
    node: str
    unit: Unit | None = None
    map: MeterMap = MeterMap.PLAIN
    topic: Annotated[str, Field(pattern=r"^[^+#]+$")] | None = None
    noise: Annotated[float, Field(ge=0, le=0.5)] = 0.002
    delay_s: Annotated[float, Field(ge=0, le=600)] = 0.0
    period_s: Annotated[float, Field(ge=0.1, le=3600)] = 1.0


class PduModel(StrEnum):
    APC_RPDU2 = "apc-rpdu2"
    RARITAN_PX = "raritan-px"


class PduConfig(Table):
    """A rack PDU with an SNMP agent. `outlets` says which machine hangs at which outlet.

    It answers SNMP v2c under `community`, and v3 (SHA, AES) to the user `user` with `password` for both keys.
    """

    id: Name
    model: PduModel = PduModel.APC_RPDU2
    host: IPv4Address = IPv4Address("127.0.0.1")
    port: Annotated[int, Field(ge=0, le=65_535)] = 0
    community: str = "private"
    user: str = "site"
    password: Annotated[str, Field(min_length=8)] = "simulated"
    outlets: dict[Annotated[int, Field(ge=1, le=64)], str] = Field(default_factory=dict)


class PlantConfig(Table):
    """A whole plant file. `ports` maps the port a client asks for to the one really listened on."""

    name: str = "plant"
    seed: int = 1
    ports: dict[Port, Port] = Field(default_factory=lambda: {80: 18080, 4028: 4028})
    modbus_host: IPv4Address = IPv4Address("127.0.0.1")
    modbus_port: Annotated[int, Field(ge=0, le=65_535)] = 15020
    mqtt: MqttConfig | None = None
    nodes: Annotated[tuple[NodeConfig, ...], Field(min_length=1)]
    zones: tuple[ZoneConfig, ...] = ()
    meters: tuple[MeterConfig, ...] = ()
    modbus: tuple[ModbusServerConfig, ...] = ()
    topics: tuple[TopicConfig, ...] = ()
    pdus: tuple[PduConfig, ...] = ()
    miners: tuple[MinerGroup, ...] = ()
    gpus: tuple[GpuGroup, ...] = ()

    @property
    def root(self) -> str:
        return self.nodes[0].id

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_tree()
        self._check_places()
        _check_unique("id", self._ids())
        units = [*(meter.unit for meter in self.meters), *(zone.unit for zone in self.zones)]
        _check_unique("unit", [str(unit) for unit in units if unit is not None])
        _check_unique("address", [address for group in self.miners for address in group.addresses])
        _check_unique("outlet of", [device for pdu in self.pdus for device in pdu.outlets.values()])
        _check_unique("uuid", [uuid for group in self.gpus for uuid in group.uuids])
        if self.modbus_host not in LOOPBACK:
            raise ValueError(f"modbus_host {self.modbus_host}: must lie in {LOOPBACK}")
        if self.mqtt is not None and self.mqtt.host not in LOOPBACK:
            raise ValueError(f"mqtt.host {self.mqtt.host}: must lie in {LOOPBACK}")
        for pdu in self.pdus:
            if pdu.host not in LOOPBACK:
                raise ValueError(f"pdus: {pdu.id}: host {pdu.host} must lie in {LOOPBACK}")
        for server in self.modbus:
            if server.host not in LOOPBACK:
                raise ValueError(f"modbus: {server.id}: host {server.host} must lie in {LOOPBACK}")
        if self.topics and self.mqtt is None:
            raise ValueError("topics: there is no [mqtt] to publish to")
        self._check_signals()
        return self

    def _check_signals(self) -> None:
        meters, zones = {meter.id for meter in self.meters}, {zone.id for zone in self.zones}
        signals: list[Quantity] = [
            *self.topics,
            *(cell for server in self.modbus for cell in server.registers),
        ]
        for signal in signals:
            if signal.meter is not None and signal.meter not in meters:
                raise ValueError(f"meter {signal.meter!r} does not exist")
            if signal.zone is not None and signal.zone not in zones:
                raise ValueError(f"zone {signal.zone!r} does not exist")

    def _check_tree(self) -> None:
        seen: set[str] = set()
        for node in self.nodes:
            if (node.parent is None) == bool(seen):
                raise ValueError(f"nodes: {node.id}: exactly the first node has no parent")
            if node.parent is not None and node.parent not in seen:
                raise ValueError(f"nodes: {node.id}: parent {node.parent!r} is not declared before it")
            seen.add(node.id)

    def _check_places(self) -> None:
        nodes = {node.id for node in self.nodes}
        zones = {zone.id for zone in self.zones}
        for meter in self.meters:
            if meter.node not in nodes:
                raise ValueError(f"meters: {meter.id}: node {meter.node!r} does not exist")
        groups: tuple[MinerGroup | GpuGroup, ...] = (*self.miners, *self.gpus)
        for group in groups:
            if group.node not in nodes:
                raise ValueError(f"{group.name}: node {group.node!r} does not exist")
            if group.zone is not None and group.zone not in zones:
                raise ValueError(f"{group.name}: zone {group.zone!r} does not exist")
        devices = {device for group in groups for device in group.ids}
        for pdu in self.pdus:
            if strangers := sorted(set(pdu.outlets.values()) - devices):
                raise ValueError(f"pdus: {pdu.id}: outlets: {strangers[0]!r} does not exist")

    def _ids(self) -> Iterator[str]:
        parts: tuple[NodeConfig | ZoneConfig | MeterConfig | PduConfig, ...] = (
            *self.nodes,
            *self.zones,
            *self.meters,
            *self.pdus,
        )
        groups: tuple[MinerGroup | GpuGroup, ...] = (*self.miners, *self.gpus)
        for part in parts:
            yield part.id
        for group in groups:
            yield from group.ids


def load_plant(path: Path) -> PlantConfig:
    try:
        return PlantConfig.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlantFileError(f"{path}: {error}") from error
    except ValidationError as error:
        raise PlantFileError("\n".join(f"{path}: {line}" for line in _lines(error))) from error


def _lines(error: ValidationError) -> Iterator[str]:
    for problem in error.errors():
        key = ".".join(map(str, problem["loc"]))
        message = problem["msg"].removeprefix("Value error, ")
        simple = isinstance(problem["input"], str | int | float | bool)
        yield f"{key} = {problem['input']!r}: {message}" if simple else f"{key}: {message}".lstrip(": ")


def _check_unique(what: str, values: Iterable[str]) -> None:
    twice = [value for value, times in Counter(values).items() if times > 1]
    if twice:
        raise ValueError(f"{what} {twice[0]!r} is used twice")
