"""The two lock files: what runs on a controller's host, and what tests and demo need beside it."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
OURS = ("controller", "drivers", "simulators")
DEMO_ONLY = {"amqtt"}
"""The demo's broker: `simulators/broker.py` does without it where mosquitto is."""

Lock = Mapping[str, tuple[str, frozenset[str]]]
"""The version of each distribution and its hashes, by its canonical name, for one Python on Linux."""
HERE = f"3.{sys.version_info.minor}"


@pytest.fixture(scope="module")
def runs() -> Lock:
    return lock("requirements.lock")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lock(name: str, python: str = HERE) -> Lock:
    """What pip would take of it."""
    where = {"python_version": python, "python_full_version": f"{python}.0", "sys_platform": "linux"}
    return {
        canonicalize_name(one.name): (str(one.specifier).removeprefix("=="), frozenset(hashes))
        for one, hashes in entries(name)
        if one.marker is None
        or one.marker.evaluate({**where, "platform_system": "Linux", "os_name": "posix"})
    }


def entries(name: str) -> Iterator[tuple[Requirement, list[str]]]:
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        said, *hashes = line.split("--hash=")
        yield Requirement(said), [one.strip() for one in hashes]


def installed(project: Mapping[str, Any]) -> list[Requirement]:
    """What an installation by INSTALL.md needs: to run, to run a second backend, and to be built."""
    tables = project["project"]
    asked = (
        *tables["dependencies"],
        *tables["optional-dependencies"]["rs"],
        *project["build-system"]["requires"],
    )
    return [Requirement(one) for one in asked]


def reached(wanted: Iterable[Requirement], *, everywhere: bool) -> set[str]:
    """All that these lead to, on this platform alone or on any."""
    found: set[tuple[str, str]] = set()
    todo = [(one, "") for one in wanted]
    while todo:
        one, extra = todo.pop()
        if one.marker is not None and not everywhere and not one.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(one.name)
        for asked in ("", *one.extras):
            if (name, asked) not in found:
                found.add((name, asked))
                todo += [(further, asked) for further in parts_of(name, asked)]
    return {name for name, _ in found}


def parts_of(name: str, extra: str) -> Iterator[Requirement]:
    try:
        told = requires(name) or []
    except PackageNotFoundError:  # of another platform: what it needs is not here either
        return
    for one in map(Requirement, told):
        of_an_extra = one.marker is not None and "extra" in str(one.marker)
        if not of_an_extra or (one.marker is not None and one.marker.evaluate({"extra": extra})):
            yield one


@pytest.mark.parametrize("python", ["3.11", "3.12", "3.13"])
def test_what_runs_is_locked_as_the_tests_ran_with_it(python: str) -> None:
    tested, runs = lock("requirements-dev.lock", python), lock("requirements.lock", python)

    assert {name: entry for name, entry in runs.items() if tested.get(name) != entry} == {}


def test_every_entry_of_both_has_one_version_and_its_hashes() -> None:
    for name in ("requirements.lock", "requirements-dev.lock"):
        for one, hashes in entries(name):
            assert str(one.specifier).startswith("=="), f"{name}: {one}"
            assert hashes, f"{name}: {one}"


def test_all_that_an_installation_needs_is_locked_in_a_version_that_will_do(
    runs: Lock, project: dict[str, Any]
) -> None:
    asked = installed(project)

    assert [one for one in asked if canonicalize_name(one.name) not in runs] == []
    assert [one for one in asked if not one.specifier.contains(runs[canonicalize_name(one.name)][0])] == []
    assert reached(asked, everywhere=False) - set(runs) == set()


def test_nothing_is_installed_on_a_controllers_host_that_it_does_not_need(project: dict[str, Any]) -> None:
    named = {canonicalize_name(one.name) for one, _ in entries("requirements.lock")}

    assert named - reached(installed(project), everywhere=True) == set()
    assert named & {"pytest", "hypothesis", "mypy", "ruff", "uv", "amqtt", "luxos", "nvitop"} == set()


def test_what_builds_it_is_an_extra_that_the_lock_can_be_resolved_with(project: dict[str, Any]) -> None:
    assert project["project"]["optional-dependencies"]["build"] == project["build-system"]["requires"]


def test_all_that_the_shipped_packages_import_is_installed_with_them(runs: Lock) -> None:
    held_by = packages_distributions()
    imported = {module.split(".")[0] for top in OURS for module in imports(ROOT / top)}
    foreign = imported - set(sys.stdlib_module_names) - {*OURS, *DEMO_ONLY}

    assert foreign
    assert {
        one for one in foreign if not {canonicalize_name(d) for d in held_by.get(one, ())} & set(runs)
    } == set()


def imports(top: Path) -> Iterator[str]:
    for path in top.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module is not None:
                yield node.module


def test_a_site_is_installed_from_what_runs_and_a_checkout_from_what_tests_need() -> None:
    asked = {
        name: set(re.findall(r"-r (requirements\S*)", (ROOT / name).read_text(encoding="utf-8")))
        for name in ("deploy/INSTALL.md", "Makefile")
    }

    assert asked == {"deploy/INSTALL.md": {"requirements.lock"}, "Makefile": {"requirements-dev.lock"}}
