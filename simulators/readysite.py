"""The site file that leads to a simulated site: the given one with other addresses, folders and passwords."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import groupby
from pathlib import Path
from typing import Any

from simulators.config import PlantConfig

SNMP_PASSWORD = "simulated"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the simulated site's messages go."""

    host: str
    port: int


class ReadySite:
    """The site file, changed only where it leads to a machine, a file or a secret."""

    def __init__(
        self, table: Json, plant: PlantConfig, *, directory: Path, broker: Broker | None, library: Path | None
    ) -> None:
        self._table = copy.deepcopy(table)
        self._plant = plant
        self._directory = directory
        self._broker = broker
        self._library = library

    def site(self) -> Json:
        table, plant = self._table, self._plant
        for group, miners in zip(table.get("miners", []), plant.miners, strict=True):
            group["hosts"] = list(_ranges([IPv4Address(address) for address in miners.addresses]))
            if "state_dir" in group:
                group["state_dir"] = str(self._directory / "miners")
        for endpoint, server in zip(table.get("modbus", []), plant.modbus, strict=True):
            endpoint |= {"host": str(server.host), "port": server.port}
        for pdu, agent in zip(table.get("pdus", []), plant.pdus, strict=True):
            self._lead_to_agent(pdu, str(agent.host), agent.port, agent.user, agent.community)
        for host in table.get("gpu_hosts", []):
            host["library"] = str(self._library)
        for broker in table.get("mqtt_meters", []):
            self._lead_to_broker(broker)
        if "grid" in table:
            self._lead_to_broker(table["grid"])
        for queue in table.get("queues", []):
            queue["directory"] = str(self._directory / "queue")
        table["journal"] = table.get("journal", {}) | {"path": str(self._directory / "journal.db")}
        if "archive" in table["journal"]:
            table["journal"]["archive"] = str(self._directory / "archive")
        table["simulation"] = {"ports": {str(port): to for port, to in plant.ports.items()}}
        return table

    def _lead_to_broker(self, client: Json) -> None:
        assert self._broker is not None
        for key in ("username", "password", "tls", "tls_ca", "tls_cert", "tls_key"):
            client.pop(key, None)
        client |= {"host": self._broker.host, "port": self._broker.port}

    def _lead_to_agent(self, pdu: Json, host: str, port: int, user: str, community: str) -> None:
        """With the simulated agent's own credentials: what was in the file belongs to a real one."""
        pdu |= {"host": host, "port": port}
        if pdu.get("version", "3") == "2c":
            pdu["community"] = community
            return
        pdu |= {"username": user, "auth": "sha", "auth_password": SNMP_PASSWORD}
        pdu |= {"privacy": "aes128", "privacy_password": SNMP_PASSWORD}


def _ranges(addresses: list[IPv4Address]) -> Iterator[str]:
    """Consecutive addresses as ranges that stay within their last number: 127.64.0.1-254."""
    for _, same in groupby(addresses, key=lambda address: int(address) >> 8):
        block = list(same)
        last = int(block[-1]) & 0xFF
        yield str(block[0]) if len(block) == 1 else f"{block[0]}-{last}"
