"""Rack PDUs with an SNMP agent: their tables in a site file, and where each make keeps its values."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from drivers.hostname import Host


class Make(StrEnum):
    APC_RPDU2 = "apc-rpdu2"
    RARITAN_PX = "raritan-px"


@dataclass(frozen=True, slots=True, kw_only=True)
class PduModel:
    """Object identifiers, with `{n}` for the outlet, and what the values there mean.

    The `digits` hold how many decimal places the power beside them has; without them it has none.
    `total_w` is the worth of one count of the whole PDU's power.
    """

    switch: str
    switch_on: int
    switch_off: int
    state: str
    is_on: int
    is_off: int
    power: str
    power_digits: str | None = None
    total: str
    total_digits: str | None = None
    total_w: int = 1


_APC = "1.3.6.1.4.1.318.1.1.26"
_RARITAN = "1.3.6.1.4.1.13742.6"

MODELS: Mapping[Make, PduModel] = MappingProxyType(
    {
        # PowerNet-MIB: rPDU2OutletSwitchedControlCommand, rPDU2OutletSwitchedStatusState (which counts the
        # other way round), rPDU2OutletMeteredStatusPower in W, rPDU2DeviceStatusPower in hundredths of a kW.
        Make.APC_RPDU2: PduModel(
            switch=f"{_APC}.9.2.4.1.5.{{n}}",
            switch_on=1,
            switch_off=2,
            state=f"{_APC}.9.2.3.1.5.{{n}}",
            is_on=2,
            is_off=1,
            power=f"{_APC}.9.4.3.1.7.{{n}}",
            total=f"{_APC}.4.3.1.5.1",
            total_w=10,
        ),
        # PDU2-MIB, first PDU of its chain: switchingOperation, outletSwitchingState, and of the sensor type
        # activePower (5) measurementsOutletSensorValue with outletSensorDecimalDigits; likewise of inlet 1.
        Make.RARITAN_PX: PduModel(
            switch=f"{_RARITAN}.4.1.2.1.2.1.{{n}}",
            switch_on=1,
            switch_off=0,
            state=f"{_RARITAN}.4.1.2.1.3.1.{{n}}",
            is_on=7,
            is_off=8,
            power=f"{_RARITAN}.5.4.3.1.4.1.{{n}}.5",
            power_digits=f"{_RARITAN}.3.5.4.1.7.1.{{n}}.5",
            total=f"{_RARITAN}.5.2.3.1.4.1.1.5",
            total_digits=f"{_RARITAN}.3.3.4.1.7.1.1.5",
        ),
    }
)


class Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PduConfig(Table):
    """One PDU. `timeout_s` bounds a whole poll, and a switch. `meter` names its whole power for a node."""

    id: str = Field(min_length=1)
    host: Host
    port: int = Field(default=161, ge=1, le=65535)
    model: Make
    version: Literal["2c", "3"] = "3"
    community: SecretStr | None = None
    username: Annotated[str, Field(min_length=1, max_length=32)] | None = None
    auth: Literal["sha", "sha256", "sha512"] = "sha"
    auth_password: Annotated[SecretStr, Field(min_length=8)] | None = None
    privacy: Literal["aes128", "aes256"] = "aes128"
    privacy_password: Annotated[SecretStr, Field(min_length=8)] | None = None
    metered: bool = True
    outlet_max_w: float = Field(gt=0)
    meter: Annotated[str, Field(min_length=1)] | None = None
    max_w: float | None = Field(default=None, gt=0)
    poll_s: float = Field(default=5.0, gt=0)
    timeout_s: float = Field(default=3.0, gt=0)
    stale_after_s: float = Field(default=11.0, gt=0)

    @property
    def login(self) -> Hashable:
        """Equal for PDUs that one user knows with the same keys."""
        user = (self.username, self.auth, self.auth_password, self.privacy, self.privacy_password)
        return (self.version, self.community, *user)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        named = (self.username, self.auth_password, self.privacy_password)
        if self.version == "3" and None in named:
            raise ValueError(f"{self.id}: SNMP v3 needs username, auth_password and privacy_password")
        if self.version == "2c" and (self.community is None or named != (None, None, None)):
            raise ValueError(f"{self.id}: SNMP v2c needs a community and nothing else")
        if self.version == "3" and self.community is not None:
            raise ValueError(f"{self.id}: SNMP v3 has no community")
        if (self.meter is None) != (self.max_w is None):
            raise ValueError(f"{self.id}: meter and max_w come together or not at all")
        if self.timeout_s > self.poll_s:
            raise ValueError(f"{self.id}: timeout_s {self.timeout_s} is longer than poll_s {self.poll_s}")
        if self.stale_after_s < 2 * self.poll_s:
            raise ValueError(
                f"{self.id}: stale_after_s {self.stale_after_s} is under 2 polls of {self.poll_s} s"
            )
        return self


class OutletConfig(Table):
    """The outlet number `outlet` of `pdu` feeds `device` (a name, or an address), and nothing else; `meter`
    names it for a node."""

    device: str = Field(min_length=1)
    pdu: str = Field(min_length=1)
    outlet: int = Field(ge=1, le=256)
    meter: Annotated[str, Field(min_length=1)] | None = None
