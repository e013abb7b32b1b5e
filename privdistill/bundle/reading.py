"""A bundle's files as bytes, from its folder or from a zip of it, with nothing unpacked and nothing followed.

    read_bundle(path) -> (files, problems)

The layout is closed, so no name that comes from outside is ever used as a path; links, special files, and files beyond
their limit are named and not opened. It does not know what the files contain.
"""

import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path

from privdistill.bundle import layout

__all__ = ["read_bundle"]

_KNOWN = {*layout.FILES, layout.SIGNATURE}
_MAX_ENTRIES = 100
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_FOLDER_TYPES = (0, stat.S_IFDIR)
_FILE_TYPES = (0, stat.S_IFREG)


def read_bundle(path: Path) -> tuple[dict[str, bytes], list[str]]:
    """Every file of a bundle that could be read, and what does not belong or could not be."""
    files, problems = _read_folder(path) if path.is_dir() else _read_zip(path)
    missing = [name for name in layout.FILES if name not in files]
    unnamed = [name for name in missing if not any(problem.startswith(repr(name)) for problem in problems)]
    return files, [*problems, *(f"{name!r} is missing" for name in unnamed)]


def _read_folder(bundle: Path) -> tuple[dict[str, bytes], list[str]]:
    files: dict[str, bytes] = {}
    problems: list[str] = []
    try:
        entries = list(_walk(bundle, ""))
    except OSError as error:
        return files, [f"the folder cannot be listed ({error.strerror})"]
    for relative, mode in entries:
        if relative not in _KNOWN:
            problems.append(f"{relative!r} does not belong in a bundle")
        elif not stat.S_ISREG(mode):
            problems.append(f"{relative!r} is not a regular file")
        else:
            try:
                files[relative] = _open(bundle / relative, layout.limit_of(relative))
            except OSError as error:
                problems.append(f"{relative!r} cannot be read ({error.strerror})")
            except _TooLargeError:
                problems.append(f"{relative!r} is larger than {layout.limit_of(relative):,} bytes")
    return files, problems


def _walk(folder: Path, prefix: str) -> Iterator[tuple[str, int]]:
    for entry in sorted(os.scandir(folder), key=lambda each: each.name):
        relative = prefix + entry.name
        mode = entry.stat(follow_symlinks=False).st_mode
        if stat.S_ISDIR(mode) and relative == "data":
            yield from _walk(Path(entry.path), "data/")
        else:
            yield relative, mode


class _TooLargeError(Exception):
    pass


def _open(path: Path, limit: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
    with os.fdopen(descriptor, "rb") as file:
        content = file.read(limit + 1) if os.fstat(descriptor).st_size <= limit else b""
        if len(content) > limit or os.fstat(descriptor).st_size > limit:
            raise _TooLargeError
        return content


def _read_zip(path: Path) -> tuple[dict[str, bytes], list[str]]:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > _MAX_ENTRIES:
                return {}, [f"expected at most {_MAX_ENTRIES} entries in the zip, found {len(entries)}"]
            top = _top(entries)
            files: dict[str, bytes] = {}
            problems: list[str] = []
            for entry in entries:
                name = entry.filename.removeprefix(top)
                problem = _zip_problem(entry, name, files)
                if problem == "":
                    files[name] = _unzipped(archive, entry, layout.limit_of(name))
                elif problem is not None:
                    problems.append(problem)
            return files, problems
    except _TooLargeError:
        return {}, ["a file of the zip unpacks to more than it says"]
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        return {}, [f"the zip is not readable ({type(error).__name__})"]


def _top(entries: list[zipfile.ZipInfo]) -> str:
    """The folder that everything in a zip lies in, with its slash, if it is one plain name."""
    tops = {entry.filename.partition("/")[0] for entry in entries}
    top = next(iter(tops)) if len(tops) == 1 else ""
    return f"{top}/" if top not in ("", ".", "..", "data") and all("/" in entry.filename for entry in entries) else ""


def _zip_problem(entry: zipfile.ZipInfo, name: str, files: dict[str, bytes]) -> str | None:
    """Why an entry is not read; empty if it is, None for a folder that may be there."""
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if name in ("", "data/") and kind in _FOLDER_TYPES and entry.file_size == 0:
        return None
    if name not in _KNOWN:
        return f"{entry.filename!r} does not belong in a bundle"
    if name in files:
        return f"{name!r} is there twice"
    if kind not in _FILE_TYPES:
        return f"{name!r} is not a regular file"
    if entry.flag_bits & 0x1 or entry.compress_type not in _PLAIN:
        return f"{name!r} is encrypted or packed in an unusual way"
    if entry.file_size > layout.limit_of(name):
        return f"{name!r} is larger than {layout.limit_of(name):,} bytes"
    return ""


def _unzipped(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, limit: int) -> bytes:
    with archive.open(entry) as file:
        content = file.read(min(entry.file_size, limit) + 1)
    if len(content) > min(entry.file_size, limit):
        raise _TooLargeError
    return content
