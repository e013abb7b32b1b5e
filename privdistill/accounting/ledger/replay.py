"""Tell a ledger's whole story again: does every entry follow from those before it?

Beyond the hash chain: sources are opened once; each reservation's charge is what its mechanisms cost, its total the
sum so far, and within the cap; nothing is drawn that was not reserved, twice, or after its run was closed. Written
against the meaning of entries, not with the code that writes them. It reads no private file.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from privdistill.accounting.filter import Cap, Loss
from privdistill.accounting.ledger.chain import BrokenLedgerError, Entry, unbroken
from privdistill.accounting.ledger.standing import Standing, noised
from privdistill.errors import PrivacyError
from privdistill.mechanisms.release import Reservation

__all__ = ["replay"]

_SHA256 = re.compile("[0-9a-f]{64}")
_SLACK = 1e-6
"""Relative: another machine's floating point may place the edge of a cap, or a sampled divergence, this much apart."""


class _Story:
    """Everything that was said so far."""

    def __init__(self) -> None:
        self.sources: dict[str, Entry] = {}
        self.accounts: dict[str, set[str]] = {}
        self.standings: dict[str, Standing] = {}
        self.plans: dict[str, dict[str, Reservation]] = {}
        self.owner: dict[str, str] = {}
        self.drawn: set[tuple[str, str]] = set()
        self.closed: set[str] = set()

    def opened(self, entry: Entry) -> str | None:
        if entry.source_id in self.sources or entry.name in {source.name for source in self.sources.values()}:
            return "it opens a source that is open"
        Cap(**entry.body["cap"])
        self.sources[entry.source_id] = entry
        self.accounts[entry.source_id] = {entry.source_id}
        self.standings[entry.source_id] = Standing()
        return None

    def joined(self, entry: Entry) -> str | None:
        return None if {"units", "seal"} == set(entry.body) else "it names no set of units"

    def linked(self, entry: Entry) -> str | None:
        other = entry.body["with"]
        if other not in self.sources or self.sources[other].body["unit"] != self.sources[entry.source_id].body["unit"]:
            return "it links sources that cannot be linked"
        account = self.accounts[entry.source_id] | self.accounts[other]
        self.accounts |= dict.fromkeys(account, account)
        return None

    def reviewed(self, entry: Entry) -> str | None:
        counts = entry.body["attempts"]
        if any(self.standings[source_id].attempts != count for source_id, count in counts.items()):
            return "it reviews another number of attempts than there were"
        return None

    def reserved(self, entry: Entry) -> str | None:
        if entry.run_id in self.plans:
            return "its run has reserved before"
        charges = [Reservation(**plan) for plan in entry.body["mechanisms"]]
        budget, stored = entry.body["budget"], entry.body["charge"]
        loss = Loss.from_json(stored) if stored is not None else None
        if (budget is None) != (loss is None) or (loss is not None and not _costs(charges, budget, loss)):
            return "its charge is not what its mechanisms cost"
        after = self.standings[entry.source_id].with_run(loss)
        if Standing.after(entry) != after:
            return "its total is not the sum of the charges so far"
        self.standings[entry.source_id] = after
        self.plans[entry.run_id] = {charge.name: charge for charge in charges}
        self.owner[entry.run_id] = entry.source_id
        together = sum((self.standings[source].loss for source in self.accounts[entry.source_id]), start=Loss())
        for source in self.accounts[entry.source_id]:
            cap = Cap(**self.sources[source].body["cap"])
            if loss is not None and not together.fits(replace(cap, epsilon=cap.epsilon * (1 + _SLACK))):
                return "it passes the cap"
        return None

    def drawn_(self, entry: Entry) -> str | None:
        planned = self.plans.get(entry.run_id, {}).get(entry.name)
        found = Reservation(*(entry.body.get(name) for name in Reservation._fields))  # type: ignore[arg-type]
        if planned is None or planned != found or self.owner[entry.run_id] != entry.source_id:
            return "it draws what was not reserved"
        if (entry.run_id, entry.name) in self.drawn or entry.run_id in self.closed:
            return "it draws what was drawn before, or after its run was closed"
        self.drawn.add((entry.run_id, entry.name))
        return None

    def kept(self, entry: Entry) -> str | None:
        if (entry.run_id, entry.name) not in self.drawn or entry.run_id in self.closed:
            return "it keeps what was not drawn, or after its run was closed"
        return None

    def resumed(self, entry: Entry) -> str | None:
        if self.owner.get(entry.run_id) != entry.source_id or entry.run_id in self.closed:
            return "it resumes a run that is not open"
        return None

    def closing(self, entry: Entry) -> str | None:
        if self.owner.get(entry.run_id) != entry.source_id or entry.run_id in self.closed:
            return "it closes a run that is not open"
        claim = entry.body.get("claim_sha256")
        if claim is not None and not _SHA256.fullmatch(claim):
            return "it names no claim"
        self.closed.add(entry.run_id)
        return None


def replay(ledger_id: str, entries: Iterable[Entry]) -> dict[int, str]:
    """Number -> digest of every entry.

    Raises:
        BrokenLedgerError: naming the first entry that does not hold.
    """
    story, found = _Story(), {}
    steps: dict[str, Any] = {
        "opened": story.opened,
        "joined": story.joined,
        "linked": story.linked,
        "reviewed": story.reviewed,
        "reserved": story.reserved,
        "resumed": story.resumed,
        "drawn": story.drawn_,
        "kept": story.kept,
        "committed": story.closing,
        "abandoned": story.closing,
    }
    for entry in unbroken(ledger_id, entries):
        if entry.kind != "opened" and entry.source_id not in story.sources:
            raise BrokenLedgerError(entry.number, "its source was never opened")
        try:
            problem = steps[entry.kind](entry)
        except (KeyError, TypeError, ValueError, AttributeError, PrivacyError):
            problem = "its content is not that of such an entry"
        if problem is not None:
            raise BrokenLedgerError(entry.number, problem)
        found[entry.number] = entry.digest
    return found


def _costs(charges: list[Reservation], budget: dict[str, float], stored: Loss) -> bool:
    """Whether a stored loss is that of these mechanisms, as far as another machine can tell."""
    expected = Loss.of(noised(charges), **budget)
    if replace(stored, renyi=expected.renyi) != expected:
        return False
    return all(
        found * (1 - _SLACK) <= kept <= found * (1 + _SLACK)
        for kept, found in zip(stored.renyi, expected.renyi, strict=True)
    )
