"""A decision as Markdown for a step summary or a comment: verdict, open rules, and the rest folded away.

It does not know GitHub's interface; it keeps to the size that a step summary may have.
"""

from privdistill.policy.decision import Decision, RuleResult
from privdistill.report.decision import asked
from privdistill.report.plain import markdown

__all__ = ["MAX_BYTES", "render_summary"]

MAX_BYTES = 1_000_000
"""A step summary may have 1 MiB; a longer one is dropped as a whole."""
_WORDS = {"allow": "Allowed", "deny": "Denied", "indeterminate": "Not decided"}
_HEAD = ["| rule | level | state | asked | found |", "| --- | --- | --- | --- | --- |"]


def render_summary(decision: Decision) -> str:
    """Render the public view of a decision."""
    policy = decision.policy
    required = [result for result in decision.rules if result.required]
    met = sum(result.status == "satisfied" for result in required)
    lines = [
        f"## {_WORDS[decision.verdict]} under policy {markdown(policy.name)}",
        "",
        f"{markdown(decision.reason)}. {met} of {len(required)} required rules hold, {len(decision.waived)} waived.",
        "",
        f"Policy version {markdown(policy.version)}, sha256 `{markdown(policy.sha256)}`; "
        f"run {markdown(decision.run_id or 'unknown')}; decided {markdown(decision.decided_at)}.",
        "",
    ]
    if decision.unmet():
        lines += [*_HEAD, *(_row(decision, result) for result in decision.unmet()), ""]
    for use in decision.waivers:
        lines.append(
            f"- waiver of {markdown(use.rule)} ({use.state}): {markdown(use.reason)}; approved by "
            f"{markdown(use.approved_by)}, last day {use.expires}"
        )
    satisfied = [_row(decision, result) for result in decision.rules if result.status == "satisfied"]
    folded = ["", "<details><summary>Rules that hold</summary>", "", *_HEAD, *satisfied, "", "</details>"]
    note = ["", "Numbers of the audit are computed on private records and are not shown here."]
    text = "\n".join([*lines, *folded, *note]) + "\n"
    if len(text.encode()) <= MAX_BYTES:
        return text
    kept = "\n".join(lines[:6]).encode()[: MAX_BYTES - 100].decode("utf-8", "ignore")
    return f"{kept}\n\nThe rules do not fit in here; see the JSON report.\n"


def _row(decision: Decision, result: RuleResult) -> str:
    state = "waived" if result.id in decision.waived else result.status
    cells = (result.id, result.level, state, asked(result.requirement), result.finding)
    return "| " + " | ".join(markdown(cell) for cell in cells) + " |"
