"""The published rows: what a data file may contain, and its JSON-lines twin.

Columns are exactly `text`, `label` and optionally `soft_label`, so no score, index or identifier of a source record
slips out as an extra column, nor as metadata of the file. A file from a stranger may be a bomb: counts and sizes that
it states are looked at before a column is read, repeated values are not multiplied in memory, and what they would come
to is counted before it is written out. It does not know the claim.
"""

import io
import json
from dataclasses import dataclass
from typing import Any

from privdistill.errors import RefusedError

__all__ = ["Table", "read_rows"]

_COLUMNS = (("text", "label"), ("text", "label", "soft_label"))
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


def read_rows(content: bytes) -> Table:
    """Read a parquet file.

    Raises:
        RefusedError: not parquet, or not exactly the columns and types that may be published.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(io.BytesIO(content))
        raw: dict[bytes, bytes] = file.metadata.metadata or {}
        columns = _columns(file.schema_arrow)
        _refuse_bomb(file.metadata)
        table = pq.ParquetFile(io.BytesIO(content), read_dictionary=["text", "label"]).read()
        for name in ("text", "label"):
            _refuse_flood(table.column(name))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RefusedError(f"the rows are not a readable parquet file ({type(error).__name__})") from None
    if not set(raw) <= _METADATA:
        raise RefusedError(
            "the parquet file carries metadata of an unknown kind; write text, label and soft_label only"
        )
    rows: list[dict[str, Any]] = table.to_pylist()
    lines = (json.dumps(row, ensure_ascii=True, allow_nan=False, separators=(",", ":")) for row in rows)
    try:
        jsonl = "".join(f"{line}\n" for line in lines).encode("ascii")
    except ValueError:
        raise RefusedError("a soft label is not a finite number") from None
    readable = (value for key, value in sorted(raw.items()) if key != b"ARROW:schema")
    return Table(columns, len(rows), jsonl, "\n".join(value.decode("utf-8", "replace") for value in readable))


def _columns(schema: Any) -> tuple[str, ...]:
    import pyarrow as pa

    columns = tuple(schema.names)
    if columns not in _COLUMNS:
        raise RefusedError(
            f"expected the columns text, label and optionally soft_label, found {len(columns)} other columns"
        )
    for name in ("text", "label"):
        kind = schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise RefusedError(f"expected text in column {name}, found {kind}")
    if "soft_label" in columns:
        kind = schema.field("soft_label").type
        if not (pa.types.is_struct(kind) and all(pa.types.is_floating(field.type) for field in kind)):
            raise RefusedError(f"expected one probability a class in column soft_label, found {kind}")
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
