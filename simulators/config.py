"""The plant file: what a simulated site consists of, read once from TOML and checked whole.

Unknown keys are errors, and every error names the key and the value it is about.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from simulators.physics.faults import BadFaultError, GpuFaults, MinerFaults, set_fault
from simulators.signals import MeterMap as MeterMap
from simulators.signals import ModbusServerConfig, Quantity, Table, TopicConfig

LOOPBACK = IPv4Network("127.0.0.0/8")

ANTMINER_MODES = {"low": 0.7, "normal": 1.0}
AVALON_LEVELS = {"low": 0.6, "mid": 0.8, "high": 1.0}
PROFILES = {f"{65 * tenths}MHz": tenths / 10 for tenths in range(5, 11)}
"""Operating points of a group that lists none, as shares of its rated power."""

Watts = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Celsius = Annotated[float, Field(gt=-60, lt=150)]
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9._-]+$")]
Port = Annotated[int, Field(ge=1, le=65_535)]
Unit = Annotated[int, Field(ge=1, le=247)]


class PlantFileError(ValueError):
    """The plant file cannot be used; the message names each key and value at fault."""


class Family(StrEnum):
    LUXOS = "luxos"
    WHATSMINER = "whatsminer"
    ANTMINER = "antminer"
    WHATSMINER_V3 = "whatsminer-v3"
    AVALON = "avalon"
    VNISH = "vnish"
    AURADINE = "auradine"
    AXEOS = "axeos"
    MARAFW = "marafw"
    BRAIINS = "braiins"
    EPIC = "epic"


SHARES = {Family.ANTMINER: ANTMINER_MODES, Family.AVALON: AVALON_LEVELS}


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


class FaultConfig(Table):
    """`fault` of the machine number `index` of its group, from the start."""

    index: Annotated[int, Field(ge=0)]
    fault: str
    value: bool | float = True


class PointConfig(Table):
    """One operating point of a miner: a LuxOS profile, an Antminer mode, a corner of a Whatsminer's curve."""

    name: Name
    power_w: Positive
    ths: Positive


class MinerGroup(Table):
    """`count` equal miners on consecutive loopback addresses, named `<name>-000` and up.

    `mode_key` is the key by which a stock Antminer's firmware takes its mode. `process_down_when_stopped`
    makes a stopped Whatsminer refuse `summary` and `devs`, as some of its firmware does. Without `legacy_api`
    a Whatsminer of API v3 answers on TCP 4433 alone. `clock_s` is the Unix time at which a machine's clock
    stood when the plant began: some have never been told the time and begin at 0. Without `power_tune` an
    ePIC takes targets in TH/s only, as its older firmware does.
    """

    name: Name
    family: Family
    model: str
    count: Annotated[int, Field(ge=1, le=50_000)] = 1
    first_address: IPv4Address
    node: str
    zone: str | None = None
    rated_w: Positive
    rated_ths: Positive
    standby_w: Watts = 25.0
    idle_w: Watts | None = None
    min_w: Positive | None = None
    points: tuple[PointConfig, ...] = ()
    wake_s: Annotated[float, Field(ge=0, le=1800)] = 20.0
    hash_lag_s: Positive = 8.0
    reboot_s: Positive = 25.0
    bias: Annotated[float, Field(ge=0, le=0.5)] = 0.03
    chip_rise_c: Positive = 45.0
    trip_c: Celsius = 95.0
    password: str | None = None
    mode_key: Literal["both", "miner-mode", "bitmain-work-mode"] = "both"
    process_down_when_stopped: bool = False
    legacy_api: bool = True
    power_tune: bool = True
    clock_s: Annotated[int, Field(ge=0, lt=1 << 32)] = 1_790_000_000
    faults: tuple[FaultConfig, ...] = ()

    @property
    def idle_power_w(self) -> float:
        return 0.12 * self.rated_w if self.idle_w is None else self.idle_w

    def device_id(self, index: int) -> str:
        return f"{self.name}-{index:03d}"

    @property
    def ids(self) -> list[str]:
        return [self.device_id(index) for index in range(self.count)]

    @property
    def addresses(self) -> list[str]:
        return [str(self.first_address + index) for index in range(self.count)]

    @property
    def operating_points(self) -> tuple[PointConfig, ...]:
        """The configured points, or a ladder where halving the power leaves 57 % of the work."""
        if self.points:
            return tuple(sorted(self.points, key=lambda point: point.power_w))
        shares = SHARES.get(self.family, PROFILES)
        return tuple(
            PointConfig(name=name, power_w=self.rated_w * share, ths=self.rated_ths * share**0.8)
            for name, share in shares.items()
        )

    @property
    def lowest_limit_w(self) -> float:
        return self.operating_points[0].power_w if self.min_w is None else self.min_w

    @model_validator(mode="after")
    def _check(self) -> Self:
        last = int(self.first_address) + self.count - 1
        if self.first_address not in LOOPBACK or last > int(LOOPBACK.broadcast_address):
            raise ValueError(f"first_address {self.first_address}: all {self.count} must lie in {LOOPBACK}")
        if any(point.power_w > self.rated_w for point in self.points):
            raise ValueError(f"points: none may lie above rated_w {self.rated_w}")
        names = {point.name for point in self.points}
        if self.family is Family.ANTMINER and names not in (set(), {"low", "normal"}):
            raise ValueError("points: an antminer has exactly the points 'low' and 'normal'")
        if self.family is Family.AVALON and names not in (set(), set(AVALON_LEVELS)):
            raise ValueError("points: an avalon has exactly the points 'low', 'mid' and 'high'")
        _check_faults(self.faults, self.count, MinerFaults)
        return self


