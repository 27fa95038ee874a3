"""Independent clients in an environment of their own, against simulated machines on their true ports.

Imports nothing of the project. Reads from the file that it is told where the machines are, prints a line for
each, and exits with 1 where a client did not see what the plant really did.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyasic_rs
import whatsminer

SETTLE_S = 20.0
AWAKE_SHARE = 0.5

STILL_MINING = {"luxos", "avalon"}
"""Families of which the library says "mining" whatever they were told: a gap of its own, known."""

NO_STOP = {"axeos"}
NO_WATTS = {"antminer"}
NOT_RECOGNISED = {"braiins"}
"""It knows Braiins OS+ by its GraphQL and REST interfaces; ours has the gRPC of 23.03 and later."""

Truth = Callable[[], dict[str, Any]]


async def main(where: Path) -> int:
    def truth() -> dict[str, Any]:
        return dict(json.loads(where.read_text("utf-8")))

    results = []
    for family, address in truth()["addresses"].items():
        try:
            said, fine = await through_pyasic_rs(family, address, truth)
        except RuntimeError as error:
            said, fine = str(error), False
        print(f"{'ok  ' if fine else 'FAIL'}  pyasic-rs   {family:14} {said}", flush=True)
        results.append(fine)
    said, fine = through_whatsminer(truth()["addresses"]["whatsminer"], truth)
    print(f"{'ok  ' if fine else 'FAIL'}  whatsminer  {'whatsminer':14} {said}")
    return 0 if all([*results, fine]) else 1


async def through_pyasic_rs(family: str, address: str, truth: Truth) -> tuple[str, bool]:
    miner = await pyasic_rs.MinerFactory().with_connectivity_timeout_secs(5).get_miner(address)
    if miner is None:
        return "not recognised", family in NOT_RECOGNISED
    data = await miner.get_data()
    full_w = truth()["watts"][family]
    tells_watts = family in NO_WATTS or 0.9 * full_w <= (data.wattage or 0) <= 1.1 * full_w
    reads = tells_watts and data.hashrate is not None
    if family in NO_STOP:
        return f"{miner}: reads", reads and not miner.supports_pause
    await miner.pause()
    stops = await until(lambda: truth()["watts"][family] < AWAKE_SHARE * full_w)
    sees = not (await miner.get_data()).is_mining
    await miner.resume()
    wakes = await until(lambda: truth()["watts"][family] > AWAKE_SHARE * full_w)
    words = {"reads": reads, "stops": stops, "wakes": wakes}
    if family not in STILL_MINING:
        words["sees the stop"] = sees
    told_words = ", ".join(word if fine else f"NOT {word}" for word, fine in words.items())
    return f"{miner}: {told_words}", all(words.values())


async def until(holds: Callable[[], bool]) -> bool:
    for _ in range(round(SETTLE_S / 0.1)):
        if holds():
            return True
        await asyncio.sleep(0.1)
    return False


def through_whatsminer(address: str, truth: Truth) -> tuple[str, bool]:
    """A strict reader of JSON, with a cipher of its own."""
    api, token = whatsminer.WhatsminerAPI, whatsminer.WhatsminerAccessToken(address, admin_password="admin")
    summary = api.get_read_only_info(token, "summary")
    api.exec_command(token, "power_off", additional_params={"respbefore": "true"})
    for _ in range(round(SETTLE_S / 0.1)):
        if truth()["watts"]["whatsminer"] < AWAKE_SHARE * summary["SUMMARY"][0]["Power"]:
            return "reads, stops", True
        time.sleep(0.1)
    return "reads, does NOT stop", False


if __name__ == "__main__":
    sys.exit(asyncio.run(main(Path(sys.argv[1]))))
