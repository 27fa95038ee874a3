"""Compiling the simulated library, and the independent programs that load what comes out."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulators.nvml.build import BuildError, library
from simulators.nvml.layout import STATE_VARIABLE, Word
from simulators.nvml.state import A100, H100, NvmlState

READER_TIMEOUT_S = 60


def run_reader(state: Path, module: str, *arguments: str) -> str:
    """A program, or lines after `-c`, that know nothing of this project; the library is in their path."""
    environment = os.environ | {STATE_VARIABLE: str(state), "LD_LIBRARY_PATH": str(library().parent)}
    done = subprocess.run(
        [sys.executable, *(() if module == "-c" else ("-m",)), module, *arguments],
        env=environment | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=READER_TIMEOUT_S,
        check=True,
    )
    return done.stdout


def test_gpustat_lists_every_gpu_with_its_power_and_limit(tmp_path: Path) -> None:
    state = NvmlState.create(tmp_path / "nvml", {"GPU-a": H100, "GPU-b": A100})
    state.gpu("GPU-a")[Word.AVERAGE_POWER_MW] = 612_000
    state.gpu("GPU-a")[Word.REQUESTED_LIMIT_MW] = 650_000

    listing = run_reader(state.path, "gpustat", "-P", "--no-color")

    assert "NVIDIA H100 80GB HBM3" in listing
    assert "612 / 650 W" in listing
    assert "50 / 400 W" in listing


def test_nvitop_lists_every_gpu_with_its_power_and_limit(tmp_path: Path) -> None:
    state = NvmlState.create(tmp_path / "nvml", {"GPU-a": H100, "GPU-b": A100})
    state.gpu("GPU-a")[Word.AVERAGE_POWER_MW] = 612_000

    listing = run_reader(state.path, "nvitop", "-1", "--ascii")

    assert "612W / 700W" in listing
    assert "A100-SXM4-40GB" in listing


NVITOP_LOOKS = """
import nvitop
for board in nvitop.Device.all():
    slices = [f"{part.name()} {part.memory_total_human()}" for part in board.mig_devices()]
    print(board.mig_mode(), slices, sorted(board.processes()), board.total_volatile_uncorrected_ecc_errors())
"""


def test_nvitop_sees_the_instances_of_a_cut_board_its_errors_and_who_holds_another(tmp_path: Path) -> None:
    state = NvmlState.create(tmp_path / "nvml", {"GPU-a": H100, "GPU-b": A100})
    state.gpu("GPU-a").cut_into(2)
    state.gpu("GPU-a")[Word.ECC_UNCORRECTED_VOLATILE] = 4
    state.gpu("GPU-b")[Word.JOB_PID] = os.getpid()

    told = run_reader(state.path, "-c", NVITOP_LOOKS).splitlines()

    instance = "NVIDIA H100 80GB HBM3 MIG 1g.40gb 40.00GiB"
    assert told == [f"Enabled {[instance] * 2} [] 4", f"Disabled [] [{os.getpid()}] 0"]


def test_gpustat_shows_the_processes_of_a_board(tmp_path: Path) -> None:
    state = NvmlState.create(tmp_path / "nvml", {"GPU-a": H100})
    state.gpu("GPU-a")[Word.JOB_PID], state.gpu("GPU-a")[Word.FOREIGN_PID] = os.getpid(), os.getppid()

    listing = run_reader(state.path, "gpustat", "-p", "--no-color")

    assert f"/{os.getpid()}(" in listing
    assert f"/{os.getppid()}(" in listing


def test_a_copy_of_the_library_reads_the_state_that_lies_beside_it(tmp_path: Path) -> None:
    NvmlState.create(tmp_path / "nvml.state", {"GPU-beside": H100})
    shutil.copy(library(), tmp_path / "libnvidia-ml.so.1")
    environment = os.environ | {STATE_VARIABLE: "/nowhere"}

    done = subprocess.run(
        [sys.executable, "-c", "import pynvml as n; n.nvmlInit(); print(n.nvmlDeviceGetCount())"],
        env=environment | {"LD_LIBRARY_PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=READER_TIMEOUT_S,
        check=True,
    )

    assert done.stdout == "1\n"


def test_the_library_exports_every_function_that_the_binding_knows() -> None:
    binding = importlib.util.find_spec("pynvml")
    assert binding is not None
    assert binding.origin is not None
    text = Path(binding.origin).read_text()
    names = {part.split('"')[0] for part in text.split('_nvmlGetFunctionPointer("')[1:]}

    exported = ctypes.CDLL(str(library()))

    assert len(names) > 300
    assert not [name for name in names if not hasattr(exported, name)]


def test_a_second_call_takes_what_the_first_one_built(tmp_path: Path) -> None:
    built = library(tmp_path)
    before = built.stat().st_mtime_ns

    again = library(tmp_path)

    assert (again, again.stat().st_mtime_ns) == (built, before)
    assert [path.name for path in tmp_path.iterdir()] == [built.parent.name]


def test_a_compiler_that_fails_is_named_with_its_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler = tmp_path / "acc"
    compiler.write_text("#!/bin/sh\necho no such target >&2\nexit 1\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))

    with pytest.raises(BuildError, match=r"acc .* failed:\nno such target"):
        library(tmp_path / "cache")

    assert not list((tmp_path / "cache").glob("*/*.so*"))


def test_a_compiler_that_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "/nowhere/acc")

    with pytest.raises(BuildError, match="/nowhere/acc did not run"):
        library(tmp_path)


def test_without_any_compiler_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if importlib.util.find_spec("ziglang"):
        pytest.skip("the Python package ziglang is a compiler")
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(BuildError, match="install gcc or clang, set CC"):
        library(tmp_path)


def test_a_cache_folder_mounted_noexec_is_refused_by_name(tmp_path: Path) -> None:
    inside = "import pathlib, sys, simulators.nvml.build as b; b.library(pathlib.Path(sys.argv[1]) / 'cache')"
    mounted = 'mount -t tmpfs -o noexec,size=1m tmpfs "$1" || exit 77; exec "$2" -c "$3" "$1"'
    if not shutil.which("unshare"):
        pytest.skip("mounting needs unshare")

    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", mounted, "sh", str(tmp_path), sys.executable, inside],
        capture_output=True,
        text=True,
        timeout=READER_TIMEOUT_S,
        check=False,
    )

    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip("may not mount here")
    assert f"BuildError: {tmp_path}/cache is on a file system mounted noexec" in done.stderr
