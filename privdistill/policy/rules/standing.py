"""Rules that apply under every policy and cannot be switched off: the papers belong together, and the audit said yes.

They hold the data, the claim, the audit and the ledger to one another. Their ids are reserved. It does not know the
policy.
"""

from typing import ClassVar

from privdistill.policy.coherence import contradictions
from privdistill.policy.facts import Facts
from privdistill.policy.rules.base import Evidence, Outcome, Rule, not_run, satisfied, violated

__all__ = ["STANDING"]


class _ClaimOfCandidate(Rule):
    kind: str = "standing"
    evidence: ClassVar[frozenset[Evidence]] = frozenset({"claim", "digests"})

    @property
    def requirement(self) -> str:
        return "the claim was made for these rows"

    def check(self, facts: Facts) -> Outcome:
        if facts.claim is None or facts.digests.data is None or facts.digests.claim is None:
            return not_run("the claim or the rows are missing")
        if facts.claim.data_sha256 != facts.digests.data:
            return violated("the rows are not the ones that the claim was made for")
        return satisfied("digest of the rows equals the claim's")


class _ClaimCoherent(Rule):
    kind: str = "standing"
    evidence: ClassVar[frozenset[Evidence]] = frozenset({"claim"})

    @property
    def requirement(self) -> str:
        return "the claim does not contradict itself"

    def check(self, facts: Facts) -> Outcome:
        if facts.claim is None:
            return not_run("there is no claim")
        problems = contradictions(facts.claim)
        return violated("; ".join(problems)) if problems else satisfied("no contradiction found")


class _AuditOfCandidate(Rule):
    kind: str = "standing"
    evidence: ClassVar[frozenset[Evidence]] = frozenset({"audit", "digests"})

    @property
    def requirement(self) -> str:
        return "the audit examined these rows and this claim"

    def check(self, facts: Facts) -> Outcome:
        if facts.audit is None or facts.digests.audit is None:
            return not_run("there is no audit")
        if facts.digests.data is None or facts.digests.claim is None:
            return not_run("the claim or the rows are missing")
        if facts.audit.inputs.synthetic_sha256 != facts.digests.data:
            return violated("the audit examined other rows; they changed after the audit, or it is another candidate's")
        if facts.audit.inputs.claim_sha256 is None:
            return not_run("the audit did not see the claim")
        if facts.audit.inputs.claim_sha256 != facts.digests.claim:
            return violated("the audit examined another claim; it changed after the audit")
        return satisfied("digests of rows and claim equal the audit's")


class _AuditUnit(Rule):
    kind: str = "standing"
    evidence: ClassVar[frozenset[Evidence]] = frozenset({"audit", "claim"})

    @property
    def requirement(self) -> str:
        return "the audit counted the unit that the claim protects"

    def check(self, facts: Facts) -> Outcome:
        if facts.audit is None or facts.claim is None:
            return not_run("the claim or the audit is missing")
        audited, claimed = facts.audit.inputs.privacy_unit, facts.claim.privacy_unit
        # The examiner may be handed the unit under another column name; records and people it may not mix up.
        if (audited == "record") != (claimed == "record"):
            return not_run(f"the audit counted by {audited!r}, the claim protects {claimed!r}")
        return satisfied("both count records" if claimed == "record" else f"both count by a unit column ({claimed!r})")


_CANARY_CHECKS = ("PD501", "PD502")
_LEAST_ALPHA, _LEAST_POWER, _MOST_DETECTABLE = 0.05, 0.8, 0.05
"""The examiner's own levels: with less of them, it finds less."""


