"""Every simulated family before independent clients that cannot be led to other ports than the true ones.

    python -m tests.fidelity

Works in a throw-away environment (pyasic-rs, whatsminer) and in a network of its own, where port 80 takes no
privilege; where the kernel allows no such network, it says so and fails.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from simulators.config import PlantConfig
from simulators.plant import Plant
from simulators.serve import SimulatedSite
from tests.simulators.plants import MODELS, miners

PACKAGES = ("pyasic-rs==0.8.6", "whatsminer==0.1.2", "setuptools<80")
CLIENTS = Path(__file__).with_name("clients.py")
INSIDE = "--inside"
STEP_S = 0.2
LEAP_S = 5.0
UP = 'ip link set lo up && exec "$@"'


def main() -> int:
    if sys.argv[1:2] == [INSIDE]:
        return asyncio.run(play(sys.argv[2], Path(sys.argv[3])))
    with tempfile.TemporaryDirectory() as directory:
        environment = Path(directory) / "clients"
        python = str(environment / "bin" / "python")
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check"]
        subprocess.run([*pip, *PACKAGES], check=True)
        inside = [sys.executable, "-m", "tests.fidelity", INSIDE, python, directory]
        done = subprocess.run(["unshare", "-rn", "sh", "-c", UP, "sh", *inside], check=False)
    return done.returncode


async def play(python: str, directory: Path) -> int:
    """The site, faster than the clock, and the clients beside it."""
    site = SimulatedSite(Plant(plant_config()))
    where = directory / "site.json"
    async with site.serving():
        tell(site, where)
        clients = await asyncio.create_subprocess_exec(python, CLIENTS, where)
        try:
            while clients.returncode is None:
                await asyncio.sleep(STEP_S)
                await site.advance(LEAP_S)
                tell(site, where)
        finally:
            if clients.returncode is None:
                clients.kill()
        return await clients.wait()


def plant_config() -> PlantConfig:
    # An Avalon is told when to stop, by the client's clock.
    now_s = int(time.time())
    groups = [miners(family, at=number, clock_s=now_s) for number, family in enumerate(MODELS, start=1)]
    site = {"nodes": [{"id": "site"}], "modbus_port": 0, "ports": {}, "miners": groups}
    return PlantConfig.model_validate(site)


def tell(site: SimulatedSite, where: Path) -> None:
    """What the machines really draw, whole at any moment."""
    truths = site.plant.truth().miners
    told = {
        "addresses": {miner.group.family.value: miner.address for miner in site.plant.miners.values()},
        "watts": {miner.group.family.value: truths[name].watts for name, miner in site.plant.miners.items()},
    }
    new = where.with_suffix(".new")
    new.write_text(json.dumps(told), encoding="utf-8")
    new.replace(where)


if __name__ == "__main__":
    sys.exit(main())
