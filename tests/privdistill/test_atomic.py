"""Files that are there complete or not at all, and that a power loss does not take back."""

import os
import stat
from pathlib import Path

import pytest

from privdistill.atomic import write_atomically


def test_content_is_on_disk_before_the_name_and_the_name_before_it_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, events = tmp_path / "file", []
    real_sync, real_replace = os.fsync, Path.replace

    def sync(descriptor: int) -> None:
        found = os.fstat(descriptor)
        folder = stat.S_ISDIR(found.st_mode)
        assert not folder or os.path.samestat(found, tmp_path.stat()), "it is the folder of the file"
        events.append("folder" if folder else "content")
        real_sync(descriptor)

    def replace(self: Path, other: Path) -> Path:
        events.append("name")
        return real_replace(self, other)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "replace", replace)
    for content in (b"one", b"two"):
        write_atomically(target, content)
        assert target.read_bytes() == content
    assert events == ["content", "name", "folder"] * 2
    assert stat.S_IMODE(target.stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_what_fails_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException]
) -> None:
    target = tmp_path / "file"
    write_atomically(target, b"one")

    def fail(*given: object) -> None:
        raise kind

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(kind):
            write_atomically(target, b"two")
    assert target.read_bytes() == b"one"
    assert [one.name for one in tmp_path.iterdir() if one.is_file()] == ["file"]


def test_descriptors_are_given_back(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        write_atomically(tmp_path / "file", b"x")
    assert len(os.listdir("/dev/fd")) <= before + 1
