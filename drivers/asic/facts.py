"""What a machine says of itself to someone who meets it for the first time: one reader per firmware.

A reader only reads. What the machine did not tell is None and never a guess, what kept it from telling is a
doubt, and an answer that does not prove the firmware is a `DriverError`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

from drivers.asic.adapter import mac_address, number
from drivers.asic.antminer import (
    DEFAULT_PASSWORD,
    DEFAULT_USERNAME,
    HTTP_PORT,
    LOW_MODE,
    SLEEP_MODE,
    path,
)
from drivers.asic.antminer_conf import mode_of
from drivers.asic.cgminer import Reply, Rpc, ask, part
from drivers.asic.config import Login, Logins
from drivers.asic.digest import UNAUTHORIZED, DigestClient
from drivers.asic.http1 import is_whole_response, parse_response
from drivers.asic.luxos import rate_ths
from drivers.asic.trouble import as_driver_error
from drivers.asic.whatsminer import speaks_v3
from drivers.asic.wire import exchange
from drivers.base import DriverError

EXCHANGE_S = 5.0
MAX_TEXT = 80

OTHER_FIRMWARE = ("LUXMINER", "BOSER", "BOSMINER", "VNISH", "HIVEON", "KAONSU")

_MAC = re.compile(r"(?!00:00:00:00:00:00)[0-9A-F]{2}(:[0-9A-F]{2}){5}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`model` and `firmware` are in the machine's own words. The rating is what it would do at full power.

    `doubts` are the errors for which something is missing.
    """

    model: str | None = None
    firmware: str | None = None
    mac: str | None = None
    rate_ths: float | None = None
    draw_w: int | None = None
    rated_ths: float | None = None
    rated_w: int | None = None
    doubts: tuple[DriverError, ...] = ()


Reader = Callable[[str, Logins], Awaitable[Facts]]


async def luxos(host: str, _logins: Logins) -> Facts:
    rpc = Rpc(host, deadline_s=EXCHANGE_S)
    with as_driver_error():
        version = (await ask(rpc, "version"))["VERSION"][0]
        proved = Facts(model=told(version.get("Type")), firmware=f"LuxOS {told(version['LUXminer'])}")

    async def more() -> Facts:
        return _luxos_facts(proved, await ask(rpc, "config+power+profiles+stats"))

    return await _with(proved, more)


def _luxos_facts(known: Facts, joined: Reply) -> Facts:
    config = part(joined, "config")["CONFIG"][0]
    stats = part(joined, "stats")["STATS"]
    # The step counts from the profile that the machine has by itself.
    factory = [p for p in part(joined, "profiles")["PROFILES"] if str(p.get("Step")) == "0"]
    rating = factory[0] if len(factory) == 1 else {}
    return replace(
        known,
        mac=told_mac(config.get("MACAddr")),
        rate_ths=rate_ths(stats[1]) if len(stats) > 1 else None,
        draw_w=_whole(part(joined, "power")["POWER"][0].get("Watts")),
        rated_ths=_positive(rating.get("Hashrate")),
        rated_w=_whole(rating.get("Watts")),
    )


async def whatsminer(host: str, _logins: Logins) -> Facts:
    """API v2. A machine that is switched off may refuse all but its firmware and its MAC."""
    rpc = Rpc(host, deadline_s=EXCHANGE_S)
    with as_driver_error():
        version = told((await ask(rpc, "get_version"))["Msg"]["fw_ver"])
        if speaks_v3(version or ""):
            raise DriverError(f"Whatsminer firmware {version} speaks API v3, not v2")
        info = (await ask(rpc, "get_miner_info"))["Msg"]
        proved = Facts(firmware=f"Whatsminer {version}", mac=told_mac(info.get("mac")))

    async def more() -> Facts:
        details = (await ask(rpc, "devdetails"))["DEVDETAILS"][0]
        return _whatsminer_facts(proved, details, (await ask(rpc, "summary"))["SUMMARY"][0])

    return await _with(proved, more)


def _whatsminer_facts(known: Facts, details: Reply, summary: Reply) -> Facts:
    rate_mhs, factory_ghs = number(summary.get("MHS 1m")), _positive(summary.get("Factory GHS"))
    return replace(
        known,
        model=told(details.get("Model")),
        rate_ths=None if rate_mhs is None else rate_mhs / 1e6,
        draw_w=_whole(summary.get("Power")),
        rated_ths=None if factory_ghs is None else factory_ghs / 1000,
    )


