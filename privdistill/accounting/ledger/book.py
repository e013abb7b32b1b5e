"""The ledger: every charge of every run on a source, reserved before noise and never refunded.

Order of events, kept by every caller: `open_source`, which writes nothing; `attempt` (whose units, and is there room:
refused before anything is spent or final); then, at the first mechanism, a new source is opened, the units join it, and
the whole plan is reserved in one transaction; each mechanism is marked as drawn before its noise is drawn; when the
candidate is written the run is committed, or else abandoned; what was interrupted stays open and may be resumed under
its reservation. Every step is one entry, on disk before the next may happen; a reservation counts from its entry on,
whatever becomes of the run, so a crash between any two statements never under-counts.

It does not know how a mechanism works, nor what a policy thinks of a total.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa

from privdistill.accounting.budget import Budget
from privdistill.accounting.filter import Cap, Loss
from privdistill.accounting.ledger.attempt import Attempt, Begun
from privdistill.accounting.ledger.chain import BrokenLedgerError, Entry, append, last, select
from privdistill.accounting.ledger.export import export_lines
from privdistill.accounting.ledger.identity import Fingerprints, Identity
from privdistill.accounting.ledger.keyring import Keyring
from privdistill.accounting.ledger.opening import DEFAULT_CAP, declare, declared_before, find, write_opened
from privdistill.accounting.ledger.replay import replay
from privdistill.accounting.ledger.standing import (
    Remaining,
    Source,
    Standing,
    Total,
    does_not_fit,
    linked,
    opened,
    run_loss,
    standing,
)
from privdistill.accounting.ledger.storage import Storage
from privdistill.errors import BudgetError, ConfigError, IndeterminateError, MechanismError, RunError
from privdistill.mechanisms.release import MechanismRecord, Reservation

__all__ = ["DEFAULT_CAP", "Ledger"]

_ADDED = 0.11
"""Share of a run's delta that adds up at most: that of the discretisation and of a label threshold."""
_CLOSING = frozenset({"committed", "abandoned"})


