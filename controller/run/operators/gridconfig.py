"""The tables of a site file that name grid operators: where they are, how they speak, what they may do."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from controller.domain.grid import ALL_RIGHTS, COMMANDS, Alert, Right
from controller.domain.power import Power
from controller.domain.site import LinkLost
from controller.grid.basepoint import STREAM_PRIORITY
from controller.grid.dialects import DialectName
from controller.grid.dsxstatus import MAX_FEEDS
from controller.grid.signatures import PrivateKey, PublicKey, Signer, private_key, public_key
from controller.run.operators.kilowatts import Kilowatts
from drivers.hostname import Host
from drivers.mqttconnection import FIRST_DELAY_S

MAX_FILE_BYTES = 64 * 1024
RESERVED_IDS = frozenset({"grid", "own", "event", "snapshot"})
"""What the journal calls other things by."""

Word = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,128}$")]
Tag = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,64}$")]
Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", max_length=200)]
Level = Annotated[int, Field(ge=1, le=3)]
Offset = Annotated[int, Field(ge=-10, le=10)]


class FeedTable(BaseModel):
    """A power feed by the operator's name for it; without `node` it is the whole site."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    tag: Tag
    node: str = ""
    minimum_kw: Kilowatts = 0.0
    maximum_kw: Kilowatts
    default_kw: Kilowatts | None = None
    link_lost_limit_kw: Kilowatts | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        default_kw = self.maximum_kw if self.default_kw is None else self.default_kw
        if not self.minimum_kw <= default_kw <= self.maximum_kw:
            raise ValueError(f"feed {self.tag}: minimum_kw <= default_kw <= maximum_kw is needed")
        return self


class GridConfig(BaseModel):
    """The `[grid]` table of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    host: Host
    port: Annotated[int, Field(ge=1, le=65535)] = 1883
    ven: Word
    client_id: Word
    dialect: DialectName = DialectName.OPENADR
    rights: frozenset[Right] = ALL_RIGHTS
    names: tuple[Word, ...] = ()
    prefix: Annotated[str, Field(pattern=r"^([A-Za-z0-9_.-]+/)*$", max_length=200)] = ""
    username: str | None = None
    password: SecretStr | None = None
    password_file: Path | None = None
    tls: bool = False
    tls_ca: Path | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    keepalive_s: Annotated[int, Field(ge=2, le=60)] = 5
    reconnect_max_s: Annotated[float, Field(ge=FIRST_DELAY_S, le=60)] = 5.0
    heartbeat_timeout_s: Annotated[float, Field(ge=1, le=3600)] = 15.0
    heartbeat_s: Annotated[float, Field(ge=0.5, le=3600)] = 2.0
    snapshot_max_age_s: Annotated[float, Field(ge=1, le=3600)] = 90.0
    report_period_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    telemetry_backlog: Annotated[int, Field(ge=1, le=100_000)] = 3600
    ramp_deadline_s: dict[Word, Annotated[float, Field(ge=0, le=86_400)]] = {}

    # what its contract limits, and where, while it is not heard
    link_lost_limit_kw: Kilowatts | None = None
    link_lost_node: str = ""

    # what is followed, and what stands for a limit
    relative_setpoints: bool = True
    levels_kw: dict[Level, Kilowatts] = {}
    offsets_kw: dict[Offset, Kilowatts] = {}
    instructions_kw: dict[Annotated[str, Field(min_length=1, max_length=128)], Kilowatts] = {}
    alerts_kw: dict[Alert, Kilowatts] = {}

    # what the site's performance is measured by
    baseline: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")] | None = None
    firm_service_level_kw: Kilowatts | None = None

    # signatures, end to end
    signed_by: dict[Annotated[str, Field(min_length=1, max_length=128)], Path] = {}
    signature_max_age_s: Annotated[float, Field(ge=1, le=86_400)] = 3600.0
    signing_key: Path | None = None
    signing_key_id: Word | None = None

    # dsx-flex
    isv: Word | None = None
    feeds: Annotated[tuple[FeedTable, ...], Field(max_length=MAX_FEEDS)] = ()
    infra: Word | None = None
    infra_signed_by: dict[Annotated[str, Field(min_length=1, max_length=128)], Path] = {}
    signatures_dated: bool = True
    feed_deadline_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    breach_percent: Annotated[float, Field(ge=0, le=100)] = 2.0
    breach_actions: tuple[
        Annotated[str, Field(pattern="^(SHUTDOWN_NODES|SHUTDOWN_RACKS|CUT_DATA_FEEDS|TRIP_BREAKERS)$")], ...
    ] = ()

    # zero-hundred and base-point
    topic_in: Topic | None = None
    second_host: Host | None = None
    second_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    off_kw: Kilowatts | None = None
    stale_s: Annotated[float, Field(ge=1, le=86_400)] = 240.0
    valid_s: Annotated[float, Field(ge=1, le=86_400)] = 600.0
    silent_kw: Kilowatts | None = None
    target_deadline_s: Annotated[float, Field(ge=0, le=86_400)] = 60.0
    priority: Annotated[int, Field(ge=0, le=999_999)] = STREAM_PRIORITY

    @model_validator(mode="after")
    def _belongs_together(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together")
        if not self.tls and (self.tls_ca or self.tls_cert):
            raise ValueError("tls_ca and tls_cert need tls = true")
        if self.password is not None and self.password_file is not None:
            raise ValueError("password and password_file: one of them")
        if self.username is None and (self.password or self.password_file):
            raise ValueError("password needs a username")
        if self.infra_signed_by and self.infra is None:
            raise ValueError("infra_signed_by needs infra")
        if (self.signing_key is None) != (self.signing_key_id is None):
            raise ValueError("signing_key and signing_key_id go together")
        if self.link_lost_node and self.link_lost_limit_kw is None:
            raise ValueError("link_lost_node needs link_lost_limit_kw")
        return self

    @model_validator(mode="after")
    def _dialect_has_what_it_needs(self) -> Self:
        match self.dialect:
            case DialectName.DSX_FLEX if self.isv is None or not self.feeds:
                raise ValueError("dialect dsx-flex needs isv and feeds")
            case DialectName.ZERO_HUNDRED if self.topic_in is None or self.off_kw is None:
                raise ValueError("dialect zero-hundred needs topic_in and off_kw")
            case DialectName.BASE_POINT if self.topic_in is None:
                raise ValueError("dialect base-point needs topic_in")
        if self.second_host is not None and self.dialect is not DialectName.ZERO_HUNDRED:
            raise ValueError(f"second_host: dialect {self.dialect} has one broker")
        if self.second_host == self.host:
            raise ValueError("second_host: another host than host is needed")
        missing = sorted(_NEEDED[self.dialect] - self.rights)
        if self.dialect is DialectName.BASE_POINT and self.silent_kw is not None:
            missing += sorted({Right.LIMIT} - self.rights)
        if missing:
            raise ValueError(f"dialect {self.dialect} needs the right to {', '.join(missing)}")
        if self.contracts() and not self.rights & COMMANDS:
            raise ValueError("link_lost_limit_kw: an operator that may neither limit nor steer is not missed")
        if len({feed.tag for feed in self.feeds}) != len(self.feeds):
            raise ValueError("feeds: a tag is declared twice")
        return self

    @property
    def name(self) -> str:
        """What its events and its link are told by; the first operator there was has none."""
        return ""

    def contracts(self) -> tuple[LinkLost, ...]:
        """What holds at its places while it is not heard; none where the site's common limit does."""
        places = [(self.link_lost_node, self.link_lost_limit_kw)]
        places += [(feed.node, feed.link_lost_limit_kw) for feed in self.feeds]
        return tuple(
            LinkLost(operator=self.name, limit=Power.kw(kw), node=node)
            for node, kw in places
            if kw is not None
        )

    def brokers(self) -> tuple[Self, ...]:
        """This operator by each of its brokers. Of two the lower address comes first (names after addresses):
        that is the one that counts, by the custom of those who publish to both."""
        if self.second_host is None:
            return (self,)
        port = self.port if self.second_port is None else self.second_port
        other = self.model_copy(update={"host": self.second_host, "port": port})
        return (self, other) if _place(self.host) <= _place(self.second_host) else (other, self)

    def topic(self, name: str) -> str:
        return f"{self.prefix}{name}"

    def secret(self) -> str | None:
        """The password for the broker, read anew for each connection; `ValueError` names the file."""
        if self.password is not None:
            return self.password.get_secret_value()
        if self.password_file is None:
            return None
        return _read(self.password_file).decode("utf-8", errors="replace").strip()


