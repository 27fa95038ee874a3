"""The site file that leads to a simulated site: the given one with other addresses, folders and passwords."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from itertools import groupby
from pathlib import Path
from typing import Any

from simulators.config import PlantConfig

SNMP_PASSWORD = "simulated"

OF_THE_REAL_LINE = (
    *("second_host", "second_port", "username", "password", "password_file"),
    *("tls", "tls_ca", "tls_cert", "tls_key"),
    *("signed_by", "signing_key", "signing_key_id", "infra_signed_by"),
)
"""Whoever tries a site out must not speak to its operators in its name, nor with its keys."""

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where the simulated site's messages go."""

    host: str
    port: int


class ReadySite:
    """The site file, changed only where it leads to a machine, a file or a secret."""

    def __init__(
        self,
        table: Json,
        plant: PlantConfig,
        *,
        directory: Path,
        broker: Broker | None,
        library: Path | None,
        miners: Mapping[str, str],
    ) -> None:
        """`miners` are the names of those at the given file's addresses."""
        self._table = copy.deepcopy(table)
        self._plant = plant
        self._directory = directory
        self._broker = broker
        self._library = library
        self._miners = miners
        self._client_ids: set[str] = set()

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
        for outlet in table.get("outlets", []):
            outlet["device"] = self._miners.get(outlet["device"], outlet["device"])
        for host in table.get("gpu_hosts", []):
            host["library"] = str(self._library)
        if "grid" in table:
            self._lead_to_broker(table["grid"])
        for clients in ("operators", "mqtt_meters", "price_brokers"):
            for client in table.get(clients, []):
                self._lead_to_broker(client)
        if "control" in table:
            table["control"]["socket"] = str(self._directory / "control.sock")
        for queue in table.get("queues", []):
            queue["directory"] = str(self._directory / "queue")
        table["journal"] = table.get("journal", {}) | {"path": str(self._directory / "journal.db")}
        if "archive" in table["journal"]:
            table["journal"]["archive"] = str(self._directory / "archive")
        table["simulation"] = {"ports": {str(port): to for port, to in plant.ports.items()}}
        return table

    def _lead_to_broker(self, client: Json) -> None:
        assert self._broker is not None
        for key in OF_THE_REAL_LINE:
            client.pop(key, None)
        client |= {"host": self._broker.host, "port": self._broker.port}
        if "client_id" in client:  # what were several brokers is one now, where each name is there once
            if client["client_id"] in self._client_ids:
                client["client_id"] += f"-{client['id']}"
            self._client_ids.add(client["client_id"])

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
