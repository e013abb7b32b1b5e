"""Markdown for people who read a report in a browser. Everything that a file or a plug-in named is escaped."""

import re

from audits.render.view import Row, View

__all__ = ["escape", "render", "table"]

_SPECIAL = re.compile(r"([\\`*_\[\]<>#|~])")


def render(view: View) -> str:
    """Return the document, ending with a newline."""
    lines = ["# Audit of a synthetic corpus", "", f"**{escape(view.headline)}**", "", *table(view), ""]
    for row in view.rows:
        if row.brief or row.details:
            lines += [f"## {row.id} {escape(row.name)}", "", f"{escape(row.title)} {escape(row.summary)}", ""]
            lines += [*(f"- {escape(detail)}" for detail in (*row.brief, *row.details)), ""]
    lines += ["## What was examined", "", *(f"- {escape(name)}: {escape(value)}" for name, value in view.facts)]
    if view.note:
        lines += ["", escape(view.note)]
    return "\n".join(lines) + "\n"


def table(view: View) -> list[str]:
    """Return one line per check, with the legend."""
    return [
        "| check | outcome | required | question | |",
        "| --- | --- | --- | --- | --- |",
        *(_line(row) for row in view.rows),
    ]


def _line(row: Row) -> str:
    status = f"**{row.status}**" if row.blocking else row.status
    required = "yes" if row.required else "no"
    return f"| {row.id} {escape(row.name)} | {status} | {required} | {escape(row.title)} | {escape(row.summary)} |"


def escape(text: str) -> str:
    r"""Return text that Markdown and HTML show as it is, on one line.

    >>> print(escape("a|b <img>"))
    a\|b \<img\>
    """
    return _SPECIAL.sub(r"\\\1", " ".join(text.replace("&", "&amp;").split()))
