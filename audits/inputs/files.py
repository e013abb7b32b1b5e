"""Read one table (parquet, csv, tsv, jsonl, the last three also .gz) into columns of text.

Everything is bounded: a file above the limit, compressed or not, is refused before it fills the memory. It does not
know what a column means. Errors carry file names, line numbers and names of columns that were asked for or are usual,
never a value.
"""

import csv
import gzip
import hashlib
import io
import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audits.errors import BadInputError

__all__ = ["Table", "digest", "read_table"]

_FORMATS = (".parquet", ".csv", ".tsv", ".jsonl")
_USUAL = ("text", "sentence", "content", "body", "review", "comment", "message", "prompt", "response", "label", "id")
"""Names of columns that messages may repeat: they tell nothing of a record."""


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """Columns of one file; a null becomes an empty string.

    Attributes:
        name: file name without its folder, fit for messages.
        sha256: digest of the bytes of the file.
        columns: column name -> values, all of the same length.
        rows: number of rows in the file.
    """

    name: str
    sha256: str
    columns: dict[str, list[str]]
    rows: int


def digest(path: Path) -> str:
    """Return the sha256 of a file's bytes."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise BadInputError(f"cannot read {path.name}: {error.strerror or type(error).__name__}") from None


def read_table(path: Path, columns: list[str], *, role: str, max_bytes: int) -> Table:
    """Read the named columns of a file.

    Args:
        path: file whose suffix names the format.
        columns: columns that must exist.
        role: what the file is for, for messages (`synthetic`, `source`, ...).
        max_bytes: refuse files that hold more than this, uncompressed.

    Raises:
        BadInputError: the file is absent, empty, broken, too large or has not these columns.
    """
    if not path.exists():
        raise BadInputError(f"the {role} file {path.name} does not exist")
    if not path.is_file():
        raise BadInputError(f"the {role} path {path.name} is not a file")
    if path.stat().st_size == 0:
        raise BadInputError(f"the {role} file {path.name} is empty")
    suffixes = [suffix.lower() for suffix in path.suffixes]
    kind = suffixes[-2] if len(suffixes) > 1 and suffixes[-1] == ".gz" else (suffixes[-1] if suffixes else "")
    if kind not in _FORMATS or (kind == ".parquet" and suffixes[-1] == ".gz"):
        raise BadInputError(
            f"the {role} file {path.name} has an unknown format; give .parquet, .csv, .tsv or .jsonl (text also as .gz)"
        )
    if path.stat().st_size > max_bytes:
        raise _too_large(path, role, max_bytes)
    if kind == ".parquet":
        found = _parquet(path, columns, role, max_bytes)
    else:
        text = _text(path, role, max_bytes, compressed=suffixes[-1] == ".gz")
        reader = _jsonl if kind == ".jsonl" else _delimited
        found = reader(text, path.name, columns, role, "\t" if kind == ".tsv" else ",")
    rows = len(next(iter(found.values()))) if found else 0
    if rows == 0:
        raise BadInputError(f"the {role} file {path.name} has no rows")
    return Table(path.name, digest(path), found, rows)


def _too_large(path: Path, role: str, max_bytes: int) -> BadInputError:
    return BadInputError(
        f"the {role} file {path.name} holds more than {max_bytes // 2**20} MiB; audit a random sample of units, or "
        "raise --max-megabytes if the memory allows it"
    )


def _absent(name: str, role: str, missing: list[str], present: list[str]) -> BadInputError:
    # Without a header a record stands where the names should be, and in JSON a text may be a key.
    told = [name for name in present if name in _USUAL][:20]
    return BadInputError(
        f"the {role} file {name} has no column {', '.join(map(repr, missing))}; found {len(present)} column(s)"
        + (f", among them {', '.join(map(repr, told))}" if told else "")
        + "; other names are not shown, since they are a record where the header is missing or the delimiter another"
    )


def _text(path: Path, role: str, max_bytes: int, *, compressed: bool) -> str:
    try:
        if compressed:
            with gzip.open(path, "rb") as stream:
                data = stream.read(max_bytes + 1)
        else:
            data = path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise BadInputError(f"the {role} file {path.name} cannot be read ({type(error).__name__})") from None
    if len(data) > max_bytes:
        raise _too_large(path, role, max_bytes)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInputError(f"the {role} file {path.name} is not valid UTF-8 (line {line})") from None


def _delimited(text: str, name: str, columns: list[str], role: str, delimiter: str) -> dict[str, list[str]]:
    csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header = next(reader, [])
        missing = [column for column in columns if column not in header]
        if missing:
            raise _absent(name, role, missing, header)
        places = [header.index(column) for column in columns]
        found: dict[str, list[str]] = {column: [] for column in columns}
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise BadInputError(
                    f"line {reader.line_num} of the {role} file {name} has {len(row)} fields, its header {len(header)}"
                )
            for column, place in zip(columns, places, strict=True):
                found[column].append(row[place])
    except csv.Error as error:
        kind = type(error).__name__
        raise BadInputError(f"the {role} file {name} is broken near line {reader.line_num} ({kind})") from None
    return found


def _objects(text: str, name: str, role: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            raise BadInputError(f"line {number} of the {role} file {name} is not JSON") from None
        if not isinstance(value, dict):
            raise BadInputError(f"line {number} of the {role} file {name} is not a JSON object")
        yield number, value


def _jsonl(text: str, name: str, columns: list[str], role: str, delimiter: str) -> dict[str, list[str]]:
    del delimiter
    found: dict[str, list[str]] = {column: [] for column in columns}
    for number, value in _objects(text, name, role):
        missing = [column for column in columns if column not in value]
        if missing:
            raise _absent(f"{name} (line {number})", role, missing, list(value))
        for column in columns:
            found[column].append(_cell(value[column], name, column, role))
    return found


def _parquet(path: Path, columns: list[str], role: str, max_bytes: int) -> dict[str, list[str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
        present = list(file.schema_arrow.names)
        missing = [column for column in columns if column not in present]
        if missing:
            raise _absent(path.name, role, missing, present)
        size = sum(file.metadata.row_group(i).total_byte_size for i in range(file.metadata.num_row_groups))
        if size > max_bytes:
            raise _too_large(path, role, max_bytes)
        table = file.read(columns=columns)
        return {
            column: [_cell(value, path.name, column, role) for value in table.column(column).to_pylist()]
            for column in columns
        }
    except (pa.ArrowException, OSError, ValueError) as error:
        raise BadInputError(f"the {role} file {path.name} is not readable parquet ({type(error).__name__})") from None


def _cell(value: object, name: str, column: str, role: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise BadInputError(
        f"column {column!r} of the {role} file {name} holds {type(value).__name__}, not text; give a text column"
    )
