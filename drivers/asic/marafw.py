"""MaraFW's work mode, through pyasic's class: written only as part of the configuration it was read in.

pyasic's resume makes "Auto" of whatever the mode was, which is another power than before.
"""

from __future__ import annotations

from typing import Any

from drivers.asic.adapter import RefusedError
from drivers.asic.library import APIError

SLEEP_MODE = "Sleep"
AUTO_MODE = "Auto"
HISTORY = "log?type=miner_config_history"
MODE_PATH = ["mode", "workmodeselector"]


class MaraSwitch:
    """The switch of one machine. `miner` is pyasic's."""

    def __init__(self, miner: Any) -> None:
        self._web = miner.web
        self._work_mode: str | None = None

    async def asleep(self) -> bool:
        return self._mode_of(await self._web.get_miner_config()) == SLEEP_MODE

    async def put(self, *, asleep: bool) -> None:
        config = await self._web.get_miner_config()
        if not config.get("pools"):
            raise RefusedError("not written: the machine gave a configuration without a single pool")
        if (self._mode_of(config) == SLEEP_MODE) is asleep:
            return
        mode = SLEEP_MODE if asleep else self._work_mode or await self._mode_before_sleep()
        changed = config | {"mode": config["mode"] | {"work-mode-selector": mode}}
        reply = await self._web.set_miner_config(**changed)
        if reply.get("error"):
            raise RefusedError(f"miner_config: {reply.get('msg')}")

    def _mode_of(self, config: dict[str, Any]) -> str:
        mode = str(config["mode"]["work-mode-selector"])
        if mode != SLEEP_MODE:
            self._work_mode = mode
        return mode

    async def _mode_before_sleep(self) -> str:
        """Of a machine that slept when it was met, which its own history tells, where it keeps one."""
        try:
            history = await self._web.send_command(HISTORY)
        except APIError:
            return AUTO_MODE
        changes = [change for entry in history for changes in entry.values() for change in changes]
        for change in reversed(changes):
            path = [str(part).lower() for part in change.get("path", ())]
            if path == MODE_PATH and change.get("to") == SLEEP_MODE:
                return str(change["from"])
        return AUTO_MODE
