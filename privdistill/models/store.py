"""The asset cache on disk: a folder is either complete, with a manifest written last, or it is not used at all.

Each asset lives in a folder of its own below the cache root (`PRIVDISTILL_CACHE_DIR`, else the user's cache folder of
the operating system). A build happens in a temporary sibling that is renamed into place in one step, under a lock that
other processes wait for, so a broken download, a crash or a full disk leaves nothing behind that could be taken for an
asset.

It does not know what an asset is, where it comes from or which hash it ought to have.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from privdistill.errors import AssetError

__all__ = ["MANIFEST", "building", "cache_root", "damage", "is_complete", "remove", "sha256_of", "stored_bytes"]

MANIFEST = "manifest.json"
_SCHEMA = "privdistill.asset/v1"
_WAIT_SECONDS = 3600.0
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST}


def cache_root() -> Path:
    """Folder that holds all assets; outside any repository unless the user says otherwise."""
    chosen = os.environ.get("PRIVDISTILL_CACHE_DIR")
    return Path(chosen).expanduser().absolute() if chosen else Path(user_cache_dir("privdistill", appauthor=False))


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def is_complete(folder: Path) -> bool:
    """Whether the manifest exists and every file it names has its size (no hashing: this runs at each start)."""
    files = _manifest_files(folder)
    return files is not None and all(_size(folder / name) == entry["bytes"] for name, entry in files.items())


def damage(folder: Path) -> tuple[str, ...]:
    """Names of the files that are not what the manifest says, by hash; `manifest.json` when it cannot be read."""
    files = _manifest_files(folder)
    if files is None:
        return (MANIFEST,)
    return tuple(
        name
        for name, entry in sorted(files.items())
        if _size(folder / name) != entry["bytes"] or sha256_of(folder / name) != entry["sha256"]
    )


def stored_bytes(folder: Path) -> int:
    """Bytes of a complete folder, by its manifest."""
    return sum(int(str(entry["bytes"])) for entry in (_manifest_files(folder) or {}).values())


def remove(folder: Path) -> None:
    """Delete a folder; absent is fine."""
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def building(folder: Path, facts: Mapping[str, object], waiting: Callable[[], None]) -> Iterator[Path | None]:
    """Hold the lock of `folder` and yield an empty temporary folder to fill, or None when somebody else completed it.

    When the block ends without an error, the manifest (with `facts`) is written last and the folder renamed into place.

    Args:
        folder: where the asset will live.
        facts: written into the manifest, for people.
        waiting: called once if another process holds the lock.

    Raises:
        AssetError: the cache cannot be written, the disk is full, or another process holds the lock for an hour.
    """
    with _explained(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder.parent / f"{folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            _wait(lock)
        try:
            if is_complete(folder):
                yield None
                return
            temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
            try:
                yield temporary
                _write_manifest(temporary, facts)
                remove(folder)
                temporary.rename(folder)
            finally:
                remove(temporary)
        finally:
            lock.release()


def _wait(lock: FileLock) -> None:
    try:
        lock.acquire(timeout=_WAIT_SECONDS)
    except Timeout:
        raise AssetError(
            "another process has been fetching the same asset for an hour; end it, or delete its .lock file"
        ) from None


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    """Turn the errors of a disk into a sentence that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise AssetError(
                f"the disk of the asset cache {root} is full; free about 1 GB, or set PRIVDISTILL_CACHE_DIR elsewhere"
            ) from None
        if error.errno in _FORBIDDEN:
            raise AssetError(
                f"the asset cache {root} cannot be written; set PRIVDISTILL_CACHE_DIR to a folder that can"
            ) from None
        raise


def _write_manifest(folder: Path, facts: Mapping[str, object]) -> None:
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_of(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    body = json.dumps({"schema": _SCHEMA, **facts, "files": files}, indent=2, sort_keys=True)
    for path in folder.rglob("*"):
        _flush(path)
    with (folder / MANIFEST).open("w", encoding="utf-8") as stream:
        stream.write(body + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def _flush(path: Path) -> None:
    if path.is_file():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())


def _manifest_files(folder: Path) -> dict[str, dict[str, object]] | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    files = manifest.get("files") if isinstance(manifest, dict) and manifest.get("schema") == _SCHEMA else None
    return files if isinstance(files, dict) and files else None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
