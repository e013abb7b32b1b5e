"""A decision in the formats of CI systems, each from its public view: no number of the audit, no fingerprint of it.

    render_format(decision, name) -> str        name is one of FORMATS

It does not know where a decision was made, nor the exit code that goes with it: that never depends on a format.
"""

from collections.abc import Callable

from privdistill.policy.decision import Decision
from privdistill.report.decision import render_decision
from privdistill.report.formats.annotations import render_annotations
from privdistill.report.formats.junit import render_junit
from privdistill.report.formats.sarif import render_sarif
from privdistill.report.formats.summary import render_summary

__all__ = ["FORMATS", "render_format"]

_INTERNAL: dict[str, Callable[[Decision], str]] = {"text": render_decision, "json": Decision.to_json}
_PUBLIC: dict[str, Callable[[Decision], str]] = {
    "junit": render_junit,
    "sarif": render_sarif,
    "github": render_annotations,
    "markdown": render_summary,
}
FORMATS = (*_INTERNAL, *_PUBLIC)
"""`text` and `json` show the decision as it is; what CI systems publish shows its public view."""


def render_format(decision: Decision, name: str) -> str:
    """Render a decision.

    Raises:
        KeyError: no such format.
    """
    if name in _INTERNAL:
        return _INTERNAL[name](decision)
    return _PUBLIC[name](decision.public(publish_metrics=False))
