"""A decision as SARIF 2.1.0: one run, one result for every rule that is not satisfied.

Required rules are errors (also those that were not run: GitHub shows nothing for SARIF's `open`), advisory ones notes;
a waived one carries an accepted suppression. Fingerprints are made of policy and rule names, so an alert stays one
alert over many runs. It does not know which system reads it.
"""

import hashlib
import json

from privdistill.policy.decision import Decision, RuleResult
from privdistill.report.plain import plain

__all__ = ["MAX_RESULTS", "render_sarif"]

MAX_RESULTS = 5_000
"""What GitHub shows of one run; it rejects more than 25,000."""
_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_PLACE = "decision.json"


def render_sarif(decision: Decision) -> str:
    """Render the public view of a decision."""
    results = [
        _result(decision, index, result) for index, result in enumerate(decision.rules) if result.status != "satisfied"
    ]
    index = len(decision.rules)
    for use in decision.waivers:
        if use.state in ("expired", "refused"):
            said = f"The waiver of {use.rule} is {use.state}; its last day is {use.expires}."
            results.append(_finding(decision, "waivers", index, "error", said))
    driver = {
        "name": "privdistill",
        "version": plain(decision.tool_version),
        "rules": [_rule(result) for result in decision.rules]
        + [{"id": "waivers", "shortDescription": {"text": "no waiver has expired or is refused"}}],
    }
    run = {
        "tool": {"driver": driver},
        "automationDetails": {"id": f"privdistill-gate/{plain(decision.policy.name)}/"},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": decision.verdict != "indeterminate", "exitCode": decision.exit_code}],
        "results": results[:MAX_RESULTS],
        "properties": {
            "verdict": decision.verdict,
            "reason": plain(decision.reason),
            "policySha256": decision.policy.sha256,
            "resultsLeftOut": max(0, len(results) - MAX_RESULTS),
        },
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, allow_nan=False) + "\n"


def _rule(result: RuleResult) -> dict[str, object]:
    return {
        "id": result.id,
        # SARIF 2.1.0, 3.49.7: a name that says no more than the id is left out.
        **({"name": plain(result.kind)} if result.kind != result.id else {}),
        "shortDescription": {"text": plain(result.requirement)},
        "defaultConfiguration": {"level": "error" if result.required else "note"},
        "properties": {"level": result.level},
    }


def _result(decision: Decision, index: int, result: RuleResult) -> dict[str, object]:
    state = "Not run" if result.status == "not-run" else "Violated"
    text = f"{state}: {result.finding}. Asked: {result.requirement}."
    found = _finding(decision, result.id, index, "error" if result.required else "note", text)
    why = [use for use in decision.waivers if use.state == "applied" and use.rule == result.id]
    if result.id in decision.waived and why:
        said = "; ".join(f"{use.reason} ({use.approved_by}, until {use.expires})" for use in why)
        found["suppressions"] = [{"kind": "external", "status": "accepted", "justification": plain(said)}]
    return found


def _finding(decision: Decision, rule: str, index: int, level: str, text: str) -> dict[str, object]:
    name = json.dumps(["privdistill-gate/v1", decision.policy.name, rule]).encode()
    place = {"artifactLocation": {"uri": _PLACE}, "region": {"startLine": 1}}
    return {
        "ruleId": rule,
        "ruleIndex": index,
        "level": level,
        "message": {"text": plain(text)},
        "locations": [{"physicalLocation": place}],
        "partialFingerprints": {"privdistillRule/v1": hashlib.sha256(name).hexdigest()},
    }
