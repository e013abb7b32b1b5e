"""The step summary of a GitHub workflow: `--output github=$GITHUB_STEP_SUMMARY`. What blocks comes first."""

from audits.render.markdown import escape, table
from audits.render.view import View

__all__ = ["render"]

_ALERT = {"pass": "NOTE", "fail": "CAUTION", "inconclusive": "WARNING"}


def render(view: View) -> str:
    """Return the summary, ending with a newline."""
    lines = ["## Audit of a synthetic corpus", "", f"> [!{_ALERT[view.verdict]}]", f"> {escape(view.headline)}", ""]
    blocking = [row for row in view.rows if row.blocking]
    lines += [f"- **{row.id} {escape(row.name)}**: {escape(row.summary)}" for row in blocking]
    lines += ["", "<details><summary>All checks</summary>", "", *table(view), "", "</details>"]
    lines += ["", *(f"- {escape(name)}: {escape(value)}" for name, value in view.facts)]
    if view.note:
        lines += ["", f"<sub>{escape(view.note)}</sub>"]
    return "\n".join(lines) + "\n"
