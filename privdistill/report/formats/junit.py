"""A decision as JUnit XML: one test case a rule.

A violated rule is a failure, one that was not run is an error, an advisory one or a waived one that does not hold is
skipped, with the reason. A denial that no rule says the reason of, as of a bundle that does not verify, is a failure of
its own. It does not know which system reads it.
"""

from xml.sax.saxutils import escape, quoteattr

from privdistill.policy.decision import Decision, RuleResult
from privdistill.policy.waivers import WaiverUse
from privdistill.report.decision import verdict_line
from privdistill.report.plain import plain

__all__ = ["render_junit"]


def render_junit(decision: Decision) -> str:
    """Render the public view of a decision."""
    cases = [_case(decision, result) for result in decision.rules]
    cases += [_waiver(decision, use) for use in decision.waivers if use.state in ("expired", "refused")]
    if cases and decision.verdict == "deny" and _unsaid(decision, cases):
        cases.insert(0, ("failure", _element(decision, "verdict", "failure", decision.reason)))
    if not cases:  # an empty suite would be shown as a success
        cases = [("failure", _element(decision, "nothing", "failure", "no rule was evaluated"))]
    counts = {kind: sum(found == kind for found, _ in cases) for kind in ("failure", "error", "skipped")}
    totals = (
        f'tests="{len(cases)}" failures="{counts["failure"]}" errors="{counts["error"]}" skipped="{counts["skipped"]}"'
    )
    name = _attribute(f"privdistill gate, policy {decision.policy.name}")
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f"<testsuites {totals}>",
        f"  <testsuite name={name} {totals} timestamp={_attribute(decision.decided_at)}>",
        *(element for _, element in cases),
        f"    <system-out>{escape(f'{verdict_line(decision)}; {plain(decision.reason)}')}</system-out>",
        "  </testsuite>",
        "</testsuites>",
    ]
    return "\n".join(lines) + "\n"


def _unsaid(decision: Decision, cases: list[tuple[str, str]]) -> bool:
    """Whether no case carries the reason: nothing failed, or nothing was looked at."""
    return all(kind != "failure" for kind, _ in cases) or all(result.status == "not-run" for result in decision.rules)


def _case(decision: Decision, result: RuleResult) -> tuple[str, str]:
    said = f"{result.finding}; asked: {result.requirement}"
    if result.status == "satisfied":
        return "passed", _element(decision, result.id, None, said)
    if not result.required:
        return "skipped", _element(decision, result.id, "skipped", f"advisory: {said}")
    if result.id in decision.waived:
        return "skipped", _element(decision, result.id, "skipped", f"waived: {said}")
    kind = "failure" if result.status == "violated" else "error"
    return kind, _element(decision, result.id, kind, said if kind == "failure" else f"not run: {said}")


def _waiver(decision: Decision, use: WaiverUse) -> tuple[str, str]:
    said = f"the waiver of {use.rule} is {use.state}; last day {use.expires}"
    return "failure", _element(decision, f"waiver-of-{use.rule}", "failure", said)


def _element(decision: Decision, name: str, kind: str | None, said: str) -> str:
    head = f"    <testcase classname={_attribute(f'policy.{decision.policy.name}')} name={_attribute(name)}"
    return f"{head}/>" if kind is None else f"{head}><{kind} message={_attribute(said)}/></testcase>"


def _attribute(text: str) -> str:
    return quoteattr(plain(text))
