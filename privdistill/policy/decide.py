"""The decision: policy, claim, audit, ledger and digests in; a verdict with reasons out. Pure.

    decide(policy, claim, audit, ledger, digests, *, decided_at, tool_version, waivers=()) -> Decision
    renewed(decision, waivers, moment) -> Decision      one of the past, as of now
    held(decision, facts, policy, tool_version) -> Held one that is recorded, against its own rules and the facts
    evaluate(policy, facts) -> tuple[RuleResult, ...]   the same rules without a verdict; `verify` re-derives with it
    standing(facts) -> tuple[RuleResult, ...]           the ones that apply under every policy; `report` looks at them
    verdict_of(results, waived=()) -> Verdict

Priority: any required rule violated -> deny; else any required rule not run -> indeterminate; else allow. Hard and
soft rules are required, a soft one unless it is waived; advisory ones are printed. With nothing to evaluate the answer
is deny, and so it is with a waiver that has expired or that names a hard rule. A rule that raises was not run. It reads
no file, no clock and no network, and loads no numbers library.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple

from pydantic import ValidationError

from audits.findings import AuditReport, Claim
from privdistill.policy.decision import Decision, PolicyId, RuleResult, SourceTotal, Verdict
from privdistill.policy.facts import Digests, Facts, LedgerFacts, finite
from privdistill.policy.model import Policy
from privdistill.policy.rules import STANDING, Outcome, Rule
from privdistill.policy.waivers import Waiver, WaiverUse, fingerprint, settle, still_valid

__all__ = ["Held", "decide", "evaluate", "held", "renewed", "verdict_of"]


class Held(NamedTuple):
    """What a recorded decision is worth.

    Attributes:
        state: `contradicted` by itself or by the facts; `outdated`, as the ledger or the tool has moved on; `unchecked`
            where something of it cannot be told.
        sentence: why.
    """

    state: Literal["holds", "contradicted", "outdated", "unchecked"]
    sentence: str


def decide(
    policy: Policy,
    claim: Claim | None,
    audit: AuditReport | None,
    ledger: LedgerFacts | None,
    digests: Digests,
    *,
    decided_at: str,
    tool_version: str,
    waivers: Sequence[Waiver] = (),
) -> Decision:
    """Decide whether a candidate may be released.

    Args:
        policy: the written policy; `digests.policy` is the sha256 of its file.
        claim: claim.json, or None when absent or unreadable.
        audit: audit.json, or None when absent or unreadable.
        ledger: this run's and this source's rows, or None when the ledger cannot be read.
        digests: sha256 of the bytes from which data, claim, audit and policy were read.
        decided_at: UTC, ISO 8601.
        tool_version: version of privdistill.
        waivers: soft rules that somebody sets aside for this candidate.
    """
    results = evaluate(policy, Facts(claim, audit, ledger, digests))
    levels = {result.id: result.level for result in results}
    open_ = {result.id: result.fingerprint for result in results if result.status != "satisfied"}
    uses = settle(waivers, levels, open_, decided_at)
    waived = tuple(sorted({use.rule for use in uses if use.state == "applied"}))
    bad = tuple(use for use in uses if use.state in ("expired", "refused"))
    verdict = "deny" if bad else verdict_of(results, waived)
    return Decision(
        verdict=verdict,
        reason=_reason(verdict, results, waived, bad),
        policy=PolicyId(name=policy.name, version=policy.version, sha256=digests.policy),
        run_id=claim.run_id if claim else None,
        rules=results,
        waived=waived,
        waivers=uses,
        digests=digests,
        source=_source(ledger),
        decided_at=decided_at,
        tool_version=tool_version,
    )


def renewed(decision: Decision, waivers: Sequence[Waiver], moment: str) -> Decision:
    """A decision of the past as of now: a waiver that has expired since, or a bad one handed in, turns it to no.

    Args:
        decision: as recorded in a bundle that verifies.
        waivers: handed in now; one that was not applied then cannot be applied any more.
        moment: now, UTC, ISO 8601.
    """
    old = tuple(
        use.model_copy(update={"state": "expired"})
        if use.state == "applied" and not still_valid(use.expires, moment)
        else use
        for use in decision.waivers
    )
    levels = {result.id: result.level for result in decision.rules}
    uses = (*old, *settle(waivers, levels, {}, moment))
    bad = tuple(use for use in uses if use.state in ("expired", "refused"))
    if not bad:
        return decision.model_copy(update={"waivers": uses})
    reason = _reason("deny", decision.rules, decision.waived, bad)
    return decision.model_copy(update={"verdict": "deny", "reason": reason, "waivers": uses})


def held(decision: Decision, facts: Facts, policy: Policy | None, tool_version: str) -> Held:
    """Hold a recorded decision about these papers to its own rules, and every result to the one that is found now.

    Args:
        decision: internal view, about the same data, claim and audit as the facts.
        facts: as they are now; the ledger may have moved on.
        policy: the one of the decision's digest; None if it is not at hand.
        tool_version: version of privdistill that asks.
    """
    if not _follows(decision, worded=decision.tool_version == tool_version):
        return Held("contradicted", "the verdict is not what its own rules and waivers add up to")
    named = (decision.policy.name, decision.policy.version, decision.policy.sha256)
    asked = (policy.name, policy.version, decision.digests.policy) if policy else (*named[:2], decision.digests.policy)
    if named != asked or decision.run_id != (facts.claim.run_id if facts.claim else None):
        return Held("contradicted", "it names another policy or run than the one that it is about")
    facts = replace(facts, digests=replace(facts.digests, policy=decision.policy.sha256))
    own = evaluate(policy, facts) if policy else standing(facts)
    told = decision.rules if policy else decision.rules[: len(own)]
    if [_asked(result) for result in own] != [_asked(result) for result in told]:
        changed = ["the rules that were asked"]
    else:
        pairs = [(mine, theirs) for mine, theirs in zip(own, told, strict=True) if mine != theirs]
        changed = [mine.id for mine, _ in pairs if not _may_differ(mine, facts)]
    if changed:
        if decision.tool_version != tool_version:
            return Held("outdated", f"made by version {decision.tool_version}, which found otherwise")
        return Held("contradicted", f"not what is found now: {', '.join(changed)}")
    if facts.ledger is not None and any(mine.status != theirs.status for mine, theirs in pairs):
        return Held("outdated", "the ledger has moved on")
    if policy is None:
        known = f"policy {decision.policy.name}@{decision.policy.sha256[:8]} is not at hand"
        return Held("unchecked", f"{known}, so only the rules of every policy were looked at; run the gate again")
    if pairs or decision.source != _source(facts.ledger):
        return Held("unchecked", "the ledger is away, or does not say what it said then; run the gate again")
    return Held("holds", f"every result and the verdict are found again under policy {policy.name}")


def _follows(decision: Decision, *, worded: bool) -> bool:
    """Whether fingerprints, waivers, verdict and, if worded alike, its reason are made of these very rule results."""
    results, digests = decision.rules, decision.digests
    prints = [fingerprint(r.id, r.level, r.status, r.requirement, r.evidence, digests) for r in results]
    if decision.view != "internal" or prints != [r.fingerprint for r in results]:
        return False
    try:
        waivers = [Waiver(**use.model_dump(exclude={"state"})) for use in decision.waivers]
    except ValidationError:
        return False  # no file of waivers could have said so
    levels = {result.id: result.level for result in results}
    open_ = {result.id: result.fingerprint for result in results if result.status != "satisfied"}
    uses = settle(waivers, levels, open_, decision.decided_at)
    waived = tuple(sorted({use.rule for use in uses if use.state == "applied"}))
    bad = tuple(use for use in uses if use.state in ("expired", "refused"))
    verdict = "deny" if bad else verdict_of(results, waived)
    reason = _reason(verdict, results, waived, bad) if worded else decision.reason
    return (decision.verdict, decision.reason, decision.waived, decision.waivers) == (verdict, reason, waived, uses)


def _asked(result: RuleResult) -> tuple[object, ...]:
    return result.id, result.kind, result.level, result.requirement, result.evidence


def _may_differ(result: RuleResult, facts: Facts) -> bool:
    """Whether other runs on the source may have changed a result since, or the ledger is away."""
    return "ledger" in result.evidence and (result.kind != "standing" or facts.ledger is None)


def evaluate(policy: Policy, facts: Facts) -> tuple[RuleResult, ...]:
    """Check the standing rules and the policy's, in that order."""
    return (*standing(facts), *(_result(rule, facts) for rule in policy.rules))


