"""The process that is killed: link and journal as they are in the daemon, and a loop that obeys."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from controller.domain.grid import EventStatus
from controller.domain.power import Power
from controller.grid.site import Progress, SiteReport
from controller.run import logs
from controller.run.journal.journal import Journal
from controller.run.logs import LogFormat
from controller.run.operators.gridconfig import GridConfig
from controller.run.operators.gridlink import GridLink

VEN = "site-tx1"
TICK_S = 0.02


def site(directory: str, port: int) -> None:
    asyncio.run(_site(Path(directory), port))


async def _site(directory: Path, port: int) -> None:
    logs.configure(LogFormat.JSON, "error")
    journal = Journal(directory / "journal.db", 400, time.time)
    await journal.open()
    config = GridConfig(host="127.0.0.1", port=port, ven=VEN, client_id="ctl")
    link = GridLink(config, journal, nameplate=Power.kw(1000), utc=time.time, wake=lambda: None)
    await link.restore()
    executed = os.open(directory / "executed.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    async with asyncio.TaskGroup() as group:
        group.create_task(journal.run())
        group.create_task(link.run())
        while True:
            now_utc_s = time.time()
            progress = []
            for event in link.events:
                if event.start_utc_s <= now_utc_s:
                    os.write(executed, f"{now_utc_s:.6f} {event.end_utc_s:.6f} {event.id}\n".encode())
                    version_utc_s = event.version_utc_s
                    progress.append(
                        Progress(event=event.id, version_utc_s=version_utc_s, status=EventStatus.COMPLIANT)
                    )
            link.observe(SiteReport(now_utc_s=now_utc_s, demand=Power(1), progress=tuple(progress)))
            (directory / "in_force.tmp").write_text(json.dumps([event.id for event in link.events]))
            (directory / "in_force.tmp").replace(directory / "in_force.json")
            await asyncio.sleep(TICK_S)
