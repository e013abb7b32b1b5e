"""What each source has lost over all its runs: an append-only, hash-chained ledger in SQLite or PostgreSQL."""

from privdistill.accounting.ledger.attempt import Attempt
from privdistill.accounting.ledger.book import DEFAULT_CAP, Ledger
from privdistill.accounting.ledger.chain import BrokenLedgerError, Entry
from privdistill.accounting.ledger.export import verify_export
from privdistill.accounting.ledger.standing import Source, Total
from privdistill.accounting.ledger.storage import default_ledger

__all__ = [
    "DEFAULT_CAP",
    "Attempt",
    "BrokenLedgerError",
    "Entry",
    "Ledger",
    "Source",
    "Total",
    "default_ledger",
    "verify_export",
]