class GpuGroup(Table):
    """GPUs of one kind, named `<name>-000` and up, or `<name>-gpu0` and up as a site file's are.

    `performance` maps cap/default to throughput.
    """

    name: Name
    numbered: Literal["padded", "gpu"] = "padded"
    model: str
    uuids: Annotated[tuple[str, ...], Field(min_length=1)]
    node: str
    zone: str | None = None
    min_w: Positive
    max_w: Positive
    default_w: Positive | None = None
    idle_w: Watts
    rise_c: Positive = 50.0
    slowdown_c: Celsius = 87.0
    tells_margin: bool = True
    performance: tuple[tuple[float, float], ...] = (
        # LLM pre-training on an A100 of 400 W (arXiv 2507.00909): cap over default, throughput
        (0.0, 0.0), (0.25, 0.186), (0.5, 0.629), (0.625, 0.784), (0.75, 0.867), (0.875, 0.923), (1.0, 1.0),
    )  # fmt: skip
    faults: tuple[FaultConfig, ...] = ()

    def device_id(self, index: int) -> str:
        return f"{self.name}-gpu{index}" if self.numbered == "gpu" else f"{self.name}-{index:03d}"

    @property
    def ids(self) -> list[str]:
        return [self.device_id(index) for index in range(len(self.uuids))]

    @property
    def default_limit_w(self) -> float:
        return self.max_w if self.default_w is None else self.default_w

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.idle_w <= self.min_w <= self.default_limit_w <= self.max_w:
            raise ValueError("idle_w <= min_w <= default_w <= max_w does not hold")
        if list(self.performance) != sorted(self.performance):
            raise ValueError("performance must ascend in both columns")
        _check_faults(self.faults, len(self.uuids), GpuFaults)
        return self


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


def _check_faults(
    faults: tuple[FaultConfig, ...], count: int, kind: type[MinerFaults] | type[GpuFaults]
) -> None:
    for fault in faults:
        if fault.index >= count:
            raise ValueError(f"faults: index {fault.index}: the group has only {count}")
        try:
            set_fault(kind(), fault.fault, fault.value)
        except BadFaultError as error:
            raise ValueError(f"faults: {error}") from error
