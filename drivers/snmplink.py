"""SNMP requests over UDP with pysnmp: get and set of whole numbers, v2c and v3, which is all an outlet needs.

Nothing is taken that was not asked for, nothing is waited for longer than its agent's time, and no failure of
pysnmp goes further than here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pyasn1.type.univ import Integer
from pysnmp.error import PySnmpError
from pysnmp.hlapi.v3arch.asyncio import (
    USM_AUTH_HMAC96_SHA,
    USM_AUTH_HMAC192_SHA256,
    USM_AUTH_HMAC384_SHA512,
    USM_PRIV_CFB128_AES,
    USM_PRIV_CFB256_AES,
    CommunityData,
    ContextData,
    SnmpEngine,
    UdpTransportTarget,
    UsmUserData,
    get_cmd,
    set_cmd,
)
from pysnmp.proto.rfc1902 import Integer32, Null, ObjectName

from drivers.base import DriverError
from drivers.pdumodels import PduConfig

TRIES = 2
FORGOTTEN_AFTER = 3
"""An agent that was silent for so many times as long as a request may take may be another one by now."""
AUTH = {"sha": USM_AUTH_HMAC96_SHA, "sha256": USM_AUTH_HMAC192_SHA256, "sha512": USM_AUTH_HMAC384_SHA512}
PRIVACY = {"aes128": USM_PRIV_CFB128_AES, "aes256": USM_PRIV_CFB256_AES}


class SnmpRefusedError(DriverError):
    """The agent answered, and the answer is no."""


@dataclass(frozen=True, slots=True)
class Agent:
    """Where an agent listens, and how long one request to it may take."""

    host: str
    port: int
    timeout_s: float

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class SnmpLink:
    """All agents that know one login: pysnmp keeps a user's keys once per engine. Made when first needed."""

    def __init__(self, config: PduConfig) -> None:
        self._login = _login(config)
        self._engine: SnmpEngine | None = None
        self._made_s = 0.0
        self._silent_s: dict[Agent, float] = {}
        self._targets: dict[Agent, UdpTransportTarget] = {}

    async def get(self, agent: Agent, oids: Sequence[str]) -> dict[str, int]:
        """The whole numbers among `oids`: what an agent has not, or has as something else, is left out."""
        binds = await self._ask(get_cmd, agent, [(ObjectName(oid), Null("")) for oid in oids])
        answers = {str(name): int(value) for name, value in binds if isinstance(value, Integer)}
        return {oid: answers[oid] for oid in oids if oid in answers}

    async def set(self, agent: Agent, oid: str, value: int) -> None:
        """Sent twice where no answer comes: only for what may be done twice."""
        await self._ask(set_cmd, agent, [(ObjectName(oid), Integer32(value))])

    def close(self) -> None:
        engine, self._engine = self._engine, None
        if engine is not None:
            engine.close_dispatcher()

    async def _ask(self, command: Any, agent: Agent, binds: Sequence[tuple[Any, Any]]) -> Sequence[Any]:
        now_s = asyncio.get_running_loop().time()
        if self._engine is None:
            self._engine, self._made_s = SnmpEngine(), now_s
        trouble: Any = None
        status: Any = 0
        at, answered, heard = 0, (), False
        try:
            async with asyncio.timeout(agent.timeout_s):
                target = await self._target(agent)
                trouble, status, at, answered = await command(
                    self._engine, self._login, target, ContextData(), *binds, lookupMib=False
                )
            heard = not trouble
        except TimeoutError:
            trouble = f"no answer within {agent.timeout_s} s"
        except PySnmpError as error:
            trouble = str(error)
        finally:  # also where a poll of many requests ran out of time
            self._note(agent, now_s, heard=heard)
        if trouble:
            raise DriverError(f"{agent}: {trouble}")
        if status:
            where = f" at {binds[int(at) - 1][0]}" if 0 < int(at) <= len(binds) else ""
            raise SnmpRefusedError(f"{agent}: {status.prettyPrint()}{where}")
        return list(answered)

    def _note(self, agent: Agent, now_s: float, *, heard: bool) -> None:
        """The name of a silent one may have another address by now. And in its silence begin anew with all,
        ever less often: for minutes pysnmp asks for the agent that it knew at an address, and one that was
        put in its place, or that was somebody else while it booted, does not answer to that."""
        if heard:
            self._silent_s.pop(agent, None)
            return
        self._targets.pop(agent, None)
        since_s = self._silent_s.setdefault(agent, now_s)
        begun_s = max(0.0, self._made_s - since_s)  # so long into its silence
        if now_s - since_s > max(FORGOTTEN_AFTER * agent.timeout_s, 2 * begun_s):
            self.close()

    async def _target(self, agent: Agent) -> UdpTransportTarget:
        if agent not in self._targets:
            self._targets[agent] = await UdpTransportTarget.create(
                (agent.host, agent.port), timeout=agent.timeout_s / TRIES, retries=TRIES - 1
            )
        return self._targets[agent]


def _login(config: PduConfig) -> CommunityData | UsmUserData:
    if config.community is not None:
        return CommunityData(config.community.get_secret_value(), mpModel=1)
    assert config.auth_password is not None
    assert config.privacy_password is not None
    return UsmUserData(
        config.username,
        config.auth_password.get_secret_value(),
        config.privacy_password.get_secret_value(),
        authProtocol=AUTH[config.auth],
        privProtocol=PRIVACY[config.privacy],
    )