async def antminer(host: str, logins: Logins) -> Facts:
    """Stock firmware. One with another password still tells its model on the port that asks for none."""
    login = logins.get("antminer", Login())
    password = login.password.get_secret_value() if login.password else DEFAULT_PASSWORD
    http = DigestClient(host, HTTP_PORT, login.username or DEFAULT_USERNAME, password)

    async def get(name: str) -> Any:
        return await http.get(path(name), deadline_s=EXCHANGE_S)

    try:
        with as_driver_error():
            system = _stock(await get("get_system_info"))
            proved = Facts(model=told(system["minertype"]), mac=told_mac(system["macaddr"]))
    except DriverError as error:
        if not await _asks_for_bitmain_password(host):
            raise
        version = _stock(await _version(host))
        return Facts(model=told(version.get("Type")), firmware=_bitmain(version), doubts=(error,))

    async def more() -> Facts:
        return _antminer_facts(proved, await get("stats"), await get("get_miner_conf"))

    return await _with(proved, more)


def _antminer_facts(known: Facts, stats: Reply, conf: Reply) -> Facts:
    # Asleep, and for a while after, there is no record.
    record = stats["STATS"][0] if stats["STATS"] else {}
    in_ghs = record.get("rate_unit") == "GH/s"
    rate, ideal = number(record.get("rate_5s")), _positive(record.get("rate_ideal"))
    full = mode_of(conf) not in (SLEEP_MODE, LOW_MODE)
    return replace(
        known,
        firmware=_bitmain(stats["INFO"]),
        rate_ths=rate / 1000 if in_ghs and rate is not None else None,
        draw_w=_whole(record.get("watt")),  # firmware of 2026; older builds tell no watts
        rated_ths=ideal / 1000 if in_ghs and full and ideal is not None else None,
    )


def _stock(record: Reply) -> Reply:
    """Several firmwares for the same machines keep the maker's pages or words, and add their own."""
    text = json.dumps(record).upper()
    if foreign := [name for name in OTHER_FIRMWARE if name in text]:
        raise DriverError(f"no stock firmware, for it says {foreign[0]}")
    return record


async def _asks_for_bitmain_password(host: str) -> bool:
    request = f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode()
    with as_driver_error():
        raw = await exchange(host, HTTP_PORT, request, deadline_s=EXCHANGE_S, is_whole=is_whole_response)
        response = parse_response(raw)
        challenge = response.getheader("WWW-Authenticate") or ""
        return response.status == UNAUTHORIZED and 'realm="antMiner' in challenge


def _bitmain(info: Reply) -> str | None:
    built = told(info.get("CompileTime"))
    return f"Bitmain {built}" if built else None


async def told_type(host: str) -> str | None:
    """The model of a machine that nobody here knows better, from what nearly all answer to `version`."""
    try:
        version = await _version(host)
    except DriverError:
        return None
    return told(version.get("Type")) or told(version.get("PROD"))


async def _version(host: str) -> Reply:
    with as_driver_error():
        version = (await ask(Rpc(host, deadline_s=EXCHANGE_S), "version"))["VERSION"][0]
        if not isinstance(version, dict):
            raise DriverError("version: no record")
        return version


async def _with(proved: Facts, more: Callable[[], Awaitable[Facts]]) -> Facts:
    """Who it is counts even where it does not tell the rest."""
    try:
        with as_driver_error():
            return await more()
    except DriverError as error:
        return replace(proved, doubts=(error,))


def told(value: object) -> str | None:
    """A line of text that can be printed and kept, whatever a machine sent."""
    if not isinstance(value, str):
        return None
    return "".join(char for char in value if char.isprintable()).strip(" '\"")[:MAX_TEXT] or None


def told_mac(value: object) -> str | None:
    """A MAC address that can tell two machines apart."""
    mac = mac_address(value)
    return mac if mac is not None and _MAC.fullmatch(mac) else None


def _positive(value: object) -> float | None:
    found = number(value)
    return found if found is not None and found > 0 else None


def _whole(value: object) -> int | None:
    """Watts; some firmware says -1 for those it does not know."""
    found = number(value)
    return round(found) if found is not None and found >= 0 else None
