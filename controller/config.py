"""The site file: read once, checked whole, turned into the frozen objects of the domain.

Unknown keys are refused and numbers are checked against each other, so that what starts is what was meant.
Values come from the file, then from the environment (`WATTSHIFT_GRID__HOST`), then from the secrets
directory (`credentials.py`); later ones win.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from controller import credentials
from controller.complaints import IN_PLAIN_WORDS, complaints, not_toml
from controller.consistency import problems
from controller.domain.prices import Ladder
from controller.domain.site import LinkLost, Mode, Policy, Site
from controller.environment import JOINT, misnamed
from controller.nodetable import NodeTable, ZoneTable, bound
from controller.pricetable import PricesTable, ProfitTable
from controller.run.operators.gridconfig import GridConfig, OperatorConfig
from controller.run.operators.kilowatts import Kilowatts
from controller.run.operators.triggerconfig import ControlTable, TriggersTable
from controller.servicetable import ApiTable, JournalTable, LogTable, SimulationTable, Table
from controller.settlementtable import SettlementTable
from drivers import registry
from drivers.registry import DeviceTables, Fleet
from drivers.switching import Cuts

PREFIX = "WATTSHIFT_"
"""What the names of variables that set a value begin with."""

CREDENTIALS_DIRECTORY = "CREDENTIALS_DIRECTORY"
"""The variable in which systemd names the directory of the service's secrets."""


class ConfigError(Exception):
    """The site file cannot be used. Each line names a key, its value and what is wrong with it."""


class ControllerTable(Table):
    mode: Mode = Mode.CONTROL


class PolicyTable(Table):
    tick_s: float = Field(default=1.0, ge=0.1, le=60)
    margin_percent: float = Field(default=1.0, ge=0, lt=50)
    step_margin_percent: float = Field(default=8.0, ge=0, lt=50)
    event_lead_s: float = Field(default=20.0, ge=0, le=3600)
    starts_per_tick: int = Field(default=1000, ge=1)
    meter_stale_after_s: float = Field(default=5.0, gt=0)
    start_grace_s: float = Field(default=20.0, ge=0)
    link_lost_limit_kw: Kilowatts | None = None
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
            step_margin=self.step_margin_percent / 100,
            event_lead_s=self.event_lead_s,
            starts_per_tick=self.starts_per_tick,
            meter_stale_after_s=self.meter_stale_after_s,
            start_grace_s=self.start_grace_s,
            link_lost_limit=bound(self.link_lost_limit_kw),
            network_fault_share=self.network_fault_percent / 100,
            switch_horizon_s=self.switch_horizon_s,
            retry_s=self.retry_s,
        )


class Settings(BaseSettings, DeviceTables):
    """A whole site file."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter=JOINT,
        hide_input_in_errors=True,
    )

    name: str = Field(min_length=1)
    nodes: tuple[NodeTable, ...] = Field(min_length=1)
    zones: tuple[ZoneTable, ...] = ()
    controller: ControllerTable = ControllerTable()
    policy: PolicyTable = PolicyTable()
    prices: PricesTable = PricesTable()
    profit: ProfitTable = ProfitTable()
    journal: JournalTable = JournalTable()
    api: ApiTable = ApiTable()
    log: LogTable = LogTable()
    grid: GridConfig | None = None
    operators: tuple[OperatorConfig, ...] = ()
    control: ControlTable | None = None
    triggers: TriggersTable | None = None
    settlement: SettlementTable = SettlementTable()
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
        """Environment over file (which arrives as the initial values); credentials are put over both."""
        return env_settings, init_settings

    @model_validator(mode="before")
    @classmethod
    def _with_credentials(cls, tables: Any) -> Any:
        directory = os.environ.get(CREDENTIALS_DIRECTORY)
        if directory is None or not isinstance(tables, dict):
            return tables
        found = credentials.read(Path(directory))
        return credentials.placed(tables, found, known=cls.model_fields)

    def site(self) -> Site:
        return Site(
            name=self.name,
            nodes=tuple(node.node() for node in self.nodes),
            zones=tuple(table.zone() for table in self.zones),
            policy=replace(
                self.policy.policy(),
                mode=self.controller.mode,
                profit=self.profit.thresholds(),
                link_lost=tuple(self._contracts()),
            ),
            prices=self.prices.constants(),
        )

    def only_observed(self) -> Settings:
        """The same site, of which nothing is commanded."""
        return self.model_copy(update={"controller": ControllerTable(mode=Mode.OBSERVE)})

    def _contracts(self) -> Iterator[LinkLost]:
        for table in (*([self.grid] if self.grid is not None else []), *self.operators):
            yield from table.contracts()

    def ladders(self) -> tuple[Ladder, ...]:
        """Every price, and where it is taken from."""
        return self.prices.ladders(registry.rungs(self, self.prices.prefer))

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if found := problems(self):
            raise ValueError("\n".join(found))
        return self


def load(path: Path) -> Settings:
    """Read and check a site file; raises `ConfigError` with one line per problem."""
    text = ""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows put a mark in front
        table = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(f"{path}: not saved as UTF-8: {error} (at line {line})") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not TOML: {not_toml(error, text)}") from error
    for key in table:
        if key.startswith("_"):  # to pydantic-settings these are parameters of its own
            raise ConfigError(f"{path}: {key}: {IN_PLAIN_WORDS['extra_forbidden']}")
    if strangers := tuple(misnamed(os.environ, Settings, PREFIX)):  # pydantic-settings passes over them
        raise ConfigError("\n".join(strangers))
    try:
        return Settings(**table)
    except ValidationError as error:
        lines = complaints(error, table, _secret_places(), Settings)
        raise ConfigError("\n".join(f"{path}: {line}" for line in lines)) from error
    except (SettingsError, OSError, UnicodeDecodeError) as error:
        secrets = os.environ.get(CREDENTIALS_DIRECTORY)
        raise ConfigError(f"environment, or secrets in {secrets}: {error}") from error


def fleet(settings: Settings, cuts: Cuts | None = None) -> Fleet:
    """Everything the site file names, ready to be driven; `cuts` is who switched its outlets off."""
    try:
        return registry.build(settings, cuts)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _secret_places() -> frozenset[str]:
    """Keys whose values came from the secrets directory."""
    directory = os.environ.get(CREDENTIALS_DIRECTORY)
    return frozenset() if directory is None else credentials.places(Path(directory))
