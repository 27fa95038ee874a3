"""The memory-mapped file behind a simulated NVML library, seen from the plant, the jobs and the tests.

Numbers are single eight-byte words, written whole; nothing here makes two of them change together.
"""

from __future__ import annotations

import mmap
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from simulators.nvml.layout import (
    DRIVER_VERSION_AT,
    FAULT,
    HEADER_BYTES,
    LAYOUT_ID,
    MAGIC,
    MAX_GPUS,
    NVML_VERSION_AT,
    RECORD_BYTES,
    RECORD_WORDS,
    TEXT_BYTES,
    Header,
    Text,
    Word,
)

MARGINS = (
    Word.MARGIN_C,
    Word.SHUTDOWN_MARGIN_C,
    Word.SLOWDOWN_MARGIN_C,
    Word.MEMORY_MAX_MARGIN_C,
    Word.GPU_MAX_MARGIN_C,
)
REMAPPING = (
    Word.REMAPPED_CORRECTABLE,
    Word.REMAPPED_UNCORRECTABLE,
    Word.REMAP_PENDING,
    Word.REMAP_FAILURE,
)
RETIREMENT = (Word.RETIRED_PENDING,)
MIG = (Word.MIG_MODE, Word.MIG_PENDING)
DRIVER_VERSION = "580.105.08"
NVML_VERSION = "13.580.105.08"
NOT_SUPPORTED = 3
GPU_IS_LOST = 15


class StateError(Exception):
    """The file is not the state of a simulated NVML library of this version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A model of GPU. Boards without `tells_margin` have absolute temperature thresholds instead.

    Those that tell it have thresholds relative to their slowdown: `shutdown_margin_c` and the like. A board
    that `remaps_rows` does so with failing memory; older ones retire pages. `slices` is how many MIG
    instances it can be cut into at most.
    """

    name: str
    min_w: int
    max_w: int
    default_w: int
    idle_w: int
    memory_gib: int = 80
    compute_capability: int = 90
    max_sm_clock_mhz: int = 1980
    slowdown_c: int = 87
    shutdown_c: int = 92
    memory_max_c: int = 95
    tells_margin: bool = True
    shutdown_margin_c: int = -8
    slowdown_margin_c: int = -2
    remaps_rows: bool = True
    slices: int = 7


# Limits and idle draws as real boards report them: NVIDIA/k8s-test-infra, captures of nvidia-smi -q.
A100 = Board(
    name="NVIDIA A100-SXM4-40GB", min_w=100, max_w=400, default_w=400, idle_w=50, memory_gib=40,
    compute_capability=80, max_sm_clock_mhz=1410, slowdown_c=89, tells_margin=False,
)  # fmt: skip
H100 = Board(
    name="NVIDIA H100 80GB HBM3", min_w=200, max_w=700, default_w=700, idle_w=70,
)  # fmt: skip
B200 = Board(
    name="NVIDIA B200", min_w=200, max_w=1000, default_w=1000, idle_w=200, memory_gib=180,
    compute_capability=100, max_sm_clock_mhz=1965, shutdown_margin_c=-5,
)  # fmt: skip


