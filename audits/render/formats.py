"""The formats by name, and which view each shows unless it is told.

JSON is the contract between programs and shows everything, as audit.json does. What CI systems publish (JUnit, SARIF,
step summary, Markdown) shows the public view, and so does text that does not go to a terminal.
"""

import json
from collections.abc import Callable, Mapping

from audits.findings import AuditReport, ViewName
from audits.render import canonical, github, junit, markdown, sarif, text
from audits.render.view import View, public_report, view

__all__ = ["FORMATS", "default_view", "render"]

_WRITERS: Mapping[str, Callable[[View], str]] = {
    "text": text.render,
    "junit": junit.render,
    "sarif": sarif.render,
    "github": github.render,
    "markdown": markdown.render,
}
FORMATS = ("text", "json", *(name for name in _WRITERS if name != "text"))
"""The same names stand in `audits.__main__`, which must not import this to print its help."""


def default_view(format: str, *, terminal: bool = False) -> ViewName:
    """Return the view of a format: internal for JSON and for text on a terminal, else public.

    >>> default_view("sarif", terminal=True), default_view("text"), default_view("json")
    ('public', 'public', 'internal')
    """
    return "internal" if format == "json" or (format == "text" and terminal) else "public"


def render(report: AuditReport, format: str, name: ViewName) -> str:
    """Return a report in one format and view, ending with a newline."""
    if format != "json":
        return _WRITERS[format](view(report, name))
    if name == "internal":
        return canonical.dumps(report)
    document = public_report(report).model_dump(mode="json", by_alias=True)
    return json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False) + "\n"
