"""A ledger as text, one JSON object a line: for keeping elsewhere, and for checking without the database.

The first line names the ledger; every other is an entry. It holds no key and no hash of a unit.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from privdistill.accounting.ledger.chain import BrokenLedgerError, Entry
from privdistill.accounting.ledger.replay import replay
from privdistill.accounting.ledger.storage import SCHEMA_VERSION
from privdistill.errors import ConfigError

__all__ = ["export_lines", "verify_export"]


def export_lines(ledger_id: str, entries: Iterable[Entry]) -> Iterator[str]:
    """Header and entries, without line ends."""
    yield json.dumps({"ledger_id": ledger_id, "schema_version": SCHEMA_VERSION}, sort_keys=True)
    for entry in entries:
        yield json.dumps(entry.as_json(), sort_keys=True, allow_nan=False)


def verify_export(file: Path) -> tuple[int, str]:
    """Replay an export; returns the number and digest of its newest entry.

    Raises:
        ConfigError: it is not an export of this schema.
        BrokenLedgerError: naming the first entry that does not hold.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
        header = json.loads(lines[0])
        if header["schema_version"] != SCHEMA_VERSION:
            raise ValueError
        ledger_id = str(header["ledger_id"])
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        raise ConfigError(
            f"{file} is not an export of a ledger of schema version {SCHEMA_VERSION}; "
            "`privdistill ledger export` makes one"
        ) from None
    found = replay(ledger_id, _entries(lines[1:]))
    return max(found.items(), default=(0, ""))


def _entries(lines: Iterable[str]) -> Iterator[Entry]:
    for number, line in enumerate(lines, start=1):
        try:
            entry = Entry(**json.loads(line))
        except (ValueError, TypeError):
            raise BrokenLedgerError(number, "it is not an entry") from None
        if not isinstance(entry.body, dict):
            raise BrokenLedgerError(number, "its content is not that of an entry")
        yield entry
