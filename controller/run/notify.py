"""The service manager's notification socket (sd_notify(3)): ready, watchdog, stopping, one line of status."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notifier:
    """Sends to `address`; without one (not run by systemd) it says nothing. A process of which `watchdog_s`
    long no tick has finished is ended by the manager."""

    address: str = ""
    watchdog_s: float = math.inf

    @classmethod
    def from_environment(cls) -> Notifier:
        return cls(os.environ.get("NOTIFY_SOCKET", ""), _watchdog_s(os.environ))

    def ready(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def tick(self, status: str) -> None:
        """A finished tick feeds the watchdog, and nothing else does: a stuck loop is killed."""
        self._send(f"WATCHDOG=1\nSTATUS={status}")

    def _send(self, message: str) -> None:
        if not self.address:
            return
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(message.encode(), address)
        except OSError:
            # The manager is busy, gone, or speaks otherwise, or we have no file descriptor left. It will see
            # the missing watchdog itself.
            return


def _watchdog_s(environment: Mapping[str, str]) -> float:
    """By sd_watchdog_enabled(3): microseconds, and of which process. 0 is no watchdog."""
    told, whose = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID")
    if not (told.isascii() and told.isdecimal()) or whose not in (None, str(os.getpid())):
        return math.inf
    return int(told) / 1e6 or math.inf
