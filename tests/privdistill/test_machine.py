"""What a process may use is the least of what the machine has and of what it, or anything around it, was given."""

import os
from pathlib import Path

import pytest

from privdistill import machine

GIB = 2**30


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty hierarchy of control groups on a machine of 64 GiB."""
    monkeypatch.setattr(machine, "_GROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine, "_OWN", tmp_path / "own")
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 64 * GIB // 4096}[name])
    return tmp_path


def limit(groups: Path, own: str, files: dict[str, object]) -> int | None:
    (groups / "own").write_text(own)
    for name, value in files.items():
        file = groups / "groups" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    return machine.memory()


def test_without_a_limit_it_is_that_of_the_machine(groups: Path) -> None:
    assert machine.memory() == 64 * GIB, "there is no such file"
    assert limit(groups, "0::/a/b\n", {"a/b/memory.max": "max"}) == 64 * GIB
    assert limit(groups, "0::/c\n", {"c/memory.max": 128 * GIB}) == 64 * GIB


@pytest.mark.parametrize(
    ("own", "file"),
    [
        ("0::/\n", "memory.max"),
        ("0::/pod/box\n", "pod/box/memory.max"),
        ("0::/pod/box\n", "pod/memory.max"),
        ("0::/../..\n", "memory.max"),
        ("5:cpu,cpuacct:/x\n4:memory:/pod/box\n0::/\n", "memory/pod/box/memory.limit_in_bytes"),
        ("4:memory:/pod/box\n", "memory/memory.limit_in_bytes"),
    ],
)
def test_a_limit_of_either_version_counts_wherever_it_was_set(groups: Path, own: str, file: str) -> None:
    assert limit(groups, own, {file: 2 * GIB}) == 2 * GIB


def test_the_least_of_several_counts(groups: Path) -> None:
    assert limit(groups, "0::/a/b\n", {"a/memory.max": 3 * GIB, "a/b/memory.max": 8 * GIB}) == 3 * GIB


def test_a_limit_of_somebody_else_or_of_something_else_counts_nothing(groups: Path) -> None:
    others = {"other/memory.max": GIB, "cpu/x/memory.limit_in_bytes": GIB, "a/memory.high": GIB}
    assert limit(groups, "0::/a\n3:cpu:/x\n", others) == 64 * GIB


def test_a_system_that_does_not_say_is_not_guessed_at(groups: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: (_ for _ in ()).throw(ValueError(name)))
    assert machine.memory() is None


def test_this_machine_has_some() -> None:
    assert (machine.memory() or 0) > 10**8
