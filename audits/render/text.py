"""Plain text for a terminal: verdict, what was examined, one line per check, what a pass would have caught."""

from audits.render.view import Row, View

__all__ = ["render"]

_MARK = {
    "pass": "pass",
    "fail": "FAIL",
    "inconclusive": "open",
    "error": "ERROR",
    "skipped": "skip",
    "satisfied": "pass",
    "violated": "FAIL",
    "not run": "-",
}


def render(view: View) -> str:
    """Return the text, ending with a newline."""
    width = max(len(name) for name, _ in view.facts)
    lines = [view.headline, "", *(f"{name.ljust(width)}  {value}" for name, value in view.facts), ""]
    for row in view.rows:
        lines += _row(row)
    if view.note:
        lines += ["", view.note]
    failed = [row.id for row in view.rows if row.outcome == "violated"]
    if failed:
        lines += ["", f"what to do: python -m audits checks explain {failed[0]}"]
    return "\n".join(lines) + "\n"


def _row(row: Row) -> list[str]:
    optional = "" if row.required else "  (not required)"
    lines = [f"{_MARK[row.status]:5}  {row.id}  {row.name}{optional}", f"       {row.summary}"]
    return lines + [f"       {detail}" for detail in row.brief]
