"""What a person or a program sees: results on stdout, progress and hints on stderr.

stdout carries the result only. Progress is drawn on a terminal and nowhere else. It does not know what a result means.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Bars", "hint", "progress_bars", "show", "show_json"]


def show(*lines: str) -> None:
    """Write result lines, or blocks that already end in a line break, to stdout."""
    sys.stdout.write("".join(line if line.endswith("\n") else f"{line}\n" for line in lines))
    sys.stdout.flush()


def show_json(document: object) -> None:
    """Write one JSON document to stdout."""
    show(json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False))


def hint(line: str, *, quiet: bool = False) -> None:
    """Write a line for people to stderr."""
    if not quiet:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


class Bars:
    """One bar per stage with the time left; does nothing without a `rich` display behind it."""

    def __init__(self, display: Any | None) -> None:
        self._display = display
        self._tasks: dict[str, Any] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say that `done` of `total` steps of `stage` are behind us."""
        if self._display is None:
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._display.add_task(stage, total=max(total, 1))
        self._display.update(self._tasks[stage], completed=done, total=max(total, 1))


@contextmanager
def progress_bars(*, quiet: bool) -> Iterator[Bars]:
    """Bars on stderr while the block runs; silent when quiet or off a terminal."""
    if quiet or not sys.stderr.isatty():
        yield Bars(None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    # The stream is fixed here, so that a library whose stderr is being swallowed does not swallow the bars as well.
    with Progress(*columns, console=Console(file=sys.stderr), redirect_stdout=False, redirect_stderr=False) as display:
        yield Bars(display)
