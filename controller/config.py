"""The site file: read once, checked whole, turned into the frozen objects of the domain.

Unknown keys are refused and numbers are checked against each other, so that what starts is what was meant.
Values come from the file, then from the environment (`WATTSHIFT_GRID__HOST`), then from the secrets
directory (a file `grid__password`); later ones win.
"""

from __future__ import annotations

import os
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from controller.domain.devices import DeviceSpec
from controller.domain.power import NO_LIMIT, ZERO, Bound, Limit, Power
from controller.domain.site import Node, Policy, Prices, Site, Zone
from controller.run.gridsession import GridConfig
from controller.run.logs import LogFormat
from drivers import registry
from drivers.registry import DeviceTables


class ConfigError(Exception):
    """The site file cannot be used. Each line names a key, its value and what is wrong with it."""


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class NodeTable(Table):
    id: str = Field(min_length=1)
    parent: str | None = None
    limit_kw: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    fixed_kw: float = Field(default=0, ge=0, allow_inf_nan=False)
    meter: str | None = None

    def node(self) -> Node:
        return Node(
            id=self.id,
            parent=self.parent,
            limit=_bound(self.limit_kw),
            fixed=Power.up(self.fixed_kw * 1000) if self.fixed_kw else ZERO,
            meter=self.meter,
        )


class ZoneTable(Table):
    id: str = Field(min_length=1)
    derate_c: float = Field(gt=-50, lt=150)
    trip_c: float = Field(gt=-50, lt=150)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.derate_c >= self.trip_c:
            raise ValueError(f"derate_c {self.derate_c} must lie below trip_c {self.trip_c}")
        return self


class PolicyTable(Table):
    tick_s: float = Field(default=1.0, ge=0.1, le=60)
    margin_percent: float = Field(default=1.0, ge=0, lt=50)
    event_lead_s: float = Field(default=20.0, ge=0, le=3600)
    ramp_up_kw_per_s: float | None = Field(default=None, gt=0)
    starts_per_tick: int = Field(default=1000, ge=1)
    meter_stale_after_s: float = Field(default=5.0, gt=0)
    start_grace_s: float = Field(default=20.0, ge=0)
    link_lost_limit_kw: float | None = Field(default=None, ge=0)
    network_fault_percent: float = Field(default=30.0, gt=0, le=100)
    switch_horizon_s: float = Field(default=900.0, gt=0)
    retry_s: float = Field(default=20.0, gt=0)

    @model_validator(mode="after")
    def _meter_outlives_ticks(self) -> Self:
        if self.meter_stale_after_s < 3 * self.tick_s:
            raise ValueError(f"meter_stale_after_s {self.meter_stale_after_s} is less than 3 ticks")
        return self

    def policy(self) -> Policy:
        return Policy(
            tick_s=self.tick_s,
            margin=self.margin_percent / 100,
            event_lead_s=self.event_lead_s,
            ramp_up_per_s=_bound(self.ramp_up_kw_per_s),
            starts_per_tick=self.starts_per_tick,
            meter_stale_after_s=self.meter_stale_after_s,
            start_grace_s=self.start_grace_s,
            link_lost_limit=_bound(self.link_lost_limit_kw),
            network_fault_share=self.network_fault_percent / 100,
            switch_horizon_s=self.switch_horizon_s,
            retry_s=self.retry_s,
        )


class PricesTable(Table):
    hash_usd_per_ths_day: float = Field(default=0.05, ge=0, allow_inf_nan=False)
    energy_usd_per_kwh: float = Field(default=0.05, allow_inf_nan=False)


class JournalTable(Table):
    path: Path = Path("/var/lib/wattshift/journal.db")
    keep_days: float = Field(default=400.0, gt=0)


class ApiTable(Table):
    host: str = "127.0.0.1"
    port: int = Field(default=9480, ge=0, le=65535)


class LogTable(Table):
    format: LogFormat = LogFormat.CONSOLE
    level: str = Field(default="info", pattern="^(debug|info|warning|error)$")


class SimulationTable(Table):
    """For simulated sites: TCP ports that nobody may listen on without privilege, and their stand-ins."""

    ports: dict[int, int] = Field(default_factory=dict)


