"""How the controller speaks to NVML: a session of one thread, and the boards it has found.

All of it blocks, and may hang: it runs in threads of its own (`gpu_host`). NVML counts how often it was
initialised and is safe to call from any thread, so each thread has a session to itself.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, ClassVar, TypeVar

import pynvml

from drivers.base import DriverError

Answer = TypeVar("Answer")

LIBRARY = "libnvidia-ml.so.1"
LOADING = threading.Lock()
INIT_PAUSE_S = (1.0, 60.0)
"""Between two attempts to initialise NVML: the first pause, doubled until the last."""

UNINITIALIZED, NOT_FOUND, TIMEOUT, GPU_IS_LOST, RESET_REQUIRED, GPU_NOT_FOUND = 1, 6, 10, 15, 16, 28
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
        self._absent: set[tuple[object, ...]] = set()
        self._asked: dict[str, int] = {}
        self._kept: dict[str, Any] = {}

    def call(self, function: str, *arguments: object) -> Any:
        return _call(f"GPU {self.uuid}", function, self._handle, *arguments)

    def ask(self, function: str, *arguments: object) -> Any:
        """The answer, or None where there is none to be had from this board."""
        asked = (function, *arguments)
        if asked in self._absent:
            return None
        try:
            return self.call(function, *arguments)
        except GpuError as error:
            if error.code not in ABSENT:
                raise
            self._absent.add(asked)
            return None

    def about_host(self, function: str) -> Any:
        """The answer to a question about the host that the board is in, or None."""
        try:
            return _call("NVML", function)
        except GpuError as error:
            if error.code not in ABSENT:
                raise
            return None

    def seldom(self, every: int, key: str, look: Callable[[], Answer]) -> Answer:
        """`look`, but only each `every`-th time; the last answer in between."""
        asked = self._asked.get(key, 0)
        if asked % every == 0:
            self._kept[key] = look()
        self._asked[key] = asked + 1
        return self._kept[key]  # type: ignore[no-any-return]  # one key, one kind of answer

    def is_at(self, handle: Any) -> bool:
        """Whether a handle that NVML gave elsewhere is that of this board."""
        return _address(handle) == _address(self._handle)

    def part(self, function: str, *arguments: object) -> Board:
        """The MIG instance whose handle `function` answers."""
        return Board(self.uuid, self.call(function, *arguments))

    def fields(self, ids: Sequence[int]) -> dict[int, float]:
        """The field values that the board has. The call succeeds as a whole even if each value failed."""
        values = self.ask("nvmlDeviceGetFieldValues", tuple(ids)) or ()
        return {
            value.fieldId: getattr(value.value, VALUE_TYPES[kind])
            for value in values
            if value.nvmlReturn == 0 and (kind := value.valueType) < len(VALUE_TYPES)
        }


class Session:
    """NVML as one thread uses it: initialised once, handles looked up by UUID after that.

    When one session finds the driver gone, all of this process look up their handles anew: what they have may
    stand for other boards by now. NVML, too, is one for the process.
    """

    _generation: ClassVar[int] = 0

    def __init__(self, library: str | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._library = library
        self._clock = clock
        self._ready = False
        self._of_generation = Session._generation
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
                board = self._boards[uuid] = self.board(uuid)
            return work(board)
        except GpuError as error:
            self._boards.pop(uuid, None)
            if error.code == UNINITIALIZED:
                self.forget()
            raise

    def init(self) -> None:
        """Never shuts down and initialises in turn: that is how the driver is known to hang."""
        if self._of_generation != Session._generation:
            self._of_generation = Session._generation
            self._ready = False
            self._boards.clear()
        if self._ready:
            return
        if self._init_failure and self._clock() < self._retry_at_s:
            raise DriverError(self._init_failure)
        try:
            check_binding(pynvml)
            with LOADING:
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

    def board(self, uuid: str) -> Board:
        """A GPU by its UUID, looked up anew."""
        self.init()
        return Board(uuid, _call(f"GPU {uuid}", "nvmlDeviceGetHandleByUUID", uuid))

    def call(self, function: str, *arguments: object) -> Any:
        """A call that is about no board."""
        self.init()
        return _call("NVML", function, *arguments)

    def forget(self) -> None:
        """Initialise again at the next call: the driver went away."""
        Session._generation += 1

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


def _address(handle: Any) -> int | None:
    return ctypes.cast(handle, ctypes.c_void_p).value


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