class NvmlGpu:
    """One GPU's record: `gpu[Word.POWER_MW]` reads and writes a number, `text` and `set_text` a text."""

    def __init__(self, record: memoryview) -> None:
        self._texts = record[: len(Text) * TEXT_BYTES]
        self._words = record[len(Text) * TEXT_BYTES :].cast("q")

    def __getitem__(self, word: Word) -> int:
        return int(self._words[_WORD_AT[word]])

    def __setitem__(self, word: Word, value: int) -> None:
        self._words[_WORD_AT[word]] = value

    def text(self, which: Text) -> str:
        start = _TEXT_AT[which]
        return bytes(self._texts[start : start + TEXT_BYTES]).split(b"\0", 1)[0].decode()

    def set_text(self, which: Text, value: str) -> None:
        _write_text(self._texts, _TEXT_AT[which], TEXT_BYTES, value)

    @property
    def uuid(self) -> str:
        return self.text(Text.UUID)

    @property
    def enforced_limit_mw(self) -> int:
        """The limit in force: the requested one, or a tighter one from outside the driver."""
        return min(self[Word.REQUESTED_LIMIT_MW], self[Word.OUTSIDE_LIMIT_MW])

    def withhold(self, word: Word, code: int = NOT_SUPPORTED) -> None:
        """Answer an NVML error code wherever this value is asked for, until `gpu[word] = ...` ends it."""
        self[word] = FAULT | code

    def tell(self, word: Word, value: int) -> None:
        """Write a value that the board measures, unless it withholds it."""
        if self[word] & ~0xFFFF != FAULT:
            self[word] = value

    @property
    def holder(self) -> int | None:
        """The process whose job holds this GPU; a killed one holds it no more, even before it is reaped."""
        pid = self[Word.JOB_PID]
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            return None
        return None if stat.rpartition(")")[2].split()[0] in "ZX" else pid

    def lose(self, code: int = GPU_IS_LOST) -> None:
        """Answer everything about this GPU with an error code; the other GPUs go on."""
        self[Word.ERROR_CODE] = code

    def recover(self) -> None:
        self[Word.ERROR_CODE] = 0

    def reload(self) -> None:
        """What a driver unload does to a board: limit back to default, energy from zero, persistence off."""
        self[Word.REQUESTED_LIMIT_MW] = self[Word.DEFAULT_LIMIT_MW]
        self[Word.PERSISTENCE] = 0
        self[Word.ENERGY_AT_NS] = time.monotonic_ns()
        self[Word.ENERGY_MJ] = self[Word.ENERGY_TOLD_MJ] = 0

    def cut_into(self, instances: int) -> None:
        """Into so many MIG instances of equal size; 0 takes the board out of MIG mode."""
        self[Word.MIG_MODE] = self[Word.MIG_PENDING] = int(instances > 0)
        self[Word.MIG_INSTANCES] = instances

    def raise_xid(self, xid: int) -> None:
        self[Word.XID] = xid
        self[Word.XID_SEQUENCE] += 1


