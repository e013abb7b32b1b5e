"""Every format: what each view may show, well-formedness, and the same bytes for the same report."""

import json
import xml.etree.ElementTree as ET

import pytest

from audits.__main__ import _FORMATS
from audits.findings import AuditReport, PublicReport
from audits.render.formats import FORMATS, default_view, render
from tests.audits.render.conftest import HOSTILE

STANDARD = {"text", "json", "junit", "sarif", "github", "markdown"}


def test_the_command_line_knows_every_format() -> None:
    assert set(FORMATS) == STANDARD
    assert FORMATS == _FORMATS


@pytest.mark.parametrize("format", FORMATS)
def test_the_public_view_shows_no_number_from_records(report: AuditReport, format: str) -> None:
    """The report's counts, estimates, p-values, pointers, summaries, seed and versions all hold 7731 or 77.31."""
    shown = render(report, format, "public")
    for secret in ("7731", "77.31", "00ff", "who|x", "things", HOSTILE[:5], "noted"):
        assert secret not in shown, secret
    assert "7731" in render(report, format, "internal")
    for id in ("X1", "X2", "X3", "X4", "X5"):
        assert id in shown


@pytest.mark.parametrize("format", ["junit", "sarif", "github", "markdown"])
def test_ci_formats_are_public_unless_asked(format: str) -> None:
    assert default_view(format) == default_view(format, terminal=True) == "public"
    assert default_view("text") == "public", "a pipe may be a log"
    assert default_view("text", terminal=True) == "internal"


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("view", ["public", "internal"])
def test_the_same_report_gives_the_same_bytes(report: AuditReport, format: str, view: str) -> None:
    again = AuditReport.model_validate_json(report.model_dump_json(by_alias=True))
    assert render(report, format, view) == render(again, format, view)
    assert render(report, format, view).endswith("\n")


def test_public_outcomes_are_three(report: AuditReport) -> None:
    found = PublicReport.model_validate_json(render(report, "json", "public"))
    assert {f.id: f.outcome for f in found.findings} == {
        "X1": "satisfied",
        "X2": "violated",
        "X3": "not run",
        "X4": "not run",
        "X5": "not run",
    }


@pytest.mark.parametrize("view", ["public", "internal"])
def test_junit_is_well_formed_and_nothing_undecided_is_green(report: AuditReport, view: str) -> None:
    root = ET.fromstring(render(report, "junit", view))
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors"), suite.get("skipped")) == (
        "5",
        "1",
        "2",
        "1",
    )
    cases = {case.get("name", "").split()[0]: [child.tag for child in case] for case in suite.iter("testcase")}
    assert cases == {"X1": [], "X2": ["failure"], "X3": ["error"], "X4": ["error"], "X5": ["skipped"]}
    assert not [name for name in ("time", "timestamp", "hostname") if name in suite.attrib]


@pytest.mark.parametrize("view", ["public", "internal"])
def test_sarif_holds_what_the_standard_requires(report: AuditReport, view: str) -> None:
    """The parts of the 2.1.0 schema that constrain what we write; a viewer refuses a log that breaks one of them."""
    import jsonschema

    log = json.loads(render(report, "sarif", view))
    jsonschema.validate(log, SARIF, jsonschema.Draft202012Validator)
    (run,) = log["runs"]
    rules = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert len(set(rules)) == len(rules)
    for result in run["results"]:
        assert rules[result["ruleIndex"]] == result["ruleId"]
        assert (result["kind"] == "fail") == (result["level"] != "none"), "kinds other than fail have level none"
    assert [result["ruleId"] for result in run["results"]] == ["X2", "X3", "X4"], "only what blocks is a result"
    assert run["invocations"][0]["executionSuccessful"] is (view == "public")


def test_a_broken_log_would_not_validate(report: AuditReport) -> None:
    import jsonschema

    log = json.loads(render(report, "sarif", "public"))
    del log["runs"][0]["results"][0]["message"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(log, SARIF, jsonschema.Draft202012Validator)


@pytest.mark.parametrize("format", ["markdown", "github"])
def test_what_others_named_cannot_break_markdown(report: AuditReport, format: str) -> None:
    shown = render(report, format, "internal")
    assert "<script>" not in shown
    assert "a\\|b" in shown
    tables = [line for line in shown.splitlines() if line.startswith("| X")]
    assert len(tables) == 5
    assert all(line.replace("\\|", "").count("|") == 6 for line in tables)


def test_text_shows_a_pointer_with_its_place(report: AuditReport) -> None:
    shown = render(report, "text", "internal")
    assert "unit 00ff00ff00ff00ff (train): row 7731, words 3 to 11, score 77.31" in shown
    assert "python -m audits checks explain X2" in shown
    assert "\x1b" not in shown
    assert "\x00" not in shown


_TEXT = {"type": "string", "minLength": 1}
_MESSAGE = {"type": "object", "required": ["text"], "properties": {"text": _TEXT}}
_LEVEL = {"enum": ["none", "note", "warning", "error"]}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"const": "2.1.0"},
        "runs": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["tool"],
                "properties": {
                    "columnKind": {"enum": ["utf16CodeUnits", "unicodeCodePoints"]},
                    "automationDetails": {"type": "object", "properties": {"id": _TEXT}},
                    "tool": {
                        "type": "object",
                        "required": ["driver"],
                        "properties": {
                            "driver": {
                                "type": "object",
                                "required": ["name"],
                                "properties": {
                                    "name": _TEXT,
                                    "semanticVersion": _TEXT,
                                    "rules": {
                                        "type": "array",
                                        "items": {
                                            "type": "object",
                                            "required": ["id"],
                                            "properties": {
                                                "id": _TEXT,
                                                "name": _TEXT,
                                                "shortDescription": _MESSAGE,
                                                "help": _MESSAGE,
                                                "defaultConfiguration": {"properties": {"level": _LEVEL}},
                                                "properties": {"properties": {"tags": {"uniqueItems": True}}},
                                            },
                                        },
                                    },
                                },
                            }
                        },
                    },
                    "invocations": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["executionSuccessful"],
                            "properties": {
                                "executionSuccessful": {"type": "boolean"},
                                "toolExecutionNotifications": {
                                    "type": "array",
                                    "items": {"required": ["message"], "properties": {"message": _MESSAGE}},
                                },
                            },
                        },
                    },
                    "results": {
                        "type": "array",
                        "items": {
                            "type": "object",
                            "required": ["message"],
                            "properties": {
                                "ruleId": _TEXT,
                                "ruleIndex": {"type": "integer", "minimum": -1},
                                "kind": {"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
                                "level": _LEVEL,
                                "message": _MESSAGE,
                                "partialFingerprints": {"additionalProperties": {"type": "string"}},
                                "locations": {
                                    "type": "array",
                                    "minItems": 1,  # not the standard: code scanning shows no result without one
                                    "items": {
                                        "required": ["physicalLocation"],
                                        "properties": {
                                            "physicalLocation": {
                                                "required": ["artifactLocation"],
                                                "properties": {
                                                    "artifactLocation": {"properties": {"uri": _TEXT}},
                                                    "region": {"properties": {"startLine": {"minimum": 1}}},
                                                },
                                            }
                                        },
                                    },
                                },
                            },
                        },
                    },
                },
            },
        },
    },
}
