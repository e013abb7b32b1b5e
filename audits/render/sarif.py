"""SARIF 2.1.0 for code scanning. Results are what blocks: a violated check, and a required one that did not pass.

A viewer that ignores `kind` would show a passed check as an alert, so what passed is listed as a rule only, with its
outcome among the run's properties. Fingerprints name the check, so that one check is one alert over all runs. Without
times, so that the same audit gives the same bytes.
"""

import json
from typing import Any

from audits.render.view import Row, View

__all__ = ["render"]

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_PLACE = "audit.json"


def render(view: View) -> str:
    """Return the log, ending with a newline."""
    run = {
        "tool": {
            "driver": {
                "name": "privdistill audits",
                "semanticVersion": view.examiner_version.replace("+", "-"),
                "rules": [_rule(row) for row in view.rows],
            }
        },
        "automationDetails": {"id": "privdistill/audit/"},
        "columnKind": "unicodeCodePoints",
        "invocations": [
            {
                "executionSuccessful": not any(row.crashed for row in view.rows),
                "toolExecutionNotifications": [
                    {"level": "error", "message": {"text": row.summary}, "associatedRule": {"id": row.id}}
                    for row in view.rows
                    if row.crashed
                ],
            }
        ],
        "results": [_result(row, place) for place, row in enumerate(view.rows) if row.blocking],
        "properties": {
            "verdict": view.verdict,
            "view": view.name,
            "outcomes": {row.id: row.outcome for row in view.rows},
            "facts": dict(view.facts),
        },
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, sort_keys=True) + "\n"


def _rule(row: Row) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": "".join(word.capitalize() for word in row.name.split("-")),
        "shortDescription": {"text": row.title},
        "help": {"text": f"python -m audits checks explain {row.id}"},
        "defaultConfiguration": {"level": "error"},
        "properties": {"tags": ["privacy", row.tier], "threat_model": row.threat_model, "required": row.required},
    }


def _result(row: Row, place: int) -> dict[str, Any]:
    violated = row.outcome == "violated"
    return {
        "ruleId": row.id,
        "ruleIndex": place,
        "kind": "fail" if violated else "open",
        "level": "error" if violated else "none",  # the standard wants `none` for all kinds but `fail`
        "message": {"text": "\n".join((f"{row.title} {row.summary}", *row.brief, *row.details))},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": _PLACE}, "region": {"startLine": 1}}},
        ],
        "partialFingerprints": {"privdistillCheck/v1": row.id},
    }
