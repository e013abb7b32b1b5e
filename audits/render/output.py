"""Renderings to files: `--output FORMAT=FILE`. Replaced at once or not at all; a step summary is appended to.

It does not know what it writes.
"""

import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audits.errors import BadInputError
from audits.render.formats import FORMATS

__all__ = ["Target", "targets", "write"]


@dataclass(frozen=True, slots=True)
class Target:
    """One file, and the format it gets."""

    format: str
    path: Path


def targets(asked: Sequence[str], inputs: Iterable[Path]) -> tuple[Target, ...]:
    """Read `FORMAT=FILE` options.

    Raises:
        BadInputError: an unknown format, no file, a folder that is not there, or a file that is an input.
    """
    taken = {path.resolve() for path in inputs}
    found = []
    for text in asked:
        format, _, file = text.partition("=")
        if format not in FORMATS or not file:
            raise BadInputError(f"--output {text!r} is not FORMAT=FILE with a format out of {', '.join(FORMATS)}")
        path = Path(file)
        if path.resolve() in taken:
            raise BadInputError(f"--output {path.name} is an input of this audit, or given twice")
        if path.is_dir() or not path.parent.is_dir():
            raise BadInputError(f"--output {path.name}: expected a file in a folder that is there")
        taken.add(path.resolve())
        found.append(Target(format, path))
    return tuple(found)


def write(target: Target, text: str) -> None:
    """Write a rendering; a step summary is shared by all commands of a step, so it is appended."""
    if target.format == "github":
        with target.path.open("a", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        return
    handle, temporary = tempfile.mkstemp(prefix=".audit-", dir=target.path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(text)
        os.replace(temporary, target.path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
