"""The report of a run: verdict, claim, what makes a pass meaningless, checks, ledger, limits, how to verify.

For people who may see the internal numbers. It does not know files.
"""

from collections.abc import Sequence

from audits.findings import AuditReport, Claim
from privdistill.policy.decision import Decision
from privdistill.policy.tradeoff import attack_success, dp_attack_success
from privdistill.report.audit import render_audit
from privdistill.report.decision import render_decision
from privdistill.report.plain import plain
from privdistill.report.statement import unit_sentence
from privdistill.report.verification import VerifiedItem

__all__ = ["render_claim", "render_release", "render_report"]

_UNDECIDED = {
    False: "NOT DECIDED  no policy was applied to this run yet\n",
    True: "NOT DECIDED  the decision that is recorded is about other rows, another claim or another audit, or "
    "older than what ledger and rules say now; run privdistill gate again\n",
}


def render_report(
    claim: Claim,
    decision: Decision | None,
    audit: AuditReport | None,
    *,
    checks: Sequence[VerifiedItem] = (),
    outdated: bool = False,
) -> str:
    """Render everything that is known of a run.

    Args:
        claim: what is claimed.
        decision: the last one about these papers, if there is one.
        audit: the examiner's report.
        checks: how the papers were held to one another; what could not be checked is said.
        outdated: whether a decision is recorded that is about other papers, or that the ledger has overtaken.
    """
    unchecked = [
        f"  –  {plain(item.name)}: {plain(item.sentence)}\n" for item in checks if item.status == "not-checked"
    ]
    if unchecked:
        unchecked.insert(0, "NOT CHECKED  whether these papers belong together is not wholly shown\n")
    parts = [
        *(["".join(unchecked)] if unchecked else []),
        _decided(decision) if decision else _UNDECIDED[outdated],
        render_claim(claim),
        render_audit(audit, unit=claim.privacy_unit) if audit else "AUDIT  not run: nothing was measured\n",
    ]
    if decision is not None and decision.source is not None:
        s = decision.source
        total = (
            "could not be composed"
            if s.epsilon is None or s.delta is None
            else f"epsilon {s.epsilon:.4g}, delta {s.delta:.3g}"
        )
        parts.append(f"LEDGER  the source over all runs: {total}; attempts: {s.attempts}\n")
    parts.append("NOT PROTECTED\n" + "".join(f"  {plain(item)}\n" for item in claim.not_protected))
    parts.append("VERIFY  privdistill verify BUNDLE re-derives epsilon and the decision offline\n")
    return "\n".join(parts)


def render_release(claim: Claim, decision: Decision, checks: Sequence[VerifiedItem]) -> str:
    """Render what a bundle that verifies says of itself."""
    counts = [sum(item.status == status for item in checks) for status in ("verified", "not-checked")]
    head = f"VERIFIED  {counts[0]} checks; {counts[1]} things cannot be checked here, privdistill verify names them\n"
    return "\n".join((head, _decided(decision), render_claim(claim)))


def _decided(decision: Decision) -> str:
    policy = f"{plain(decision.policy.name)}, version {plain(decision.policy.version)}"
    return f"{render_decision(decision)}decided {plain(decision.decided_at)} under policy {policy}\n"


def render_claim(claim: Claim) -> str:
    """The claim in one sentence, and what it means for an attacker."""
    if claim.epsilon is None or claim.delta is None:
        return f"CLAIM  none: recipe {plain(claim.recipe)} guarantees nothing about these {claim.rows} rows\n"
    lines = [
        f"CLAIM  epsilon {claim.epsilon:.4g}, delta {claim.delta:.3g}, {(claim.adjacency or '').replace('-', ' ')}; "
        f"protected is {plain(unit_sentence(claim))}"
    ]
    for name, accountant in (("accountant", claim.accountant), ("second accountant", claim.second_accountant)):
        if accountant is not None:
            lines.append(
                f"  {name}: {plain(accountant.name)} {plain(accountant.version)}, epsilon {accountant.epsilon:.6g}"
            )
    if claim.canaries is not None:
        lines.append(
            f"  {claim.canaries.issued} canaries were issued, about half of them planted as records of their own"
        )
    bound = attack_success(claim, 0.01)
    if bound is not None:
        general = dp_attack_success(claim.epsilon, claim.delta, 0.01)
        lines.append(
            f"  any membership attack, at 1 % false accusations, names at most {bound:.1%} of the members (by epsilon "
            f"and delta alone: {general:.2%})"
        )
    return "\n".join(lines) + "\n"
