"""A decision as text: the verdict first, then every rule that is not satisfied, then the counts.

It does not know where the decision was made, and prints nothing itself.
"""

from privdistill.policy.decision import Decision, RuleResult
from privdistill.report.plain import plain

__all__ = ["asked", "render_decision", "verdict_line"]

_WORDS = {"allow": "ALLOWED", "deny": "DENIED", "indeterminate": "NOT DECIDED"}
_ANY_UNIT = "privacy unit is one of *"
_MARKS = {"violated": "fail", "not-run": "–", "satisfied": "ok"}


def render_decision(decision: Decision, *, report: str | None = None) -> str:
    """Render a decision for a terminal.

    Args:
        decision: what was decided.
        report: where the full report is, printed at the end.
    """
    if decision.verdict == "deny" and all(result.status == "not-run" for result in decision.rules):
        # Nothing of it was looked at, so no rule has anything to say; that "there is no claim" would not even be true.
        return f"{verdict_line(decision)}\n  fail  {plain(decision.reason)}\n"
    unmet = decision.unmet()
    width = max((len(result.id) for result in unmet), default=0)
    lines = [verdict_line(decision)]
    if decision.verdict == "deny" and not any(result.status == "violated" for result in unmet if result.required):
        lines.append(f"  fail  {plain(decision.reason)}")  # no rule says it
    elif any(use.state in ("expired", "refused") for use in decision.waivers):
        lines.append(f"  fail  {plain(decision.reason)}")
    for result in unmet:
        lines.append(_line(result, width, waived=result.id in decision.waived))
        if result.fingerprint is not None and result.id not in decision.waived:
            lines[-1] += f"   to waive: {result.fingerprint}"
    for use in decision.waivers:
        said = f"{use.reason} (approved by {use.approved_by}, last day {use.expires})"
        lines.append(f"  waiver  {plain(use.rule)}  {use.state}: {plain(said)}")
    lines.append(_counts(decision))
    if report is not None:
        lines[-1] += f"   report: {plain(report)}"
    return "\n".join(lines) + "\n"


def verdict_line(decision: Decision) -> str:
    """ALLOWED, DENIED or NOT DECIDED, with the policy to the digest and the run."""
    policy = f"{plain(decision.policy.name)}@{plain(decision.policy.sha256[:8])}"
    return f"{_WORDS[decision.verdict]}  policy {policy}  run {plain(decision.run_id or 'unknown')}"


def asked(requirement: str) -> str:
    """A requirement in words; what bundles carry stays as it was written, a wildcard included."""
    return "privacy unit is that of a column, not single records" if requirement == _ANY_UNIT else requirement


def _line(result: RuleResult, width: int, *, waived: bool) -> str:
    mark = ("wvd" if waived else _MARKS[result.status]) if result.required else "note"
    state = "not run: " if result.status == "not-run" else ""
    by = "under every policy" if result.kind == "standing" else "by policy"
    tail = (f"   (required {by})" if result.status == "not-run" else "") if result.required else "   (advisory)"
    tail = "   (waived)" if waived else tail
    found = f"{state}{plain(result.finding)}   asked: {plain(asked(result.requirement))}"
    return f"  {mark:<4}  {plain(result.id):<{width}}  {found}{tail}"


def _counts(decision: Decision) -> str:
    required = [result for result in decision.rules if result.required]
    count = {
        status: sum(result.status == status and result.id not in decision.waived for result in required)
        for status in ("satisfied", "violated", "not-run")
    }
    notes = sum(not result.required and result.status != "satisfied" for result in decision.rules)
    idle = sum(use.state == "unused" for use in decision.waivers)
    return (
        f"{len(required)} required rules: {count['satisfied']} satisfied, {count['violated']} violated, "
        f"{count['not-run']} not run, {len(decision.waived)} waived; {notes} advisory note(s)"
        + (f"; {idle} waiver(s) fit nothing here" if idle else "")
    )
