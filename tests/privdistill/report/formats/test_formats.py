"""CI formats: well-formed, complete, in the public view, and unable to act on whoever reads them."""

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest

from privdistill.policy import Decision, WaiverUse
from privdistill.report.formats import FORMATS, render_format, sarif, summary
from tests.privdistill.policy.conftest import Change, ask, honest

HOSTILE = 'x\x1b[2J\n::error::no %0A <b>|]]>\x00\u202e & "q"'
CI = ("junit", "sarif", "github", "markdown")

ALLOWED = ask(honest("epsilon-8"))
DENIED = ask(Change(honest("epsilon-8")).claim(delta=1e-4, rows=5))
OPEN = ask(replace(honest("epsilon-8"), audit=None))


def waived(decision: Decision) -> Decision:
    use = WaiverUse(
        rule="source-total",
        fingerprint="0" * 32,
        reason="approved in the review of May",
        approved_by="A. Officer",
        expires="2026-12-31",
        state="applied",
    )
    return decision.model_copy(update={"waived": ("source-total",), "waivers": (use,)})


OVER = ask(Change(honest("epsilon-8")).ledger(cumulative_epsilon=41.0))
WAIVED = waived(OVER).model_copy(update={"verdict": "allow"})
EXPIRED = OVER.model_copy(
    update={
        "verdict": "deny",
        "waivers": tuple(use.model_copy(update={"state": "expired"}) for use in waived(OVER).waivers),
    }
)
EMPTY = DENIED.model_copy(update={"rules": ()})
ALL = (ALLOWED, DENIED, OPEN, OVER, WAIVED, EXPIRED, EMPTY)


def hostile(decision: Decision) -> Decision:
    rules = tuple(rule.model_copy(update={"finding": HOSTILE, "requirement": HOSTILE}) for rule in decision.rules)
    policy = decision.policy.model_copy(update={"name": HOSTILE})
    uses = tuple(use.model_copy(update={"reason": HOSTILE, "approved_by": HOSTILE}) for use in decision.waivers)
    return decision.model_copy(
        update={"rules": rules, "policy": policy, "run_id": HOSTILE, "reason": HOSTILE, "waivers": uses}
    )


@pytest.mark.parametrize("decision", ALL)
def test_junit_has_one_case_a_rule_and_counts_them(decision: Decision) -> None:
    (suite,) = ET.fromstring(render_format(decision, "junit"))
    cases = suite.findall("testcase")
    kinds = {case.get("name"): [child.tag for child in case] for case in cases}
    if decision.rules:
        assert {rule.id for rule in decision.rules} <= set(kinds)
    for rule in decision.rules:
        expected = {"satisfied": [], "violated": ["failure"], "not-run": ["error"]}[rule.status]
        if rule.status != "satisfied" and (not rule.required or rule.id in decision.waived):
            expected = ["skipped"]
        assert kinds[rule.id] == expected
    for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
        assert int(suite.get(name) or -1) == sum(kind == [tag] for kind in kinds.values())
    red = int(suite.get("failures") or 0) + int(suite.get("errors") or 0)
    assert (red == 0) == (decision.verdict == "allow"), "a report is green exactly when the answer is yes"


@pytest.mark.parametrize("also", [(), waived(OVER).waivers])
def test_junit_of_what_was_not_even_looked_at_has_one_failure_that_says_why(also: tuple[WaiverUse, ...]) -> None:
    rules = tuple(rule.model_copy(update={"status": "not-run", "finding": "there is no claim"}) for rule in OPEN.rules)
    expired = tuple(use.model_copy(update={"state": "expired"}) for use in also)
    reason = "the bundle does not verify (layout); see privdistill verify"
    broken = {"verdict": "deny", "reason": reason, "rules": rules, "waivers": expired}
    (suite,) = ET.fromstring(render_format(OPEN.model_copy(update=broken), "junit"))
    (failure,) = (case for case in suite.findall("testcase") if case.get("name") == "verdict")
    assert [child.get("message") for child in failure] == [reason]
    assert failure.find("failure") is not None
    assert suite.get("failures") == str(1 + len(expired))


