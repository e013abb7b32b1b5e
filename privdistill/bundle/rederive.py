"""What follows from the public papers alone: epsilon from the mechanisms, rule results from the policy.

    disagreements(policy, facts, decision) -> ids of rules whose recorded result does not follow
    epsilon_problems(claim) -> what the accountant objects to

Full-batch Gaussians are composed in closed form; sampled ones by dp-accounting, which needs no torch either. It does
not know files.
"""

from audits.findings import Claim, Mechanism
from privdistill.policy.decide import evaluate, verdict_of
from privdistill.policy.decision import Decision, RuleResult
from privdistill.policy.facts import Digests, Facts
from privdistill.policy.model import Policy
from privdistill.policy.waivers import fingerprint, still_valid

__all__ = ["derivable", "disagreements", "epsilon_problems"]

_SLACK = 1e-3
_ROUNDING = 1e-6


def derivable(result: RuleResult, facts: Facts) -> bool:
    """Whether everything that the rule reads is at hand."""
    present = {"claim": facts.claim is not None, "audit": facts.audit is not None, "ledger": facts.ledger is not None}
    return all(present.get(evidence, True) for evidence in result.evidence)


def disagreements(policy: Policy, facts: Facts, decision: Decision) -> tuple[str, ...]:
    """Ids of rules whose recorded result is not what the policy gives; `verdict`; `rules` if they are others."""
    own = evaluate(policy, facts)
    if [_asked(result) for result in own] != [_asked(result) for result in decision.rules]:
        return ("rules",)
    found = [
        mine.id
        for mine, theirs in zip(own, decision.rules, strict=True)
        if derivable(mine, facts) and (mine.status, mine.value) != (theirs.status, theirs.value)
    ]
    if verdict_of(decision.rules, decision.waived) != decision.verdict:
        found.append("verdict")
    return (*found, *_waiver_problems(decision, facts.digests))


def _waiver_problems(decision: Decision, digests: Digests) -> tuple[str, ...]:
    """`waivers` if one set aside what it could not: a hard rule, another candidate's result, after its last day."""
    rules = {result.id: result for result in decision.rules}
    applied = [use for use in decision.waivers if use.state == "applied"]
    good = sorted({use.rule for use in applied}) == list(decision.waived)
    good = good and not any(use.state in ("expired", "refused") for use in decision.waivers)
    for use in applied:
        rule = rules.get(use.rule)
        good = good and rule is not None and rule.level == "soft" and rule.status != "satisfied"
        good = good and still_valid(use.expires, decision.decided_at)
        # Where the audit's digest is part of a fingerprint, the public view shows neither.
        if rule is not None and (use.fingerprint is not None or "audit" not in rule.evidence):
            asked = (rule.id, rule.level, rule.status, rule.requirement, rule.evidence)
            good = good and use.fingerprint == fingerprint(*asked, digests)
    return () if good else ("waivers",)


def epsilon_problems(claim: Claim) -> tuple[str, ...]:
    """Compose the mechanisms again; compare epsilon, mu, the discretisation part of delta and the privacy profile."""
    from privdistill.accounting.accountant import Event, second_opinion, total_epsilon, total_mu
    from privdistill.accounting.budget import discretisation_delta

    if claim.epsilon is None or claim.delta is None or claim.delta_parts is None:
        return ("the claim states no epsilon",)
    noised = [m for m in claim.mechanisms if m.noise_multiplier is not None and m.kind != "none"]
    if not noised or len(noised) != len(claim.mechanisms):
        return ("a mechanism added no noise",)
    events = [Event(m.noise_multiplier or 0.0, m.sample_rate, m.steps) for m in noised]
    composition = claim.delta_parts.composition
    if not 0 < composition < 1:
        return ("no delta is left for the composition",)
    mu = total_mu(events)
    value = total_epsilon(events, composition) if mu is not None else second_opinion(events, composition).epsilon
    found = []
    if not value <= claim.epsilon * (1 + _SLACK):
        found.append(f"the mechanisms compose to epsilon {value:.6g}, the claim says {claim.epsilon:.6g}")
    if mu is not None and claim.mu is not None and abs(mu - claim.mu) > _ROUNDING * mu:
        found.append(f"the mechanisms compose to mu {mu:.6g}, the claim says {claim.mu:.6g}")
    for mechanism in noised:
        steps = mechanism.noise_grid_steps
        if mechanism.noise == "discrete-gaussian":
            if steps is None or steps < 2**24 * (1 - _ROUNDING) or not mechanism.dimension:
                found.append(f"mechanism {mechanism.name!r} states no cells, or no grid fine enough to book delta for")
                continue
            needed = discretisation_delta(claim.epsilon, mechanism.dimension, steps) * mechanism.steps
            if needed > mechanism.delta_discretisation * (1 + _ROUNDING):
                found.append(f"mechanism {mechanism.name!r} books less delta for its integer grid than it needs")
    return (*found, *_profile_problems(claim, mu, noised))


def _profile_problems(claim: Claim, mu: float | None, mechanisms: list[Mechanism]) -> tuple[str, ...]:
    from privdistill.accounting.accountant import Event, gaussian_delta, second_opinion

    events = [Event(m.noise_multiplier or 1.0, m.sample_rate, m.steps) for m in mechanisms]
    for point in claim.privacy_profile:
        if mu is not None:
            good = gaussian_delta(point.epsilon, mu) <= point.delta * (1 + _SLACK)
        else:
            good = point.delta >= 1 or (
                point.delta > 0 and second_opinion(events, point.delta).epsilon <= point.epsilon * (1 + _SLACK) + _SLACK
            )
        if not good:
            return (f"the privacy profile is too small at epsilon {point.epsilon:g}",)
    return ()


def _asked(result: RuleResult) -> tuple[object, ...]:
    return result.id, result.kind, result.level, result.requirement, result.evidence
