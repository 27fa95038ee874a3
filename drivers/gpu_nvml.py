"""What the controller says to NVML: one session, its boards, and the few functions it uses of them.

All of it blocks, and may hang: it runs in a thread of its own (`GpuHost`). Nothing else touches `pynvml`.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TypeVar

import pynvml

from controller.domain.power import Power
from drivers.base import DriverError

Answer = TypeVar("Answer")

LIBRARY = "libnvidia-ml.so.1"
INIT_PAUSE_S = (1.0, 60.0)
"""Between two attempts to initialise NVML: the first pause, doubled until the last."""

UNINITIALIZED = 1
ABSENT = {3, 4, 13}
"""Not supported by this board, not permitted, not known to this driver: the capability is not there."""
ADVICE = {
    9: "is the Nvidia kernel driver loaded?",
    12: "install the Nvidia driver, or say where its library is",
    15: "it needs a reset or a reboot of its host",
    16: "it needs a reset",
    18: "the driver was replaced while this process ran: restart the process",
}
VALUE_TYPES = ("dVal", "uiVal", "ulVal", "ullVal", "sllVal", "siVal", "usVal")
"""Members of the union that a field value comes in, by the type the driver states; it varies by driver."""

POWER_INSTANT, MEMORY_TEMPERATURE = 186, 82
PROCESSES_EVERY = 5
"""Reads per look at the process list, which costs the driver more than all the rest together."""
LIMITS_EVERY = 60


class GpuError(DriverError):
    """NVML answered with an error: `code` is its number."""

    def __init__(self, subject: str, function: str, code: int, text: str) -> None:
        advice = f"; {ADVICE[code]}" if code in ADVICE else ""
        super().__init__(f"{subject}: {function}: {text} (NVML error {code}){advice}")
        self.code = code


class Board:
    """One GPU as the worker thread sees it. What the board or its driver cannot do is asked for once only."""

    def __init__(self, uuid: str, handle: Any) -> None:
        self.uuid = uuid
        self._handle = handle
        self._absent: set[str] = set()
        self._asked: dict[str, int] = {}
        self._kept: dict[str, Any] = {}

    def call(self, function: str, *arguments: object) -> Any:
        return _call(f"GPU {self.uuid}", function, self._handle, *arguments)

    def ask(self, function: str, *arguments: object) -> Any:
        """The answer, or None where there is none to be had from this board."""
        if function in self._absent:
            return None
        try:
            return self.call(function, *arguments)
        except GpuError as error:
            if error.code not in ABSENT:
                raise
            self._absent.add(function)
            return None

    def ask_seldom(self, every: int, function: str) -> Any:
        """`ask`, but only each `every`-th time; the last answer in between."""
        asked = self._asked.get(function, 0)
        if asked % every == 0:
            self._kept[function] = self.ask(function)
        self._asked[function] = asked + 1
        return self._kept[function]

    def fields(self, ids: Sequence[int]) -> dict[int, float]:
        """The field values that the board has. The call succeeds as a whole even if each value failed."""
        values = self.ask("nvmlDeviceGetFieldValues", ids) or ()
        return {
            value.fieldId: getattr(value.value, VALUE_TYPES[value.valueType])
            for value in values
            if value.nvmlReturn == 0 and value.valueType < len(VALUE_TYPES)
        }


class Session:
    """NVML as one thread uses it: initialised once, handles looked up by UUID after that."""

    def __init__(self, library: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._library = library
        self._clock = clock
        self._ready = False
        self._boards: dict[str, Board] = {}
        self._pause_s = INIT_PAUSE_S[0]
        self._retry_at_s = 0.0
        self._init_failure = ""

    def on_board(self, uuid: str, work: Callable[[Board], Answer]) -> Answer:
        """What `work` answers. After an error the GPU is looked up again, and NVML initialised if need be."""
        self.init()
        try:
            board = self._boards.get(uuid)
            if board is None:
                handle = _call(f"GPU {uuid}", "nvmlDeviceGetHandleByUUID", uuid)
                board = self._boards[uuid] = Board(uuid, handle)
            return work(board)
        except GpuError as error:
            self._boards.pop(uuid, None)
            if error.code == UNINITIALIZED:
                self._ready = False
                self._boards.clear()
            raise

    def init(self) -> None:
        """Never shuts down and initialises in turn: that is how the driver is known to hang."""
        if self._ready:
            return
        if self._init_failure and self._clock() < self._retry_at_s:
            raise DriverError(self._init_failure)
        try:
            check_binding(pynvml)
            _load(self._library)
            _call(f"NVML ({self._library or LIBRARY})", "nvmlInit")
        except DriverError as error:
            self._init_failure = str(error)
            self._retry_at_s = self._clock() + self._pause_s
            self._pause_s = min(2 * self._pause_s, INIT_PAUSE_S[1])
            raise
        self._ready = True
        self._pause_s = INIT_PAUSE_S[0]
        self._init_failure = ""

    def boards(self) -> list[Board | GpuError]:
        """Every GPU of the host in the order of its index, which another boot may change."""
        self.init()
        found: list[Board | GpuError] = []
        for index in range(_call("NVML", "nvmlDeviceGetCount")):
            try:
                handle = _call(f"GPU with index {index}", "nvmlDeviceGetHandleByIndex", index)
                found.append(Board(_call(f"GPU with index {index}", "nvmlDeviceGetUUID", handle), handle))
            except GpuError as error:
                found.append(error)
        return found

    def end(self) -> None:
        if self._ready:
            self._ready = False
            _call("NVML", "nvmlShutdown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The range in which a board takes power limits, and the limit it starts with, in whole watts."""

    min_w: int
    max_w: int
    default_w: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a GPU answered, in NVML's units: None where the board or its driver does not tell."""

    power_mw: float | None
    enforced_mw: float | None
    core_c: float | None
    memory_c: float | None
    margin_c: float | None
    processes: int
    limits: Limits | None


