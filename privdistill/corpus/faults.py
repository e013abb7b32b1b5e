"""What is wrong with a corpus file, in words that hold nothing of a record: how many columns, which line.

In a file without a header a record stands where the names should be, and in JSON a text may be a key. So a name that
was found is shown only if it is one of a public list, or was typed by the operator. It does not know how records are
read.
"""

import csv
import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

__all__ = ["columns_found", "first_fault"]

_USUAL = frozenset(
    "text texts sentence sentences content body review comment message document summary title prompt response "
    "instruction input output context label labels class category target sentiment rating stars score id idx index "
    "date language split source user_id author author_id person person_id patient_id customer_id".split()
)


def columns_found(names: Iterable[str], asked: Iterable[str]) -> str:
    """How many columns there are, and those names that cannot be a record.

    Example:
        >>> columns_found(["label", "words"], ["text"])
        "found 2 columns, among them 'label'"
    """
    found = list(names)
    told = [name for name in found if name in _USUAL or name in set(asked)][:20]
    counted = f"found {len(found)} column{'' if len(found) == 1 else 's'}"
    if told or not found:
        return counted + (f", among them {', '.join(map(repr, told))}" if told else "")
    return (
        f"{counted} (names not shown: where a header row is missing they are a record; check the first line and its "
        "delimiter)"
    )


def first_fault(path: Path, separator: str | None, *, zipped: bool) -> str | None:
    """The first line that does not fit those before it, or None where no line can be blamed.

    Args:
        path: the file.
        separator: that of its fields; None for lines of JSON.
        zipped: whether it is compressed.
    """
    try:
        with (gzip.open if zipped else open)(path, "rt", encoding="utf-8-sig", newline="") as lines:
            return next(_json_faults(lines) if separator is None else _table_faults(lines, separator), None)
    except (OSError, EOFError, UnicodeError):
        return None


def _table_faults(lines: TextIO, separator: str) -> Iterator[str]:
    rows = csv.reader(lines, delimiter=separator)
    try:
        header = next(rows, [])
        for row in rows:
            if len(row) > len(header):
                yield f"line {rows.line_num} has {len(row)} fields and the header {len(header)}"
    except csv.Error:
        yield f"line {rows.line_num} is not a row of fields"


def _json_faults(lines: TextIO) -> Iterator[str]:
    kinds: dict[str, type] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row: Any = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            yield f"line {number} is not a JSON object"
            continue
        for name, value in row.items():
            if value is not None and kinds.setdefault(name, type(value)) is not type(value):
                yield f"line {number} has another type in a column than the lines before"
