"""A decision as workflow commands of GitHub Actions: one annotation for every rule that is not satisfied.

A message that could end a command, or begin another, is escaped. It does not know the step summary; see `summary`.
"""

from privdistill.policy.decision import Decision, RuleResult
from privdistill.report.decision import verdict_line
from privdistill.report.plain import plain

__all__ = ["render_annotations"]


def render_annotations(decision: Decision) -> str:
    """Render the public view of a decision: annotations first, the verdict in the last line."""
    lines = [_command(*_parts(decision, result)) for result in decision.unmet()]
    for use in decision.waivers:
        if use.state in ("expired", "refused"):
            lines.append(_command("error", f"waiver of {use.rule}", f"{use.state}; its last day is {use.expires}"))
    return "\n".join([*lines, f"{verdict_line(decision)}  {plain(decision.reason)}"]) + "\n"


def _parts(decision: Decision, result: RuleResult) -> tuple[str, str, str]:
    state = "not run: " if result.status == "not-run" else ""
    message = f"{state}{result.finding}; asked: {result.requirement}"
    if not result.required:
        return "notice", f"{result.id} (advisory)", message
    if result.id in decision.waived:
        return "warning", f"{result.id} (waived)", message
    return "error", result.id, message


def _command(level: str, title: str, message: str) -> str:
    name = plain(title).replace("%", "%25").replace(":", "%3A").replace(",", "%2C")
    return f"::{level} title={name}::{plain(message).replace('%', '%25')}"
