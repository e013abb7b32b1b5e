"""What each source has lost so far: an SQLite ledger of every mechanism of every run.

Order of events, kept by every caller: `open_source`, `reserve_once` (one transaction for the whole plan, before
anything private becomes a number), then per mechanism `draw` (a one-way mark, before its noise is drawn). Nothing is
ever refunded: a reserved charge counts like a drawn one, so a crash between any two statements never under-counts. A
second `draw` of the same mechanism is refused, hence noise is drawn once.

A source is a declared name with a random id, not a content hash; its secret key decides sides and contribution
subsets and is kept here so that they stay the same across runs. The file is created with mode 0600.

It does not know how a mechanism works, nor what a policy thinks of a total.
"""

import json
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from privdistill.accounting.accountant import Event, first_opinion
from privdistill.accounting.budget import Budget
from privdistill.errors import BudgetError, ConfigError, MechanismError, RunError
from privdistill.mechanisms.release import MechanismRecord, Reservation

__all__ = ["Ledger", "Source", "Total", "default_ledger"]

_SCHEMA = """
CREATE TABLE IF NOT EXISTS sources (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, key BLOB NOT NULL, unit TEXT NOT NULL, holdout REAL NOT NULL,
    created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS runs (
    id TEXT PRIMARY KEY, source_id TEXT NOT NULL REFERENCES sources(id), epsilon REAL, delta REAL,
    delta_composition REAL NOT NULL, created_at TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS charges (
    run_id TEXT NOT NULL REFERENCES runs(id), name TEXT NOT NULL, kind TEXT NOT NULL, noise_multiplier REAL,
    sample_rate REAL NOT NULL, steps INTEGER NOT NULL, drawn_at TEXT, mechanism TEXT, PRIMARY KEY (run_id, name));
"""


@dataclass(frozen=True, slots=True)
class Source:
    """A source of private records, as the ledger knows it. `key` never leaves the private side."""

    id: str
    name: str
    key: bytes
    unit: str
    holdout: float


@dataclass(frozen=True, slots=True)
class Total:
    """What a source has lost over all its runs.

    Attributes:
        epsilon: of the composition of all charges at `delta_composition`; 0 without charges.
        delta: sum of the deltas of the runs.
        delta_composition: sum of their composition parts.
        attempts: runs that reserved a charge.
        unprotected: runs of kind `none` among them; they claim nothing and are not part of epsilon.
    """

    epsilon: float
    delta: float
    delta_composition: float
    attempts: int
    unprotected: int


def default_ledger() -> Path:
    """The user's ledger: PRIVDISTILL_STATE_DIR, or the platform's state directory."""
    folder = os.environ.get("PRIVDISTILL_STATE_DIR") or platformdirs.user_state_dir("privdistill")
    return Path(folder) / "ledger.sqlite3"