def take_sample(board: Board) -> Sample:
    values = board.fields((POWER_INSTANT, MEMORY_TEMPERATURE))
    # The power usage is a mean over one second on most boards since Ampere: too slow to prove a limit with.
    power_mw = values.get(POWER_INSTANT)
    core_c = board.ask("nvmlDeviceGetTemperatureV", pynvml.NVML_TEMPERATURE_GPU)
    if core_c is None:  # drivers before 570
        core_c = board.ask("nvmlDeviceGetTemperature", pynvml.NVML_TEMPERATURE_GPU)
    return Sample(
        power_mw=board.ask("nvmlDeviceGetPowerUsage") if power_mw is None else power_mw,
        enforced_mw=limit_in_force(board),
        core_c=core_c,
        memory_c=values.get(MEMORY_TEMPERATURE),
        margin_c=board.ask("nvmlDeviceGetMarginTemperature"),
        processes=len(board.ask_seldom(PROCESSES_EVERY, "nvmlDeviceGetComputeRunningProcesses") or ()),
        limits=limits_of(board),
    )


def limits_of(board: Board) -> Limits | None:
    constraints = board.ask_seldom(LIMITS_EVERY, "nvmlDeviceGetPowerManagementLimitConstraints")
    default_mw = board.ask_seldom(LIMITS_EVERY, "nvmlDeviceGetPowerManagementDefaultLimit")
    if constraints is None or default_mw is None:
        return None
    min_mw, max_mw = constraints
    return Limits(
        min_w=Power.up(min_mw / 1000).watts,
        max_w=Power.down(max_mw / 1000).watts,
        default_w=Power.up(default_mw / 1000).watts,
    )


def limit_in_force(board: Board) -> float | None:
    """The enforced limit, which knows of caps from outside the driver; the requested one does not."""
    limit_mw: float | None = board.ask("nvmlDeviceGetEnforcedPowerLimit")
    return limit_mw


def set_limit(limit_mw: int, board: Board) -> float | None:
    """Set a limit and read back what is in force.

    The first version of the setter on purpose: the binding's wrapper of the second one drops the return
    code. Persistence mode keeps the driver, and with it the limit, alive when the last program closes.
    """
    board.call("nvmlDeviceSetPowerManagementLimit", limit_mw)
    if board.ask("nvmlDeviceGetPersistenceMode") == pynvml.NVML_FEATURE_DISABLED:
        board.ask("nvmlDeviceSetPersistenceMode", pynvml.NVML_FEATURE_ENABLED)
    return limit_in_force(board)


def check_binding(module: ModuleType) -> None:
    """The package `pynvml` up to version 11 puts an outdated module of that name over the real one."""
    if not hasattr(module, "_nvmlGetFunctionPointer"):
        raise DriverError(
            f"{module.__name__} is not the module of nvidia-ml-py: "
            "uninstall the package pynvml, then install nvidia-ml-py again"
        )


def _load(library: str | None) -> None:
    """Put `library` where the binding looks first. The binding has room for one in a process."""
    if library is None:
        return
    if pynvml.nvmlLib is not None:
        if (loaded := pynvml.nvmlLib._name) != library:
            raise DriverError(f"NVML library {library}: this process has loaded {loaded} already")
        return
    try:
        pynvml.nvmlLib = ctypes.CDLL(library)
    except OSError as error:
        raise DriverError(f"NVML library {library} cannot be loaded: {error}") from error
    pynvml._nvmlGetFunctionPointer_cache.clear()


def _call(subject: str, function: str, *arguments: object) -> Any:
    try:
        return getattr(pynvml, function)(*arguments)
    except pynvml.NVMLError as error:
        raise GpuError(subject, function, error.value, str(error)) from error
