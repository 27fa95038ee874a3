"""The site file's tables of the service itself: what it writes down, where it answers, what it logs."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from controller.run.logs import LogFormat


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class JournalTable(Table):
    path: Path = Path("/var/lib/wattshift/journal.db")
    keep_days: float = Field(default=400.0, gt=0)
    usage_keep_days: float = Field(default=400.0, gt=0)
    events_keep_days: float = Field(default=3650.0, gt=0)
    archive: Path | None = None
    record: bool = True
    record_keep_days: float = Field(default=7.0, gt=0, le=400)
    record_max_mb: float = Field(default=2000.0, gt=0, le=1_000_000)

    @model_validator(mode="after")
    def _is_a_file_that_knows_the_events_of_its_days(self) -> Self:
        """A day whose event is forgotten would be a like day of a baseline, curtailed as it was."""
        if self.events_keep_days < self.usage_keep_days:
            told = f"events_keep_days {self.events_keep_days:g} is less than"
            raise ValueError(f"{told} usage_keep_days {self.usage_keep_days:g}: baselines need both")
        if not self.path.name:
            raise ValueError(f"path {str(self.path)!r} is no file")
        return self


class ApiTable(Table):
    host: str = Field(default="127.0.0.1", min_length=1)
    port: int = Field(default=9480, ge=0, le=65535)
    dcgm_names: bool = False


class LogTable(Table):
    format: LogFormat = LogFormat.CONSOLE
    level: str = Field(default="info", pattern="^(debug|info|warning|error)$")


class SimulationTable(Table):
    """For simulated sites: TCP ports that nobody may listen on without privilege, and their stand-ins."""

    ports: dict[int, int] = Field(default_factory=dict)
