"""Read a corpus file as it is: csv, tsv, jsonl (each also .gz) and parquet, through `datasets`, without leaving a copy.

Streaming keeps `datasets` from writing a clear-text cache. It does not know privacy units, labels lists or what the
records are for; messages name columns and row numbers, never content.
"""

import csv
import gzip
import math
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from privdistill.corpus.faults import columns_found, first_fault
from privdistill.errors import CorpusError
from privdistill.features.fields import joined

__all__ = ["Records", "read"]

_CSV = {".csv": ",", ".tsv": "\t"}
_JSON = (".jsonl", ".ndjson")
_NO_GROUP = "(none)"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Records:
    """Records in file order; those with an empty text, or an empty field, are left out, each by itself.

    Attributes:
        texts: n texts.
        labels: n labels (an absent value is the empty label), or None.
        units: n unit ids, or None when each record is a unit.
        groups: n names of groups (an absent value is in `(none)`), or None.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    units: tuple[str, ...] | None
    groups: tuple[str, ...] | None = None


def read(
    path: Path,
    *,
    text_column: str,
    label_column: str | None,
    unit_column: str | None = None,
    group_column: str | None = None,
    fields: Sequence[str] = (),
    advice: str = "Name the right one with --text-column, --fields, --label-column or --unit",
) -> Records:
    """Read the named columns of a corpus; with `fields`, these columns make up a text instead of `text_column`.

    Args:
        path: the file.
        text_column: the texts.
        label_column: the labels, or None.
        unit_column: who a record is of, or None; every record has a value.
        group_column: what records are told apart by in a report, or None; a record may have no value.
        fields: columns that make up a text.
        advice: what to do about an absent column, in the words of the caller's options.

    Raises:
        CorpusError: missing or empty file, unknown format, absent column, invalid encoding, mixed types, a missing unit
            value, fewer than two records with text.
    """
    if path.is_dir():
        raise CorpusError(f"{path} is a folder; name the csv, tsv, jsonl (also .gz) or parquet file in it")
    if not path.is_file():
        raise CorpusError(f"no corpus at {path}; expected a csv, tsv, jsonl (also .gz) or parquet file")
    if path.stat().st_size == 0:
        raise CorpusError(f"{path} is empty; expected a header or a first record")
    parts = tuple(fields) or (text_column,)
    wanted = [column for column in (*parts, label_column, unit_column, group_column) if column is not None]
    texts, labels, units, groups = [], [], [], []
    for number, row in enumerate(_rows(path, wanted, advice), start=1):
        text = joined([_text(row.get(part), number, part, path) for part in parts])
        if text is None:
            continue
        if unit_column is not None:
            unit = _scalar(row.get(unit_column), number, unit_column)
            if not unit.strip():
                raise CorpusError(
                    f"row {number} of {path.name} has no value in unit column {unit_column!r}; every record "
                    f"needs its unit"
                )
            units.append(unit)
        if label_column is not None:
            labels.append(_scalar(row.get(label_column), number, label_column))
        if group_column is not None:
            groups.append(_scalar(row.get(group_column), number, group_column).strip() or _NO_GROUP)
        texts.append(text)
    if len(texts) < 2:
        found = "one record" if texts else "none"
        columns = f"column {parts[0]!r}" if len(parts) == 1 else f"each of the columns {', '.join(map(repr, parts))}"
        raise CorpusError(f"expected at least two records with text in {columns} of {path.name}, found {found}")
    return Records(
        tuple(texts),
        tuple(labels) if label_column is not None else None,
        tuple(units) if unit_column is not None else None,
        tuple(groups) if group_column is not None else None,
    )


def _text(value: object, row: int, column: str, path: Path) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise CorpusError(
        f"row {row} of {path.name}: expected text in column {column!r}, found {type(value).__name__}; make the column "
        "text throughout"
    )


def _scalar(value: object, row: int, column: str) -> str:
    """The value as text; whole numbers have no fraction, since a gap in a column makes floats of them."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str | int | float):
        return str(value)
    raise CorpusError(f"row {row}: expected a word or a number in column {column!r}, found {type(value).__name__}")


