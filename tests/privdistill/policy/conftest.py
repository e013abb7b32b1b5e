"""The honest runs of the policy cases, as objects that a test may change."""

import json
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import pytest

from audits.findings import AuditReport, Claim, Finding, Mechanism
from privdistill.policy import Decision, Digests, Facts, LedgerFacts, LoadedPolicy, decide, load_policy
from tests.conftest import ROOT

BASE = ROOT / "policies" / "cases" / "base"


@cache
def honest(name: str) -> Facts:
    """The facts of an honest run (`epsilon-8`, `epsilon-3` or `people-epsilon-3`)."""
    documents = json.loads((BASE / f"{name}.json").read_text())
    ledger = documents["ledger"]
    charges = tuple(Mechanism.model_validate(charge) for charge in ledger["run_charges"])
    return Facts(
        Claim.model_validate(documents["claim"]),
        AuditReport.model_validate(documents["audit"]),
        LedgerFacts(**{**ledger, "run_charges": charges}),
        Digests(**documents["digests"], policy="0" * 64),
    )


def ask(facts: Facts, policy: str = "internal") -> Decision:
    """Decide under a shipped policy."""
    loaded = shipped(policy)
    return decide(
        loaded.policy,
        facts.claim,
        facts.audit,
        facts.ledger,
        replace(facts.digests, policy=loaded.sha256),
        decided_at="2026-01-01T00:00:00+00:00",
        tool_version="test",
    )


@cache
def shipped(name: str) -> LoadedPolicy:
    """A shipped policy, parsed once."""
    return load_policy(name)


@dataclass(frozen=True)
class Change:
    """Changes of facts; anything absent stays absent."""

    facts: Facts

    def claim(self, **changes: Any) -> Facts:
        if self.facts.claim is None:
            return self.facts
        return replace(self.facts, claim=self.facts.claim.model_copy(update=changes))

    def audit(self, **changes: Any) -> Facts:
        if self.facts.audit is None:
            return self.facts
        return replace(self.facts, audit=self.facts.audit.model_copy(update=changes))

    def finding(self, check: str, **changes: Any) -> Facts:
        if self.facts.audit is None:
            return self.facts
        changed = tuple(f.model_copy(update=changes) if f.id == check else f for f in self.facts.audit.findings)
        return self.audit(findings=changed)

    def found(self, check: str) -> Finding | None:
        findings = self.facts.audit.findings if self.facts.audit else ()
        return next((finding for finding in findings if finding.id == check), None)

    def ledger(self, **changes: Any) -> Facts:
        if self.facts.ledger is None:
            return self.facts
        return replace(self.facts, ledger=replace(self.facts.ledger, **changes))

    def mechanisms(self, **changes: Any) -> Facts:
        """Change every mechanism, in claim and ledger alike."""
        facts = self.facts
        if facts.claim is not None:
            facts = Change(facts).claim(mechanisms=tuple(m.model_copy(update=changes) for m in facts.claim.mechanisms))
        if facts.ledger is not None:
            charges = tuple(m.model_copy(update=changes) for m in facts.ledger.run_charges)
            facts = Change(facts).ledger(run_charges=charges)
        return facts


@pytest.fixture
def facts() -> Facts:
    """An honest run at epsilon 8."""
    return honest("epsilon-8")