class NvmlState:
    """The whole file: `state[Header.LATENCY_US]` and the like, and one `NvmlGpu` for each record."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            size = path.stat().st_size
            if size < HEADER_BYTES:
                raise StateError(f"{path}: {size} bytes are no NVML state")
            self._map = mmap.mmap(file.fileno(), size)
        view = memoryview(self._map)
        self._header = view[:DRIVER_VERSION_AT].cast("q")
        count = self[Header.GPU_COUNT]
        if self[Header.MAGIC] != MAGIC or self[Header.LAYOUT] != LAYOUT_ID or size < _size(count):
            raise StateError(f"{path}: not an NVML state of this version")
        self.gpus = tuple(NvmlGpu(view[_size(i) : _size(i + 1)]) for i in range(count))

    @classmethod
    def create(cls, path: Path, gpus: Mapping[str, Board]) -> NvmlState:
        """A fresh state with one idle GPU for each UUID, put in place whole."""
        if len(gpus) > MAX_GPUS:
            raise ValueError(f"{len(gpus)} GPUs: a host has at most {MAX_GPUS}")
        content = bytearray(_size(len(gpus)))
        header = memoryview(content)[:DRIVER_VERSION_AT].cast("q")
        for word, value in {
            Header.MAGIC: MAGIC,
            Header.LAYOUT: LAYOUT_ID,
            Header.GPU_COUNT: len(gpus),
        }.items():
            header[_HEADER_AT[word]] = value
        _write_text(
            memoryview(content), DRIVER_VERSION_AT, NVML_VERSION_AT - DRIVER_VERSION_AT, DRIVER_VERSION
        )
        _write_text(memoryview(content), NVML_VERSION_AT, HEADER_BYTES - NVML_VERSION_AT, NVML_VERSION)
        for index, (uuid, board) in enumerate(gpus.items()):
            _write_idle(NvmlGpu(memoryview(content)[_size(index) : _size(index + 1)]), index, uuid, board)
        unfinished = path.with_name(path.name + ".new")
        unfinished.write_bytes(content)
        unfinished.replace(path)
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> NvmlState:
        return cls(path)

    def __getitem__(self, word: Header) -> int:
        return int(self._header[_HEADER_AT[word]])

    def __setitem__(self, word: Header, value: int) -> None:
        self._header[_HEADER_AT[word]] = value

    def gpu(self, uuid: str) -> NvmlGpu:
        for gpu in self.gpus:
            if gpu.uuid == uuid:
                return gpu
        raise KeyError(uuid)

    def enumerate_as(self, uuids: Sequence[str]) -> None:
        """Index the GPUs in this order, as another boot may."""
        for index, uuid in enumerate(uuids):
            self.gpu(uuid)[Word.INDEX] = index

    def reload_driver(self) -> None:
        """What a driver unload does: limits back to default, energy from zero, persistence off."""
        for gpu in self.gpus:
            gpu.reload()


def _size(gpus: int) -> int:
    return HEADER_BYTES + gpus * RECORD_BYTES


def _write_text(into: memoryview, start: int, size: int, value: str) -> None:
    data = value.encode()
    if len(data) >= size:
        raise ValueError(f"{value!r} is longer than {size - 1} bytes")
    into[start : start + size] = data.ljust(size, b"\0")


def _write_idle(gpu: NvmlGpu, index: int, uuid: str, board: Board) -> None:
    gpu.set_text(Text.NAME, board.name)
    gpu.set_text(Text.UUID, uuid)
    gpu.set_text(Text.SERIAL, f"165{index:010d}")
    gpu.set_text(Text.PCI_BUS_ID, f"{index // 128:08X}:{index % 128 + 1:02X}:00.0")
    idle_c = 30
    numbers = {
        Word.INDEX: index,
        Word.POWER_MW: board.idle_w * 1000,
        Word.AVERAGE_POWER_MW: board.idle_w * 1000,
        Word.REQUESTED_LIMIT_MW: board.default_w * 1000,
        Word.OUTSIDE_LIMIT_MW: board.max_w * 1000,
        Word.MIN_LIMIT_MW: board.min_w * 1000,
        Word.MAX_LIMIT_MW: board.max_w * 1000,
        Word.DEFAULT_LIMIT_MW: board.default_w * 1000,
        Word.TEMPERATURE_C: idle_c,
        Word.MEMORY_TEMPERATURE_C: idle_c,
        Word.MARGIN_C: board.slowdown_c - idle_c,
        Word.SLOWDOWN_C: board.slowdown_c,
        Word.SHUTDOWN_C: board.shutdown_c,
        Word.MEMORY_MAX_C: board.memory_max_c,
        Word.SHUTDOWN_MARGIN_C: board.shutdown_margin_c,
        Word.SLOWDOWN_MARGIN_C: board.slowdown_margin_c,
        Word.SM_CLOCK_MHZ: board.max_sm_clock_mhz,
        Word.MAX_SM_CLOCK_MHZ: board.max_sm_clock_mhz,
        Word.MEMORY_CLOCK_MHZ: 2619,
        Word.ENERGY_AT_NS: time.monotonic_ns(),
        Word.EVENT_REASONS: 1,
        Word.MEMORY_TOTAL_BYTES: board.memory_gib * 2**30,
        Word.COMPUTE_CAPABILITY: board.compute_capability,
        Word.ECC_MODE: 1,
    }
    for word, value in numbers.items():
        gpu[word] = value
    for word in (
        *(() if board.tells_margin else MARGINS),
        *(RETIREMENT if board.remaps_rows else REMAPPING),
        *(() if board.slices else MIG),
    ):
        gpu.withhold(word)


_HEADER_AT = {word: at for at, word in enumerate(Header)}
_WORD_AT = {word: at for at, word in enumerate(Word)}
_TEXT_AT = {text: at * TEXT_BYTES for at, text in enumerate(Text)}
assert len(_WORD_AT) <= RECORD_WORDS