class OperatorConfig(GridConfig):
    """One of the `[[operators]]`: like `[grid]`, with a name. Its events are told apart by it."""

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]

    @property
    def name(self) -> str:
        return self.id

    @field_validator("id")
    @classmethod
    def _is_free(cls, name: str) -> str:
        if name in RESERVED_IDS:
            raise ValueError(f"the names {', '.join(sorted(RESERVED_IDS))} are taken")
        return name


_NEEDED: dict[DialectName, frozenset[Right]] = {
    DialectName.OPENADR: frozenset(),
    DialectName.DSX_FLEX: frozenset({Right.LIMIT}),
    DialectName.ZERO_HUNDRED: frozenset({Right.LIMIT}),
    DialectName.BASE_POINT: frozenset({Right.TARGET}),
}


def tls_context(config: GridConfig) -> ssl.SSLContext | None:
    """The TLS settings of `config`, read from disk once; `ValueError` names the file that cannot be used."""
    if not config.tls:
        return None
    try:
        context = ssl.create_default_context(cafile=config.tls_ca)
        if config.tls_cert is not None:
            context.load_cert_chain(config.tls_cert, config.tls_key)
    except OSError as error:
        raise ValueError(f"tls_ca={config.tls_ca} tls_cert={config.tls_cert}: {error}") from None
    return context


def trusted_keys(files: Mapping[str, Path], table: str = "signed_by") -> dict[str, PublicKey]:
    """The keys of a sender by id; `ValueError` names the file that cannot be used."""
    keys: dict[str, PublicKey] = {}
    for key_id, path in files.items():
        try:
            keys[key_id] = public_key(_read(path))
        except ValueError as error:
            raise ValueError(f"{table}.{key_id}={path}: {error}") from None
    return keys


def own_signer(config: GridConfig) -> Signer | None:
    if config.signing_key is None or config.signing_key_id is None:
        return None
    try:
        key: PrivateKey = private_key(_read(config.signing_key))
    except ValueError as error:
        raise ValueError(f"signing_key={config.signing_key}: {error}") from None
    return Signer(key=key, key_id=config.signing_key_id)


def _place(host: str) -> tuple[bool, int, str]:
    try:
        address = ip_address(host)
    except ValueError:
        return True, 0, host
    return False, int(address), host


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise ValueError(f"{path}: {error}") from None