class _AuditVerdict(Rule):
    kind: str = "standing"
    evidence: ClassVar[frozenset[Evidence]] = frozenset({"audit"})  # of the claim only whether canaries were planted

    @property
    def requirement(self) -> str:
        return "the audit's own verdict is pass"

    def check(self, facts: Facts) -> Outcome:
        audit = facts.audit
        if audit is None:
            return not_run("there is no audit")
        failed = sorted({finding.id for finding in audit.findings if finding.status == "fail"})
        if audit.verdict == "fail" or failed:
            return violated(f"the audit says fail ({', '.join(failed) or 'no check named'})")
        passed = {finding.id for finding in audit.findings if finding.status == "pass"}
        passed -= {finding.id for finding in audit.findings if finding.status != "pass"}
        missing = [check for check in audit.required if check not in passed]
        levels = audit.levels
        if levels is None:
            return not_run("the audit does not say at which levels it was made")
        if levels.alpha < _LEAST_ALPHA or levels.power < _LEAST_POWER or levels.max_detectable > _MOST_DETECTABLE:
            return not_run("the audit was asked to be content with less than the examiner's own levels")
        ran = {finding.id for finding in audit.findings if finding.status not in ("skipped", "error")}
        if facts.claim is not None and facts.claim.canaries is not None and not ran.issuperset(_CANARY_CHECKS):
            return not_run("the claim says that canaries were planted, and the audit did not look for them")
        if audit.verdict != "pass" or missing or not passed:
            return not_run(
                f"the audit is {audit.verdict}" + (f" ({', '.join(missing)} not conclusive)" if missing else "")
            )
        return satisfied(f"{len(passed)} check(s) passed")


class _LedgerCharges(Rule):
    kind: str = "standing"
    evidence: ClassVar[frozenset[Evidence]] = frozenset({"ledger", "claim"})

    @property
    def requirement(self) -> str:
        return "the ledger holds a charge for every mechanism of the claim, and no other"

    def check(self, facts: Facts) -> Outcome:
        claim, ledger = facts.claim, facts.ledger
        if claim is None or ledger is None:
            return not_run("the claim or the ledger is missing")
        if ledger.source_id != claim.source_id:
            return violated("the ledger's rows are of another source")
        if ledger.unit != claim.privacy_unit:
            return violated(f"the ledger keeps the source by {ledger.unit!r}, the claim says {claim.privacy_unit!r}")
        charged = {charge.name: charge for charge in ledger.run_charges}
        claimed = {mechanism.name: mechanism for mechanism in claim.mechanisms}
        if len(charged) != len(ledger.run_charges) or len(claimed) != len(claim.mechanisms):
            return violated("a mechanism is listed twice")
        if not charged:
            return violated("the ledger holds no charge of this run: no row, no release")
        if charged.keys() != claimed.keys():
            return violated(
                f"{len(charged.keys() ^ claimed.keys())} mechanism(s) are in the claim or in the ledger only"
            )
        changed = sorted(name for name, mechanism in claimed.items() if charged[name] != mechanism)
        if changed:
            return violated(f"the claim states other parameters than the ledger for {', '.join(changed)}")
        if ledger.claim_sha256 is None or facts.digests.claim is None:
            return not_run("the ledger does not say which claim was made of this run, or the claim's file is missing")
        if ledger.claim_sha256 != facts.digests.claim:
            return violated("the claim is not the one that the ledger saw when this run was committed")
        return satisfied(f"{len(charged)} charge(s) equal the claim's mechanisms, and the claim is the one committed")


STANDING: tuple[Rule, ...] = (
    _ClaimOfCandidate(
        id="claim-of-candidate",
        level="hard",
        why="A claim about other rows says nothing about the rows that would leave.",
    ),
    _ClaimCoherent(
        id="claim-coherent",
        level="hard",
        why="An epsilon that does not follow from its own mechanisms is not a guarantee.",
    ),
    _LedgerCharges(
        id="ledger-charges",
        level="hard",
        why="A mechanism that was never charged, or charged otherwise, is a hidden loss. Nor does a later claim count.",
    ),
    _AuditOfCandidate(
        id="audit-of-candidate",
        level="hard",
        why="A clean audit of another candidate must not open the gate for this one.",
    ),
    _AuditUnit(
        id="audit-unit", level="hard", why="An audit that counts records says little about people, and conversely."
    ),
    _AuditVerdict(
        id="audit-verdict", level="hard", why="Any failed check stops the release, listed in the policy or not."
    ),
)
"""In the order in which they are printed."""
