"""A folder that appears complete or not at all.

Files are written into a hidden folder beside the target, flushed to disk, inspected, and renamed in one step. A
failure before the rename leaves nothing behind; a killed process leaves at most the hidden folder, never a half
bundle. It does not know what is written.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from privdistill.errors import RunError

__all__ = ["publish", "refuse_occupied"]


def refuse_occupied(out: Path) -> None:
    """Refuse a target that exists in any form.

    Raises:
        RunError: there is something at `out`.
    """
    if os.path.lexists(out):
        raise RunError(f"expected no {out.name!r} yet, found one; a bundle is never changed, so name another folder")


def publish(files: Mapping[str, bytes], out: Path, inspect: Callable[[Path], None]) -> Path:
    """Write files and make them visible as `out` in one step.

    Args:
        files: relative name with forward slashes -> content.
        out: target folder; must not exist.
        inspect: called with the finished hidden folder; whatever it raises stops the release.

    Raises:
        RunError: the target exists, or the disk does not take it.
    """
    refuse_occupied(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        hidden = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))
    except OSError as error:
        raise RunError(f"the bundle cannot be written there ({error.strerror}); name another folder") from None
    try:
        _write(files, hidden)
        inspect(hidden)
        refuse_occupied(out)
        _rename(hidden, out)
    except OSError as error:
        raise RunError(f"the bundle could not be written ({error.strerror}); nothing was released") from None
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return out


def _write(files: Mapping[str, bytes], folder: Path) -> None:
    folder.chmod(0o755)
    folders = {folder}
    for name, content in sorted(files.items()):
        path = folder / name
        path.parent.mkdir(exist_ok=True, mode=0o755)
        folders.add(path.parent)
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        path.chmod(0o644)
    for each in sorted(folders, reverse=True):
        _sync(each)


def _rename(hidden: Path, out: Path) -> None:
    # rename(2) replaces an empty folder and refuses any other: whoever comes second is told so.
    try:
        os.rename(hidden, out)
    except OSError:
        if os.path.lexists(out):
            raise RunError(
                f"{out.name!r} was created by somebody else at the same moment; nothing was released"
            ) from None
        raise
    _sync(out.parent)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