class Settings(BaseSettings, DeviceTables):
    """A whole site file."""

    model_config = SettingsConfigDict(
        extra="forbid", frozen=True, env_prefix="WATTSHIFT_", env_nested_delimiter="__"
    )

    name: str = Field(min_length=1)
    nodes: tuple[NodeTable, ...] = Field(min_length=1)
    zones: tuple[ZoneTable, ...] = ()
    policy: PolicyTable = PolicyTable()
    prices: PricesTable = PricesTable()
    journal: JournalTable = JournalTable()
    api: ApiTable = ApiTable()
    log: LogTable = LogTable()
    grid: GridConfig | None = None
    simulation: SimulationTable = SimulationTable()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[Any, ...]:
        """Secrets over environment over file (which arrives as the initial values)."""
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if directory is None:
            return env_settings, init_settings
        secrets = NestedSecretsSettingsSource(
            file_secret_settings, secrets_dir=directory, secrets_nested_delimiter="__", secrets_prefix=""
        )
        return secrets, env_settings, init_settings

    def site(self) -> Site:
        return Site(
            name=self.name,
            nodes=tuple(node.node() for node in self.nodes),
            zones=tuple(Zone(id=z.id, derate_c=z.derate_c, trip_c=z.trip_c) for z in self.zones),
            policy=self.policy.policy(),
            prices=Prices(
                usd_per_ths_day=self.prices.hash_usd_per_ths_day, usd_per_kwh=self.prices.energy_usd_per_kwh
            ),
        )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = [*_tree_problems(self.nodes), *_reference_problems(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def load(path: Path) -> Settings:
    """Read and check a site file; raises `ConfigError` with one line per problem."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    try:
        return Settings(**table)
    except ValidationError as error:
        raise ConfigError("\n".join(f"{path}: {line}" for line in _lines(error))) from error


def spec_problems(settings: Settings, specs: Iterable[DeviceSpec]) -> list[str]:
    """What can only be seen once every device has its spec: places, speeds, and floors that cannot fit."""
    problems = []
    tick_s = settings.policy.tick_s
    zones = {zone.id for zone in settings.zones}
    nodes = {node.id for node in settings.nodes}
    for spec in specs:
        if spec.node not in nodes:
            problems.append(f"{spec.id}: node {spec.node!r} is not declared")
        if spec.zone is not None and spec.zone not in zones:
            problems.append(f"{spec.id}: zone {spec.zone!r} is not declared")
        if spec.stale_after_s < 3 * tick_s:
            problems.append(
                f"{spec.id}: stale_after_s {spec.stale_after_s} is less than 3 ticks of {tick_s} s"
            )
    return problems


def _tree_problems(nodes: tuple[NodeTable, ...]) -> Iterator[str]:
    known: dict[str, NodeTable] = {}
    for at, node in enumerate(nodes):
        if node.id in known:
            yield f"nodes.{at}.id {node.id!r} is declared twice"
        if (at == 0) != (node.parent is None):
            yield f"nodes.{at}.parent {node.parent!r}: only the first node, the site, has no parent"
        elif node.parent is not None and node.parent not in known:
            yield f"nodes.{at}.parent {node.parent!r} is not declared before {node.id!r}"
        elif node.parent is not None and node.limit_kw is not None:
            above = _rating_above(known, node.parent)
            if above is not None and node.limit_kw > above:
                yield f"nodes.{at}.limit_kw {node.limit_kw} of {node.id!r} is above the {above} kW over it"
        known[node.id] = node
    for node in nodes:
        fixed = sum(child.fixed_kw for child in nodes if _is_below(known, child, node.id))
        if node.limit_kw is not None and fixed > node.limit_kw:
            yield f"nodes {node.id!r}: limit_kw {node.limit_kw} is less than its fixed load of {fixed} kW"


def _rating_above(known: dict[str, NodeTable], parent: str | None) -> float | None:
    ratings = []
    while parent is not None and parent in known:
        if (limit_kw := known[parent].limit_kw) is not None:
            ratings.append(limit_kw)
        parent = known[parent].parent
    return min(ratings, default=None)


def _is_below(known: dict[str, NodeTable], node: NodeTable, top: str) -> bool:
    at: str | None = node.id
    for _ in known:
        if at == top:
            return True
        at = known[at].parent if at in known else None
    return False


def _reference_problems(settings: Settings) -> Iterator[str]:
    """Meters that nodes name must exist, and nothing may be declared twice."""
    meters = registry.declared_meters(settings)
    for node in settings.nodes:
        if node.meter is not None and node.meter not in meters:
            yield f"nodes {node.id!r}: meter {node.meter!r} is not declared"
    for name, count in Counter(registry.declared_names(settings)).items():
        if count > 1:
            yield f"{name} is declared {count} times"


def _lines(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False):
        key = ".".join(str(part) for part in problem["loc"])
        given = problem.get("input")
        shown = "" if isinstance(given, dict | BaseModel) else f" (got {given!r})"
        yield f"{key}: {problem['msg']}{shown}" if key else str(problem["msg"]).removeprefix("Value error, ")


def _bound(kilowatts: float | None) -> Bound:
    return NO_LIMIT if kilowatts is None else Limit(Power.kw(kilowatts))