@pytest.mark.parametrize("decision", ALL)
def test_sarif_has_one_result_for_every_open_rule(decision: Decision) -> None:
    document = json.loads(render_format(decision, "sarif"))
    assert document["version"] == "2.1.0"
    (run,) = document["runs"]
    rules = run["tool"]["driver"]["rules"]
    required = {rule.id for rule in decision.rules if rule.required}
    refused = [use for use in decision.waivers if use.state != "applied"]
    assert len(run["results"]) == len(decision.unmet()) + len(refused)
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["level"] == ("error" if result["ruleId"] in {*required, "waivers"} else "note")
        assert result["message"]["text"]
        place = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"]
        assert not place.startswith(("/", "file:"))
        assert ("suppressions" in result) == (result["ruleId"] in decision.waived)
        assert re.fullmatch("[0-9a-f]{64}", result["partialFingerprints"]["privdistillRule/v1"])
    assert len({result["partialFingerprints"]["privdistillRule/v1"] for result in run["results"]}) == len(
        run["results"]
    )
    assert run["automationDetails"]["id"].endswith("/")
    assert run["properties"]["verdict"] == decision.verdict


def test_alerts_stay_the_same_over_runs_of_one_policy() -> None:
    def prints(decision: Decision) -> set[str]:
        (run,) = json.loads(render_format(decision, "sarif"))["runs"]
        return {result["partialFingerprints"]["privdistillRule/v1"] for result in run["results"]}

    assert prints(OVER) <= prints(ask(Change(honest("epsilon-8")).ledger(cumulative_epsilon=50.0, attempts=9)))
    assert not prints(OVER) & prints(
        OVER.model_copy(update={"policy": ALLOWED.policy.model_copy(update={"name": "b"})})
    )


def test_sarif_says_how_many_results_it_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sarif, "MAX_RESULTS", 1)
    (run,) = json.loads(render_format(OPEN, "sarif"))["runs"]
    assert len(run["results"]) == 1
    assert run["properties"]["resultsLeftOut"] == len(OPEN.unmet()) - 1


@pytest.mark.parametrize("decision", ALL)
def test_annotations_are_one_line_each_and_end_with_the_verdict(decision: Decision) -> None:
    *commands, verdict = render_format(decision, "github").splitlines()
    levels = [re.match("::(error|warning|notice) title=[^:,]*::.", line) for line in commands]
    assert all(levels)
    assert len(commands) == len(decision.unmet()) + sum(use.state == "expired" for use in decision.waivers)
    red = sum(level is not None and level[1] == "error" for level in levels)
    assert (red == 0) == (decision.verdict == "allow" or not decision.rules)
    assert verdict.startswith(("ALLOWED", "DENIED", "NOT DECIDED"))


@pytest.mark.parametrize("decision", ALL)
def test_the_summary_opens_with_the_verdict_and_fits(decision: Decision) -> None:
    text = render_format(decision, "markdown")
    word = {"allow": "Allowed", "deny": "Denied", "indeterminate": "Not decided"}[decision.verdict]
    assert text.startswith(f"## {word} under policy ")
    for rule in decision.rules:
        assert f"| {rule.id} |" in text
    assert len(text.encode()) < summary.MAX_BYTES


def test_a_summary_that_is_too_long_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary, "MAX_BYTES", 1_000)
    text = render_format(DENIED, "markdown")
    assert len(text.encode()) <= 1_000
    assert text.startswith("## Denied")
    assert "do not fit" in text


@pytest.mark.parametrize("form", CI)
@pytest.mark.parametrize("decision", ALL)
def test_what_ci_systems_publish_shows_no_number_of_the_audit(decision: Decision, form: str) -> None:
    secret = "0.123454321"
    rules = tuple(
        rule.model_copy(update={"finding": f"found {secret}", "value": 0.123454321, "fingerprint": "f" * 32})
        if "audit" in rule.evidence
        else rule
        for rule in decision.rules
    )
    marked = decision.model_copy(update={"rules": rules, "digests": replace(decision.digests, audit="a" * 64)})
    text = render_format(marked, form)
    assert secret not in text
    assert "f" * 32 not in text
    assert "a" * 64 not in text
    if decision.rules:
        assert secret in render_format(marked, "json")


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "json"])
@pytest.mark.parametrize("decision", [DENIED, OPEN, WAIVED, EXPIRED])
def test_hostile_names_stay_text(decision: Decision, form: str) -> None:
    text = render_format(hostile(decision), form)
    assert not {"\x1b", "\x00", "\u202e"} & set(text)
    if form == "junit":
        ET.fromstring(text)
    elif form == "sarif":
        json.loads(text)
    elif form == "github":
        assert all(re.match("::(error|warning|notice) title=[^:,]*::.", line) for line in text.splitlines()[:-1])
        assert not [line for line in text.splitlines()[:-1] if "%0A" in line]
    else:
        assert not [line for line in text.splitlines() if line.startswith("::")]
    if form == "markdown":
        assert "<b>" not in text