def _rows(path: Path, wanted: list[str], advice: str) -> Iterator[dict[str, Any]]:
    kind, zipped = _format(path)
    if kind in _CSV:
        separator = _CSV[kind]
        header = _header(path, separator, zipped)
        _require(header, wanted, path, advice)
        options: dict[str, Any] = {"sep": separator, "keep_default_na": False, "index_col": False, "features": header}
        yield from _stream("csv", path, options)
    elif kind in _JSON:
        yield from _checked(_stream("json", path, {}), wanted, path, advice)
    elif kind == ".parquet" and not zipped:
        yield from _checked(_stream("parquet", path, {}), wanted, path, advice)
    else:
        raise CorpusError(f"{path.name}: unknown format; expected .csv, .tsv, .jsonl (also .gz) or .parquet")


def _format(path: Path) -> tuple[str, bool]:
    """The suffix that names the format, and whether the file is compressed."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    zipped = suffixes[-1:] == [".gz"]
    return ((suffixes[:-1] if zipped else suffixes)[-1:] or [""])[0], zipped


def _header(path: Path, separator: str, zipped: bool) -> list[str]:
    try:
        with (gzip.open if zipped else open)(path, "rt", encoding="utf-8-sig", newline="") as lines:
            header = next(csv.reader(lines, delimiter=separator), [])
    except (UnicodeDecodeError, gzip.BadGzipFile, EOFError, csv.Error) as error:
        raise _unreadable(path, error) from None
    if len(set(header)) != len(header):
        raise CorpusError(f"{path.name}: the header names a column twice; rename one of them")
    return [str(column) for column in header]


def _require(found: Iterable[str], wanted: list[str], path: Path, advice: str) -> None:
    columns = list(found)
    absent = [column for column in wanted if column not in columns]
    if absent:
        raise CorpusError(f"{path.name} has no column {absent[0]!r}; {columns_found(columns, wanted)}. {advice}")


def _checked(rows: Iterable[dict[str, Any]], wanted: list[str], path: Path, advice: str) -> Iterator[dict[str, Any]]:
    for number, row in enumerate(rows):
        if number == 0:
            _require(row, wanted, path, advice)
        yield row


def _stream(kind: str, path: Path, options: dict[str, Any]) -> list[dict[str, Any]]:
    import warnings

    import datasets
    from pandas.errors import ParserWarning

    datasets.utils.logging.set_verbosity(datasets.utils.logging.CRITICAL)  # its messages may quote records
    if "features" in options:
        options = options | {"features": datasets.Features({c: datasets.Value("string") for c in options["features"]})}
    with tempfile.TemporaryDirectory(prefix="privdistill-") as folder, warnings.catch_warnings():
        # pandas says so when a row has more fields than the header: that is a broken row, not a longer text.
        warnings.filterwarnings("error", category=ParserWarning)
        try:
            found = datasets.load_dataset(
                kind, data_files=str(path), split="train", streaming=True, cache_dir=folder, **options
            )
            return list(found)
        except Exception as error:
            raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> CorpusError:
    chain = [error, error.__cause__, error.__context__]
    if any(isinstance(one, UnicodeError) or (one is not None and "UTF-8" in str(one)) for one in chain):
        return CorpusError(f"{path.name} is not valid UTF-8; convert it, for example with iconv")
    kind, zipped = _format(path)
    if zipped and any(isinstance(one, OSError | EOFError) for one in chain):
        return CorpusError(f"{path.name} is not a complete gzip file; write it again, or drop the suffix .gz")
    if kind == ".parquet":
        return CorpusError(f"{path.name} is not a complete parquet file; write it again")
    fault = first_fault(path, _CSV.get(kind), zipped=zipped)
    return CorpusError(
        f"{path.name} cannot be read{f': {fault}' if fault else ''}; check that every row has the columns of the "
        "header and one type per column"
    )
