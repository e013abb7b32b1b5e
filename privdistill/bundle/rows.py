"""The published rows: what a data file may contain, and its JSON-lines twin.

Columns are exactly `text`, `label` and optionally `soft_label`, so no score, index or identifier of a source record
slips out as an extra column, nor as metadata of the file. It does not know the claim.
"""

import io
import json
from dataclasses import dataclass
from typing import Any

from privdistill.errors import RefusedError

__all__ = ["Table", "read_rows"]

_COLUMNS = (("text", "label"), ("text", "label", "soft_label"))
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
        table = file.read()
        raw: dict[bytes, bytes] = file.metadata.metadata or {}
    except (pa.ArrowException, OSError, ValueError) as error:
        raise RefusedError(f"the rows are not a readable parquet file ({type(error).__name__})") from None
    columns = tuple(table.column_names)
    if columns not in _COLUMNS:
        raise RefusedError(
            f"expected the columns text, label and optionally soft_label, found {len(columns)} other columns"
        )
    for name in ("text", "label"):
        kind = table.schema.field(name).type
        if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise RefusedError(f"expected text in column {name}, found {kind}")
    if "soft_label" in columns:
        kind = table.schema.field("soft_label").type
        if not (pa.types.is_struct(kind) and all(pa.types.is_floating(field.type) for field in kind)):
            raise RefusedError(f"expected one probability a class in column soft_label, found {kind}")
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
