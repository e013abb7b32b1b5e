"""The published rows: what a data file may contain, and its JSON-lines twin.

Columns are exactly `text`, the declared fields, `label` and optionally `soft_label`, `rationale` and `step_difficulty`,
so no score, index or identifier of a source record slips out as an extra column, nor as metadata of the file; and the
fields are the ones that their text is made of, so they hold nothing that the audit did not read. A file from a stranger
may be a bomb: counts and sizes that it states are looked at before a column is read, repeated values are not multiplied
in memory, and what they would come to is counted before it is written out. It does not know the claim.
"""

import io
import json
from dataclasses import dataclass
from typing import Any

from privdistill.errors import RefusedError
from privdistill.features.fields import divided

__all__ = ["Table", "read_rows"]

_EXPLAINED = ("rationale", "step_difficulty")
_MAX_ROWS = 5_000_000
_MAX_UNCOMPRESSED = 2**30
_MAX_TEXT_BYTES = 2**29
_METADATA = {b"ARROW:schema", b"huggingface", b"pandas"}


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a bundle.

    Attributes:
        columns: names, in order.
        rows: how many.
        jsonl: one JSON object a line, ASCII only: escape sequences of any kind stay escaped when somebody prints the
        file. metadata: text of the file's key-value metadata, for the search for local traces.
    """

    columns: tuple[str, ...]
    rows: int
    jsonl: bytes
    metadata: str


def read_rows(content: bytes, fields: tuple[str, ...] = ()) -> Table:
    """Read a parquet file.

    Args:
        content: of the file.
        fields: the columns that a text is made of, as the claim declares them.

    Raises:
        RefusedError: not parquet, not exactly the columns and types that may be published, or fields that are not the
            ones of their text.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        raw: dict[bytes, bytes] = file.metadata.metadata or {}
        columns = _columns(file.schema_arrow, fields)
        worded = [name for name in columns if name not in ("soft_label", "step_difficulty")]
        _refuse_bomb(file.metadata)
        table = pq.ParquetFile(io.BytesIO(content), read_dictionary=worded).read()
        for name in worded:
            _refuse_flood(table.column(name))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RefusedError(f"the rows are not a readable parquet file ({type(error).__name__})") from None
    if not set(raw) <= _METADATA:
        raise RefusedError("the parquet file carries metadata of an unknown kind; write the columns of the rows only")
    rows: list[dict[str, Any]] = table.to_pylist()
    if fields and any(divided(row["text"] or "", len(fields)) != tuple(row[name] for name in fields) for row in rows):
        raise RefusedError("a field of a row is not the one that its text is made of")
    if "step_difficulty" in columns and not all(0 <= (row["step_difficulty"] or 0.0) <= 1 for row in rows):
        raise RefusedError("a step difficulty is not a number from 0 to 1")
    lines = (json.dumps(row, ensure_ascii=True, allow_nan=False, separators=(",", ":")) for row in rows)
    try:
        jsonl = "".join(f"{line}\n" for line in lines).encode("ascii")
    except ValueError:
        raise RefusedError("a soft label is not a finite number") from None
    readable = (value for key, value in sorted(raw.items()) if key != b"ARROW:schema")
    return Table(columns, len(rows), jsonl, "\n".join(value.decode("utf-8", "replace") for value in readable))


def _columns(schema: Any, fields: tuple[str, ...]) -> tuple[str, ...]:
    import pyarrow as pa

    columns = tuple(schema.names)
    plain = ("text", *fields, "label")
    explained = _EXPLAINED if fields else ()
    if columns not in {plain + soft + more for soft in ((), ("soft_label",)) for more in ((), explained)}:
        raise RefusedError(
            f"expected the columns {', '.join(map(repr, plain))} and optionally soft_label"
            f"{''.join(f', {name}' for name in explained)}, found {len(columns)} other columns"
        )
    for name in (*plain, *(("rationale",) if "rationale" in columns else ())):
        kind = schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise RefusedError(f"expected text in column {name}, found {kind}")
    if "soft_label" in columns:
        kind = schema.field("soft_label").type
        if not (pa.types.is_struct(kind) and all(pa.types.is_floating(field.type) for field in kind)):
            raise RefusedError(f"expected one probability a class in column soft_label, found {kind}")
    if "step_difficulty" in columns and not pa.types.is_floating(schema.field("step_difficulty").type):
        raise RefusedError(f"expected numbers in column step_difficulty, found {schema.field('step_difficulty').type}")
    return columns


def _refuse_bomb(metadata: Any) -> None:
    """Look at what the footer states, before any column is read."""
    if metadata.num_rows > _MAX_ROWS:
        raise RefusedError(f"expected at most {_MAX_ROWS:,} rows, found {metadata.num_rows:,} stated")
    groups = [metadata.row_group(i) for i in range(min(metadata.num_row_groups, _MAX_ROWS))]
    if sum(group.num_rows for group in groups) != metadata.num_rows:
        raise RefusedError("the parquet file states another number of rows than its parts")
    size = sum(group.column(i).total_uncompressed_size for group in groups for i in range(group.num_columns))
    if size > _MAX_UNCOMPRESSED:
        raise RefusedError(f"expected rows of at most {_MAX_UNCOMPRESSED:,} bytes unpacked, found {size:,} stated")


def _refuse_flood(column: Any) -> None:
    """Count what repeated values come to; a megabyte said once and meant a million times is a terabyte."""
    import pyarrow.compute as pc

    total = 0
    for chunk in column.chunks:
        lengths = pc.take(pc.binary_length(chunk.dictionary), chunk.indices)
        total += pc.sum(lengths.cast("int64")).as_py() or 0
    if total > _MAX_TEXT_BYTES:
        raise RefusedError(f"expected at most {_MAX_TEXT_BYTES:,} bytes of text in a column, found {total:,}")
