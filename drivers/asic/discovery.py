"""Who is out there: every address of a range knocked at, and whoever answers asked who it is.

Everything ends: each address has its time, and the number of machines in conversation at once is bounded,
for pyasic misses healthy machines when the loop is busy.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import warnings
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from errno import ECONNREFUSED, EHOSTUNREACH
from typing import TypeVar

from drivers.asic.config import Logins, expand
from drivers.asic.recognise import Machine, recognise
from drivers.asic.trouble import is_silence
from drivers.base import DriverError

PORTS = (80, 443, 4028, 4433)
"""Where pyasic looks for miners. Who answers at none of them would not be found."""

NO_ANSWER = "no answer"
ABSENCE = {NO_ANSWER, *(os.strerror(number).lower() for number in (ECONNREFUSED, EHOSTUNREACH))}
"""What says that nobody is there. Any other error may be trouble of our own."""

PROBES_AT_ONCE = 100
PROBE_S = 2.0
"""Time enough for one lost packet: the kernel sends the first again after 1 s."""

SLOW_FACTOR = 2
"""How much more time the slow ones get, asked again when all others are done."""

MAX_ADDRESSES = 65_536

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """Somebody accepts connections on `ports`, but who it is could not be established."""

    address: str
    ports: tuple[int, ...]
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Absent:
    address: str
    why: str


Finding = Machine | Unknown | Absent


class Stage(StrEnum):
    PROBING = "probing addresses"
    ASKING = "asking who they are"
    ASKING_AGAIN = "asking the slow ones again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    stage: Stage
    done: int
    total: int


async def scan(
    addresses: Sequence[str],
    *,
    at_once: int,
    timeout_s: float,
    logins: Logins | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
) -> tuple[Finding, ...]:
    """One finding per address, in their order. `timeout_s` is one machine's time, at most `at_once` talk."""

    async def meet(probe: _Probe) -> Finding:
        return await _meet(probe, timeout_s, logins or {})

    async def meet_again(probe: _Probe) -> Finding:
        return await _meet(probe, timeout_s * SLOW_FACTOR, logins or {})

    with warnings.catch_warnings():
        # pyasic's request to report new models to its authors; here it is a finding like any other.
        warnings.filterwarnings("ignore", message="Partially supported miner found")
        probes = await _each(addresses, _probe, PROBES_AT_ONCE, Stage.PROBING, progress)
        present = [probe for probe in probes if probe.ports]
        findings: dict[str, Finding] = {probe.address: _nobody(probe) for probe in probes}
        met = await _each(present, meet, at_once, Stage.ASKING, progress)
        findings |= {finding.address: finding for finding in met}
        slow = [probe for probe in present if _deserves_more_time(findings[probe.address])]
        for second in await _each(slow, meet_again, at_once, Stage.ASKING_AGAIN, progress):
            if isinstance(second, Machine) or isinstance(findings[second.address], Unknown):
                findings[second.address] = second
    return tuple(findings[address] for address in addresses)


def addresses_of(ranges: Iterable[str]) -> tuple[str, ...]:
    """Every address of networks (10.20.0.0/22), ranges (10.20.0.5-9) and addresses, each once, ascending."""
    wanted: set[ipaddress.IPv4Address] = set()
    for text in ranges:
        try:
            network = ipaddress.IPv4Network(text, strict=False) if "/" in text else None
        except ValueError as error:
            raise ValueError(f"{text}: {error}") from None
        if network is not None and network.num_addresses > MAX_ADDRESSES:
            raise ValueError(f"{text} has {network.num_addresses} addresses; {MAX_ADDRESSES} at most")
        wanted |= set(network.hosts() if network else map(ipaddress.IPv4Address, expand(text)))
    if len(wanted) > MAX_ADDRESSES:
        raise ValueError(f"{len(wanted)} addresses are more than {MAX_ADDRESSES}")
    return tuple(map(str, sorted(wanted)))


async def _each(
    items: Sequence[Item],
    work: Callable[[Item], Awaitable[Result]],
    at_once: int,
    stage: Stage,
    progress: Callable[[Progress], None],
) -> list[Result]:
    """`work` on every item, `at_once` at a time; the results in the order of the items."""
    results: dict[int, Result] = {}
    waiting = iter(enumerate(items))

    async def take_turns() -> None:
        for index, item in waiting:
            results[index] = await work(item)
            progress(Progress(stage=stage, done=len(results), total=len(items)))

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(items))):
            group.create_task(take_turns())
    return [results[index] for index in range(len(items))]


def _deserves_more_time(finding: Finding) -> bool:
    match finding:
        case Machine():
            return any(is_silence(doubt) for doubt in finding.facts.doubts)
        case Unknown():
            return True
        case Absent():
            return False


# -- knocking -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Probe:
    """`why` says why ports are shut; `absent` that this is all because nobody is there."""

    address: str
    ports: tuple[int, ...]
    why: str
    absent: bool


async def _probe(address: str) -> _Probe:
    answers = await asyncio.gather(*(_knock(address, port) for port in PORTS))
    why = {answer for answer in answers if answer is not None}
    return _Probe(
        address=address,
        ports=tuple(port for port, answer in zip(PORTS, answers, strict=True) if answer is None),
        why=", ".join(sorted(why - ABSENCE or why)),
        absent=why <= ABSENCE,
    )


def _nobody(probe: _Probe) -> Absent | Unknown:
    if probe.absent:
        return Absent(address=probe.address, why=probe.why)
    return Unknown(address=probe.address, ports=(), why=f"could not be reached: {probe.why}")


async def _knock(address: str, port: int) -> str | None:
    """None from an open port, else why it is not."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(PROBE_S):
            transport, _ = await loop.create_connection(asyncio.Protocol, address, port)
    except TimeoutError:
        return NO_ANSWER
    except OSError as error:
        return os.strerror(error.errno).lower() if error.errno else str(error)
    transport.abort()
    return None


# -- asking ---------------------------------------------------------------------------------------------


async def _meet(probe: _Probe, timeout_s: float, logins: Logins) -> Machine | Unknown:
    try:
        async with asyncio.timeout(timeout_s):
            return await recognise(probe.address, logins)
    except TimeoutError:
        why = f"accepts connections, but did not say who it is within {timeout_s:g} s"
    except DriverError as error:
        why = str(error)
    return Unknown(address=probe.address, ports=probe.ports, why=why)
