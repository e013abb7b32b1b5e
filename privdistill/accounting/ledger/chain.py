"""Entries and the hash chain that they form: each commits to everything before it.

An entry is appended and never changed. Its digest covers its own content and the digest of the entry before; the first
one follows the ledger's random id. Whoever changes, removes or inserts an entry breaks the chain at that place, unless
every later digest is made again; the head's digest, noted elsewhere, shows that too.

It does not know what an entry's content means.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from privdistill.accounting.ledger.storage import ENTRIES, now
from privdistill.errors import MechanismError, RefusedError

__all__ = ["BrokenLedgerError", "Entry", "Kind", "append", "last", "select", "unbroken"]

Kind = Literal[
    "opened", "joined", "reserved", "resumed", "drawn", "kept", "committed", "abandoned", "linked", "reviewed"
]
_DOMAIN = "privdistill/ledger/v1"
_KINDS = frozenset(get_args(Kind))


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger.

    Attributes:
        number: 1, 2, 3, ... without a gap.
        at: UTC, by the clock of whoever wrote it.
        kind: what happened.
        source_id: to which source.
        run_id: by which run; empty when no run is concerned.
        name: the mechanism, the source's name, or another key that is unique for this kind and run.
        body: the rest.
        previous: digest of the entry before.
        digest: sha256 over all of the above.
    """

    number: int
    at: str
    kind: Kind
    source_id: str
    run_id: str
    name: str
    body: Mapping[str, Any]
    previous: str
    digest: str

    def as_json(self) -> dict[str, Any]:
        """The entry as one JSON object; `digest` can be computed again from the others."""
        return {
            "number": self.number,
            "at": self.at,
            "kind": self.kind,
            "source_id": self.source_id,
            "run_id": self.run_id,
            "name": self.name,
            "body": dict(self.body),
            "previous": self.previous,
            "digest": self.digest,
        }


class BrokenLedgerError(RefusedError):
    """The chain, or what it says, does not hold from this entry on."""

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(
            f"the ledger is broken at entry {number}: {reason}. Nothing after the entry before it can be relied on; "
            "restore a copy whose head is known to be right"
        )
        self.number, self.reason = number, reason


def append(
    db: sa.Connection,
    ledger_id: str,
    kind: Kind,
    *,
    source_id: str,
    run_id: str = "",
    name: str = "",
    body: Mapping[str, Any] | None = None,
) -> Entry:
    """Add one entry, inside a writing transaction.

    Raises:
        MechanismError: there is one of this kind, run and name already.
    """
    before = db.execute(
        sa.select(ENTRIES.c.number, ENTRIES.c.digest).order_by(ENTRIES.c.number.desc()).limit(1)
    ).first()
    number, previous = (int(before[0]) + 1, str(before[1])) if before else (1, _genesis(ledger_id))
    at, text = now(), _canonical(body or {})
    digest = _digest(number, at, kind, source_id, run_id, name, text, previous)
    entry = Entry(number, at, kind, source_id, run_id, name, json.loads(text), previous, digest)
    try:
        db.execute(ENTRIES.insert().values(**entry.as_json() | {"body": text}))
    except IntegrityError:
        raise MechanismError(f"the ledger has an entry {kind!r} for {name or run_id!r} already") from None
    return entry


def select(db: sa.Connection, kind: Kind | None = None, **columns: str) -> Iterator[Entry]:
    """Entries of a kind with these values (`source_id`, `run_id`, `name`), oldest first."""
    query = sa.select(ENTRIES).order_by(ENTRIES.c.number)
    for column, value in (columns | ({"kind": kind} if kind else {})).items():
        query = query.where(ENTRIES.c[column] == value)
    return (_entry(row) for row in db.execute(query))


def last(db: sa.Connection, kind: Kind | None = None, **columns: str) -> Entry | None:
    """The newest such entry."""
    query = sa.select(ENTRIES).order_by(ENTRIES.c.number.desc()).limit(1)
    for column, value in (columns | ({"kind": kind} if kind else {})).items():
        query = query.where(ENTRIES.c[column] == value)
    row = db.execute(query).first()
    return _entry(row) if row is not None else None


def unbroken(ledger_id: str, entries: Iterable[Entry]) -> Iterator[Entry]:
    """Pass entries on as long as the chain holds.

    Raises:
        BrokenLedgerError: at the first entry that is not what the chain commits to.
    """
    expected, previous = 1, _genesis(ledger_id)
    for entry in entries:
        if entry.number != expected:
            raise BrokenLedgerError(expected, "it is missing")
        if entry.previous != previous:
            raise BrokenLedgerError(entry.number, "it does not follow the entry before")
        if entry.kind not in _KINDS:
            raise BrokenLedgerError(entry.number, "it is of an unknown kind")
        fields = (entry.number, entry.at, entry.kind, entry.source_id, entry.run_id, entry.name)
        if _digest(*fields, _canonical(entry.body), entry.previous) != entry.digest:
            raise BrokenLedgerError(entry.number, "its content is not what its digest commits to")
        expected, previous = expected + 1, entry.digest
        yield entry


def _entry(row: sa.Row[Any]) -> Entry:
    found = row._asdict()
    try:
        body = json.loads(found["body"])
    except ValueError:
        body = None
    # A body that is no object was not written here; the digest will not match it.
    return Entry(**found | {"number": int(found["number"]), "body": body if isinstance(body, dict) else {}})


def _digest(*fields: object) -> str:
    return hashlib.sha256(json.dumps([_DOMAIN, *fields], ensure_ascii=True).encode()).hexdigest()


def _genesis(ledger_id: str) -> str:
    return _digest("genesis", ledger_id)


def _canonical(body: Mapping[str, Any]) -> str:
    return json.dumps(dict(body), sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
