"""The unit: systemd understands it, alone and with each drop-in, and its sandbox is as tight as it says."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PROGRAM = "/usr/bin/wattshift"
DROP_INS = ("credentials", "gpu", "jobs")
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1


@pytest.fixture
def unit(deploy: Path, tmp_path: Path) -> Callable[..., Path]:
    """The unit with some of its drop-ins, its program exchanged for one that is here."""

    def install(*drop_ins: str) -> Path:
        text = (deploy / "systemd" / "wattshift.service").read_text()
        assert PROGRAM in text
        folder = tmp_path / "-".join(("unit", *drop_ins))
        beside = folder / "wattshift.service.d"
        beside.mkdir(parents=True)
        for name in drop_ins:
            shutil.copy(deploy / "systemd" / f"wattshift-{name}.conf", beside)
        installed = folder / "wattshift.service"
        installed.write_text(text.replace(PROGRAM, "/bin/true"))
        return installed

    return install


@pytest.fixture
def analyze(require_tool: Callable[[str], str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    program = require_tool("systemd-analyze")

    def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, "--no-pager", *arguments], capture_output=True, text=True, timeout=60, check=False
        )

    return run


@pytest.mark.parametrize("drop_ins", [(), *((name,) for name in DROP_INS), DROP_INS])
def test_systemd_understands_every_line(
    unit: Callable[..., Path],
    analyze: Callable[..., subprocess.CompletedProcess[str]],
    drop_ins: tuple[str, ...],
) -> None:
    done = analyze("verify", "--man=no", unit(*drop_ins))

    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("drop_ins", "exposure"),
    [((), 20), (("credentials",), 20), (("gpu",), 25), (("jobs",), 40), (("gpu", "jobs"), 45)],
)
def test_the_sandbox_is_no_wider_than_it_was(
    unit: Callable[..., Path],
    analyze: Callable[..., subprocess.CompletedProcess[str]],
    drop_ins: tuple[str, ...],
    exposure: int,
) -> None:
    """Tenths of the exposure level that systemd computes: 0 is sealed, 100 is no sandbox at all."""
    done = analyze("security", "--offline=true", f"--threshold={exposure}", unit(*drop_ins))

    assert done.returncode == 0, done.stdout + done.stderr


def test_what_the_unit_runs_are_commands_that_exist(deploy: Path) -> None:
    lines = (deploy / "systemd" / "wattshift.service").read_text().splitlines()
    commands = [
        line.partition("=")[2].removeprefix(PROGRAM).split() for line in lines if line.startswith("Exec")
    ]

    for command in commands:
        done = subprocess.run(
            [sys.executable, "-m", "controller", command[0], "--help"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert all(option in done.stdout for option in command if option.startswith("--"))


def test_the_controller_and_its_libraries_need_no_memory_that_is_writable_and_executable() -> None:
    """What MemoryDenyWriteExecute=yes forbids, forbidden by the kernel here too (Linux 6.3 and newer)."""
    program = (
        "import ctypes, mmap, sys\n"
        f"if ctypes.CDLL(None).prctl({PR_SET_MDWE}, {PR_MDWE_REFUSE_EXEC_GAIN}, 0, 0, 0): sys.exit(77)\n"
        "try: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)\n"
        "except PermissionError: pass\n"
        "else: sys.exit('nothing is forbidden: this test would prove nothing')\n"
        "import ssl, controller.daemon, pyasic, pynvml\n"
        "ssl.create_default_context()\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )

    if done.returncode == 77:
        pytest.skip("this kernel cannot forbid it")
    assert done.returncode == 0, done.stderr