class Ledger:
    """One ledger, shared by any number of processes, and in PostgreSQL by machines."""

    def __init__(self, address: Path | str | None = None, *, create: bool = True) -> None:
        """Open or create the ledger at a path or URL; by default the user's own.

        Raises:
            ConfigError: the address is not one, or not that of a ledger.
            RunError: it cannot be reached or written.
        """
        self._storage = Storage(address, create=create)
        self._keyring = Keyring(self._storage.private)

    @property
    def address(self) -> str:
        """Absolute path or URL."""
        return self._storage.address

    @property
    def private(self) -> Path:
        """Folder on this machine with the keys and the units; back it up with the ledger."""
        return self._keyring.folder

    def open_source(
        self,
        name: str,
        *,
        unit: str,
        holdout: float,
        cap: tuple[float | None, float | None] = (None, None),
    ) -> Source:
        """Find the source of that name, or prepare one: it is final, and in the ledger, with its first charge.

        Args:
            name: declared by the operator.
            unit: `record`, or the unit column.
            holdout: share of the control group.
            cap: (epsilon, delta) of the filter; None: the default of a new source, whatever a known one has.

        Raises:
            ConfigError: the source was opened with another unit, holdout or cap; guarantees of different units do not
                add up, and a cap that could be moved would be none.
        """
        with self._writing() as db:
            entry = last(db, "opened", name=name)
            if entry is None:
                return declare(self._keyring, name, unit=unit, holdout=holdout, cap=cap)
        return find(self._keyring, entry, unit=unit, holdout=holdout, cap=cap)

    def attempt(
        self,
        source: Source,
        plan: Sequence[Reservation],
        budget: Budget | None,
        fingerprints: Fingerprints,
        *,
        resumed: bool = False,
    ) -> Attempt:
        """Begin an attempt: whose units are these, and would the plan fit? Spends nothing.

        A resumed one has been admitted and charged before; its reservation is looked at when charging begins.

        Raises:
            BudgetError: units are shared with another source, or the cap is spent.
            ConfigError: an overlap cannot be told.
        """
        identity = Identity(self._storage, self._keyring, source, fingerprints)
        identity.check()
        if resumed:
            reopen = partial(self._reopen, source, plan, budget)
            return Attempt(lambda run_id: None, self.draw, self.keep, self.commit, self.abandon, reopen)
        with self._storage.reading() as db:
            self._admitted(db, source, run_loss(plan, budget))

        def reserve(run_id: str) -> None:
            identity.join(self._writing, lambda db: write_opened(db, self._storage.id, self._keyring, source))
            self.reserve_once(source, run_id, plan, budget)

        return Attempt(reserve, self.draw, self.keep, self.commit, self.abandon)

    def reserve_once(self, source: Source, run_id: str, plan: Sequence[Reservation], budget: Budget | None) -> None:
        """Charge every mechanism of a run in one transaction; nothing happens when the run has already reserved.

        Called before any record of the source becomes a number that leaves.

        Args:
            source: who is charged.
            run_id: who charges.
            plan: every mechanism of it.
            budget: None for a run that claims nothing.

        Raises:
            BudgetError: the charge does not fit under the cap.
        """
        loss = run_loss(plan, budget)
        with self._writing() as db:
            if last(db, "reserved", run_id=run_id) is not None:
                return
            write_opened(db, self._storage.id, self._keyring, source)
            after = self._admitted(db, source, loss)
            body = {
                "mechanisms": [planned._asdict() for planned in plan],
                "budget": _budget_json(budget),
                "charge": loss.as_json() if loss is not None else None,
                "total": after.as_json(),
            }
            append(db, self._storage.id, "reserved", source_id=source.id, run_id=run_id, body=body)

    def draw(self, run_id: str, record: MechanismRecord) -> None:
        """Mark a reserved mechanism as drawn, once, before its noise is drawn.

        Raises:
            MechanismError: nothing is reserved for it with these parameters, it was drawn before, or the run is closed.
        """
        asked = Reservation(record.name, record.kind, record.noise_multiplier, record.sample_rate, record.steps)
        with self._writing() as db:
            entries = list(select(db, run_id=run_id))
            reserved = [Reservation(**plan) for e in entries if e.kind == "reserved" for plan in e.body["mechanisms"]]
            spent = any(e.kind in _CLOSING or (e.kind == "drawn" and e.name == record.name) for e in entries)
            if asked not in reserved or spent:
                raise MechanismError(
                    f"mechanism {record.name!r} has no open reservation with these parameters in run {run_id}: it was "
                    "drawn before, or never planned; nothing was released"
                )
            source_id = entries[0].source_id
            body = asdict(record)
            append(db, self._storage.id, "drawn", source_id=source_id, run_id=run_id, name=record.name, body=body)

    def keep(self, run_id: str, name: str) -> None:
        """Mark what a drawn mechanism released as durably written: it is never drawn again. Twice is once.

        Raises:
            MechanismError: it was not drawn, or the run is closed.
        """
        with self._writing() as db:
            entries = list(select(db, run_id=run_id))
            said = {entry.kind for entry in entries if entry.name == name}
            if "drawn" not in said or any(entry.kind in _CLOSING for entry in entries):
                raise MechanismError(
                    f"mechanism {name!r} was not drawn in run {run_id}, or the run is closed; nothing is released"
                )
            if "kept" not in said:
                append(db, self._storage.id, "kept", source_id=entries[0].source_id, run_id=run_id, name=name, body={})

    def commit(self, run_id: str, claim_sha256: str | None) -> None:
        """Close a run whose candidate is written; store what its source has lost by now, and which claim was made."""
        self._close("committed", run_id, {"claim_sha256": claim_sha256})

    def abandon(self, run_id: str) -> None:
        """Close a run that ended otherwise. Nothing is refunded; nothing more can be drawn. Twice is once."""
        self._close("abandoned", run_id, {})

    def link(self, first: str, second: str, *, by: str, reason: str) -> None:
        """Join the accounts of two sources, for good: from now on their losses add up, under the stricter cap.

        One that no run was charged to yet is opened as it was declared last on this machine.

        Raises:
            BudgetError: their units differ, or they are linked already.
        """
        with self._writing() as db:
            for name in (first, second):
                declared = declared_before(self._keyring, name) if last(db, "opened", name=name) is None else None
                if declared is not None:
                    write_opened(db, self._storage.id, self._keyring, declared)
            a, b = self._named(db, first), self._named(db, second)
            if a.body["unit"] != b.body["unit"]:
                raise BudgetError(
                    f"{first!r} is kept by {a.body['unit']!r}, {second!r} by {b.body['unit']!r}; what is lost by "
                    "records and what is lost by people does not add up. Keep both by the same unit"
                )
            if b.source_id in linked(db, a.source_id):
                raise BudgetError(f"{first!r} and {second!r} are one account already")
            body = {"with": b.source_id, "by": _said(by, "--by"), "reason": _said(reason, "--reason")}
            append(
                db,
                self._storage.id,
                "linked",
                source_id=a.source_id,
                name=f"{a.source_id}+{b.source_id}",
                body=body,
            )

    def review(self, name: str, *, by: str, reason: str) -> int:
        """Record that a person has looked at all attempts on a source so far; returns how many these are.

        Raises:
            ConfigError: there was none, so nothing is recorded.
        """
        with self._writing() as db:
            source = self._named(db, name)
            counts = {id_: standing(db, [id_]).attempts for id_ in linked(db, source.source_id)}
            if not any(counts.values()):
                raise ConfigError(
                    f"no run was charged to {name!r}, so there is nothing to review; nothing was recorded"
                )
            body = {"by": _said(by, "--by"), "reason": _said(reason, "--reason"), "attempts": counts}
            append(db, self._storage.id, "reviewed", source_id=source.source_id, name=secrets.token_hex(8), body=body)
        return sum(counts.values())

    def mechanisms(self, run_id: str) -> tuple[dict[str, object], ...]:
        """The drawn mechanisms of a run, as recorded, in the order in which they were drawn."""
        with self._storage.reading() as db:
            return tuple(dict(entry.body) for entry in select(db, "drawn", run_id=run_id))

    def claim_sha256(self, run_id: str) -> str | None:
        """Digest of the claim that was made when a run was committed; None while it is open, or when it made none."""
        with self._storage.reading() as db:
            entry = last(db, "committed", run_id=run_id)
        return None if entry is None else entry.body.get("claim_sha256")

    def sources(self) -> tuple[tuple[str, str, str], ...]:
        """(id, name, unit) of every source, oldest first."""
        with self._storage.reading() as db:
            return tuple((id_, entry.name, str(entry.body["unit"])) for id_, entry in opened(db).items())

    def group(self, source_id: str) -> tuple[str, ...]:
        """Ids of all sources whose losses add up with this one's, itself included."""
        with self._storage.reading() as db:
            return linked(db, source_id)

    def total(self, source_id: str) -> Total:
        """What a source, with all that is linked to it, has lost: everything reserved counts."""
        with self._storage.reading() as db:
            return standing(db, linked(db, source_id)).total()

    def remaining(self, source_id: str, *, delta: float) -> Remaining:
        """What one more full-batch run at `delta` may take under every cap on a source."""
        with self._storage.reading() as db:
            group = linked(db, source_id)
            return Remaining.of(standing(db, group).loss, _caps(opened(db), group), added_delta=_ADDED * delta)

    def entries(self, source_id: str | None = None) -> tuple[Entry, ...]:
        """All entries, or those of one source, oldest first."""
        with self._storage.reading() as db:
            return tuple(select(db, source_id=source_id) if source_id is not None else select(db))

    def export(self) -> Iterator[str]:
        """The ledger as lines of JSON; see `export`."""
        return export_lines(self._storage.id, self.entries())

    def verify(self) -> tuple[int, str]:
        """Replay every entry; returns the number and digest of the newest.

        Raises:
            BrokenLedgerError: naming the first entry that does not hold.
        """
        seen = self._keyring.head()
        found = replay(self._storage.id, self.entries())
        if seen is not None and found.get(seen[0]) != seen[1]:
            raise BrokenLedgerError(seen[0], "this machine wrote it otherwise; entries were replaced or cut off")
        return max(found.items(), default=(0, ""))

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        seen = self._keyring.head()
        with self._storage.writing() as db:
            if seen is not None and not list(select(db, digest=seen[1])):
                raise IndeterminateError(
                    f"the ledger {self.address} has lost entries that this machine wrote (up to {seen[0]}), so what "
                    "was spent is not known; restore the newest copy before anything is charged"
                )
            yield db
            newest = last(db)
        if newest is not None:
            self._keyring.note_head(newest.number, newest.digest)

    def _admitted(self, db: sa.Connection, source: Source, loss: Loss | None) -> Standing:
        """The source's own standing after a charge; refused when the cap of any linked source would be passed."""
        group = linked(db, source.id)
        before = standing(db, group).loss
        for cap in _caps(opened(db), group) or [source.cap]:
            if loss is not None and not (before + loss).fits(cap):
                raise does_not_fit(before, loss, cap)
        return standing(db, [source.id]).with_run(loss)

    def _reopen(self, source: Source, plan: Sequence[Reservation], budget: Budget | None, run_id: str) -> Begun:
        """Note that an interrupted run goes on under its reservation; returns how far it had come.

        Raises:
            RunError: nothing is reserved for it, it is closed, or it was planned otherwise.
        """
        with self._writing() as db:
            entries = list(select(db, run_id=run_id))
            reserved = next((entry for entry in entries if entry.kind == "reserved"), None)
            if reserved is None or budget is None:
                raise RunError(f"run {run_id} was interrupted before it was charged for anything; start a new run")
            if any(entry.kind in _CLOSING for entry in entries):
                raise RunError(f"run {run_id} is closed in the ledger and draws nothing more; start a new run")
            planned = [Reservation(**one) for one in reserved.body["mechanisms"]]
            same = reserved.source_id == source.id and reserved.body["budget"] == _budget_json(budget)
            if not same or planned != list(plan):
                raise RunError(
                    f"run {run_id} was charged for another plan than its configuration makes on this machine now; "
                    "start a new run"
                )
            drawn = {entry.name: entry.body for entry in entries if entry.kind == "drawn"}
            turn = 1 + sum(entry.kind == "resumed" for entry in entries)
            body = {"drawn": sorted(drawn)}
            append(db, self._storage.id, "resumed", source_id=source.id, run_id=run_id, name=f"{turn}", body=body)
        return Begun(drawn, frozenset(entry.name for entry in entries if entry.kind == "kept"))

    def _close(self, kind: Literal["committed", "abandoned"], run_id: str, said: dict[str, Any]) -> None:
        with self._writing() as db:
            reserved = last(db, "reserved", run_id=run_id)
            if reserved is None or any(entry.kind in _CLOSING for entry in select(db, run_id=run_id)):
                return
            total = standing(db, linked(db, reserved.source_id)).total()
            body = {"total": asdict(total), **said} if kind == "committed" else said
            append(db, self._storage.id, kind, source_id=reserved.source_id, run_id=run_id, body=body)

    def _named(self, db: sa.Connection, name: str) -> Entry:
        found = last(db, "opened", name=name) or last(db, "opened", source_id=name)
        if found is None:
            raise ConfigError(f"the ledger knows no source {name!r}; `privdistill ledger show` lists them")
        return found


def _caps(sources: dict[str, Entry], group: Sequence[str]) -> list[Cap]:
    return [Cap(**sources[source_id].body["cap"]) for source_id in group if source_id in sources]


def _budget_json(budget: Budget | None) -> dict[str, float] | None:
    if budget is None:
        return None
    return {"epsilon": budget.epsilon, "delta": budget.delta, "delta_composition": budget.delta_composition}


def _said(text: str, flag: str) -> str:
    if not text.strip():
        raise ConfigError(f"expected a few words with {flag}, found none; they are kept for good")
    return text.strip()