class Ledger:
    """One ledger file, shared by any number of processes of this machine."""

    def __init__(self, path: Path | str | None = None) -> None:
        """Open or create the ledger.

        Raises:
            ConfigError: the path is a URL (only SQLite files are kept so far) or not a ledger.
            RunError: the file cannot be created.
        """
        if path is not None and "://" in str(path):
            raise ConfigError("expected the path of an SQLite ledger, found a URL; name a file on this machine")
        self.path = Path(path) if path is not None else default_ledger()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise RunError(
                f"the ledger {self.path} cannot be written ({error.strerror}); name another with --ledger"
            ) from None
        try:
            with self._transaction() as db:
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    db.execute(statement)
        except sqlite3.DatabaseError as error:
            raise ConfigError(
                f"{self.path} is not a ledger ({type(error).__name__}); name another with --ledger"
            ) from None

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=60, isolation_level=None)) as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA foreign_keys=ON")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")

    def open_source(self, name: str, *, unit: str, holdout: float) -> Source:
        """Find the source of that name or create it with a fresh random id and key.

        Raises:
            BudgetError: the source was opened with another unit or holdout; guarantees of different units do not add
            up.
        """
        with self._transaction() as db:
            row = db.execute("SELECT id, name, key, unit, holdout FROM sources WHERE name = ?", (name,)).fetchone()
            if row is None:
                row = (secrets.token_hex(8), name, secrets.token_bytes(32), unit, holdout)
                db.execute("INSERT INTO sources VALUES (?, ?, ?, ?, ?, ?)", (*row, _now()))
        source = Source(*row)
        if (source.unit, source.holdout) != (unit, holdout):
            raise BudgetError(
                f"source {name!r} is kept with unit {source.unit!r} and holdout {source.holdout}, found {unit!r} and "
                f"{holdout}; use the same, or name another source with --source if these are other people"
            )
        return source

    def reserve_once(
        self, source: Source, run_id: str, mechanisms: Sequence[Reservation], budget: Budget | None
    ) -> None:
        """Charge every mechanism of a run in one transaction; nothing happens when the run has already reserved.

        Called before any record of the source becomes a number that leaves.

        Args:
            source: who is charged.
            run_id: who charges.
            mechanisms: the whole plan.
            budget: None for a run that claims nothing.
        """
        with self._transaction() as db:
            if db.execute("SELECT 1 FROM runs WHERE id = ?", (run_id,)).fetchone():
                return
            totals = (budget.epsilon, budget.delta, budget.delta_composition) if budget else (None, None, 0.0)
            db.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)", (run_id, source.id, *totals, _now()))
            db.executemany(
                "INSERT INTO charges VALUES (?, ?, ?, ?, ?, ?, NULL, NULL)",
                [(run_id, *Reservation(*mechanism)) for mechanism in mechanisms],
            )

    def charger(
        self, source: Source, run_id: str, mechanisms: Sequence[Reservation], budget: Budget | None
    ) -> Callable[[MechanismRecord], None]:
        """What a door calls before each noise: reserves the whole plan the first time, then marks this one as drawn."""

        def charge(record: MechanismRecord) -> None:
            self.reserve_once(source, run_id, mechanisms, budget)
            self.draw(run_id, record)

        return charge

    def draw(self, run_id: str, record: MechanismRecord) -> None:
        """Mark a reserved mechanism as drawn, once, before its noise is drawn.

        Raises:
            MechanismError: nothing was reserved for it, with these parameters, or it was drawn before.
        """
        with self._transaction() as db:
            changed = db.execute(
                "UPDATE charges SET drawn_at = ?, mechanism = ? WHERE run_id = ? AND name = ? AND drawn_at IS NULL"
                " AND noise_multiplier IS ? AND sample_rate = ? AND steps = ?",
                (
                    _now(),
                    json.dumps(asdict(record), sort_keys=True),
                    run_id,
                    record.name,
                    record.noise_multiplier,
                    record.sample_rate,
                    record.steps,
                ),
            ).rowcount
        if changed != 1:
            raise MechanismError(
                f"mechanism {record.name!r} has no open reservation with these parameters in run {run_id}: it "
                f"was drawn "
                "before, or never planned; nothing was released"
            )

    def mechanisms(self, run_id: str) -> tuple[dict[str, object], ...]:
        """The drawn mechanisms of a run, as recorded."""
        with self._transaction() as db:
            rows = db.execute(
                "SELECT mechanism FROM charges WHERE run_id = ? AND drawn_at IS NOT NULL ORDER BY drawn_at, rowid",
                (run_id,),
            ).fetchall()
        return tuple(json.loads(row[0]) for row in rows)

    def sources(self) -> tuple[tuple[str, str, str], ...]:
        """(id, name, unit) of every source, oldest first."""
        with self._transaction() as db:
            return tuple(db.execute("SELECT id, name, unit FROM sources ORDER BY created_at, id").fetchall())

    def total(self, source_id: str) -> Total:
        """Composition of everything charged to a source, reserved or drawn."""
        with self._transaction() as db:
            runs = db.execute("SELECT delta, delta_composition FROM runs WHERE source_id = ?", (source_id,)).fetchall()
            charges = db.execute(
                "SELECT kind, noise_multiplier, sample_rate, steps FROM charges"
                " WHERE run_id IN (SELECT id FROM runs WHERE source_id = ?)",
                (source_id,),
            ).fetchall()
        events = [Event(noise, rate, steps) for kind, noise, rate, steps in charges if kind != "none"]
        delta_composition = sum(row[1] for row in runs)
        epsilon = first_opinion(events, min(delta_composition, 1 - 1e-12)).epsilon if events else 0.0
        return Total(
            epsilon=epsilon,
            delta=sum(row[0] or 0.0 for row in runs),
            delta_composition=delta_composition,
            attempts=len(runs),
            unprotected=sum(1 for kind, *_ in charges if kind == "none"),
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