def standing(facts: Facts) -> tuple[RuleResult, ...]:
    """Check the rules that apply under every policy."""
    return tuple(_result(rule, facts) for rule in STANDING)


def verdict_of(results: Sequence[RuleResult], waived: Collection[str] = ()) -> Verdict:
    """Add up rule results; `waived` counts for soft rules only.

    Example:
        >>> verdict_of([])
        'deny'
    """
    statuses = {_counted(result, waived) for result in results if result.required}
    if not statuses or "violated" in statuses:
        return "deny"
    return "allow" if statuses == {"satisfied"} else "indeterminate"


def _counted(result: RuleResult, waived: Collection[str]) -> str:
    return "satisfied" if result.level == "soft" and result.id in waived else result.status


def _result(rule: Rule, facts: Facts) -> RuleResult:
    try:
        outcome = rule.check(facts)
    except Exception as error:
        outcome = Outcome("not-run", f"the rule could not be evaluated ({type(error).__name__})")
    value, limit = finite(outcome.value), finite(outcome.limit)
    evidence = tuple(sorted(rule.evidence))
    return RuleResult(
        id=rule.id,
        kind=str(getattr(rule, "kind", "standing")),
        level=rule.level,
        status=outcome.status,
        requirement=rule.requirement,
        finding=outcome.finding,
        value=value,
        limit=limit,
        evidence=evidence,
        fingerprint=fingerprint(rule.id, rule.level, outcome.status, rule.requirement, evidence, facts.digests),
    )


def _reason(verdict: Verdict, results: Sequence[RuleResult], waived: Collection[str], bad: Sequence[WaiverUse]) -> str:
    if bad:
        said = {"expired": "has expired; renew or remove it", "refused": "names a hard rule, which is never waived"}
        return "; ".join(f"the waiver of {use.rule} {said[use.state]}" for use in bad)
    if verdict == "allow":
        required = sum(result.required for result in results)
        if waived:
            return f"{required - len(waived)} of {required} required rules are satisfied, waived: {', '.join(waived)}"
        return f"all {required} required rules are satisfied"
    status = "violated" if verdict == "deny" else "not-run"
    ids = [result.id for result in results if result.required and _counted(result, waived) == status]
    return f"{'violated' if verdict == 'deny' else 'not run'}: {', '.join(ids) or 'nothing was evaluated'}"


def _source(ledger: LedgerFacts | None) -> SourceTotal | None:
    if ledger is None:
        return None
    epsilon, delta = finite(ledger.cumulative_epsilon), finite(ledger.cumulative_delta)
    return SourceTotal(epsilon=epsilon, delta=delta, attempts=ledger.attempts)
