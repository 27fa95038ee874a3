"""Compiles the simulated NVML library on first use, once per source, binding, compiler and machine.

It writes nowhere but the cache folder, and puts a library there whole or not at all.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

from simulators.nvml import layout

SONAME = "libnvidia-ml.so.1"
COMPILE_TIMEOUT_S = 120
FLAGS = ("-O2", "-s", "-shared", "-fPIC", "-fvisibility=hidden", "-pthread", f"-Wl,-soname,{SONAME}")


class BuildError(Exception):
    """The library cannot be built or loaded here; the text says what is missing."""


def library(cache: Path | None = None) -> Path:
    """The compiled library: its folder is what LD_LIBRARY_PATH takes."""
    cache = cache or _default_cache()
    compiler = _compiler()
    source = _source()
    key = hashlib.sha256("\0".join([source, *compiler, *FLAGS, platform.machine()]).encode()).hexdigest()[:16]
    built = cache / key / SONAME
    _refuse_noexec(cache)
    if not built.exists():
        _compile(compiler, source, built)
    return built


def _default_cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "wattshift" / "nvml"


def _compiler() -> list[str]:
    if wanted := os.environ.get("CC"):
        return shlex.split(wanted)
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise BuildError(
        "the simulated NVML library needs a C compiler: install gcc or clang, set CC, "
        "or install the Python package ziglang"
    )


def _source() -> str:
    """Layout, then the functions that do something, then a stub for each other one that the binding knows."""
    real = resources.files("simulators.nvml").joinpath("nvmlsim.c").read_text()
    binding = importlib.util.find_spec("pynvml")
    if binding is None or binding.origin is None:
        raise BuildError(
            "the simulated NVML library is made for the package nvidia-ml-py, which is not installed"
        )
    known = set(re.findall(r'_nvmlGetFunctionPointer\("(nvml\w+)"\)', Path(binding.origin).read_text()))
    absent = sorted(known - set(re.findall(r"\b(nvml[A-Z]\w+)\(", real)))
    stubs = [f"NVML {name}(void) {{ return NOT_SUPPORTED; }}" for name in absent]
    return "\n".join([layout.c_header(), real, *stubs, ""])


def _refuse_noexec(cache: Path) -> None:
    """A library on a noexec mount compiles and then fails to load with a message that names neither."""
    existing = next(folder for folder in (cache, *cache.absolute().parents) if folder.exists())
    if os.statvfs(existing).f_flag & os.ST_NOEXEC:
        raise BuildError(
            f"{cache} is on a file system mounted noexec: set XDG_CACHE_HOME to a folder that is not"
        )


def _compile(compiler: list[str], source: str, built: Path) -> None:
    cache = built.parent.parent
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="build-") as work:
        text = Path(work) / "nvmlsim.c"
        text.write_text(source)
        output = Path(work) / SONAME
        command = [*compiler, *FLAGS, "-o", str(output), str(text)]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=COMPILE_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise BuildError(f"the C compiler {shlex.join(compiler)} did not run: {error}") from error
        if done.returncode != 0:
            raise BuildError(f"{shlex.join(command)} failed:\n{done.stderr[-2000:]}")
        built.parent.mkdir(exist_ok=True)
        output.replace(built)


if __name__ == "__main__":
    try:
        print(library().parent)  # for LD_LIBRARY_PATH
    except BuildError as error:
        sys.exit(str(error))
