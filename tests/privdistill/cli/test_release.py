"""`audit`, `gate`, `release`, `verify`, `report`, `ledger`, `policy`: exit codes and where output goes."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from audits.findings import AuditReport, Finding, Inputs, SideCount
from privdistill.config import RunConfig
from privdistill.policy.decision import Decision, PolicyId, RuleResult
from privdistill.policy.facts import Digests
from privdistill.report import Verification, VerifiedItem, render_evaluation
from privdistill.runs import RunDirectory
from tests.privdistill.accounting.ledger.conftest import opened
from tests.privdistill.report.test_evaluation import evaluation

_SHA = "0" * 64
_VERDICTS = [("allow", 0), ("deny", 10), ("indeterminate", 3)]


def decision(verdict: str) -> Decision:
    """A decision with one rule that is satisfied, violated or not run."""
    status = {"allow": "satisfied", "deny": "violated", "indeterminate": "not-run"}[verdict]
    rule = RuleResult(
        id="epsilon-limit",
        kind="claim",
        level="hard",
        status=status,
        requirement="epsilon at most 8",
        finding="epsilon is 12",
        value=12.0,
        limit=8.0,
        evidence=("claim",),
    )
    return Decision(
        verdict=verdict,
        reason="because of epsilon-limit",
        policy=PolicyId(name="internal", version="1", sha256=_SHA),
        run_id="one",
        rules=(rule,),
        digests=Digests(_SHA, _SHA, _SHA, _SHA),
        source=None,
        decided_at="2026-01-01T00:00:00+00:00",
        tool_version="0.1.0",
    )


def audit_report(verdict: str) -> AuditReport:
    """A report with one check."""
    count = SideCount(units_used=10, units_available=10, records_used=10, records_available=10)
    finding = Finding(
        id="PD201",
        name="verbatim",
        title="Copies",
        threat_model="T1",
        status=verdict,
        tier="core",
        summary="nothing was copied",
    )
    inputs = Inputs(
        synthetic_sha256=_SHA,
        claim_sha256=None,
        synthetic=count,
        train=count,
        holdout=count,
        privacy_unit="record",
        split="own",
    )
    return AuditReport(
        examiner_version="0.1.0", seed=1, inputs=inputs, required=("PD201",), findings=(finding,), verdict=verdict
    )


@pytest.mark.parametrize(("verdict", "code"), [("pass", 0), ("fail", 10), ("inconclusive", 3)])
def test_audit_ends_with_its_verdict(
    cli: Callable, pipeline: ModuleType, in_folder: Path, verdict: str, code: int
) -> None:
    report = audit_report(verdict)
    pipeline.audit = lambda run, *, encoder=None, progress=None: report
    config = RunConfig.model_validate({"source": {"path": "x.csv", "unit": "patient", "contribution_bound": 3}})
    run, manifest = RunDirectory.begin(in_folder / "r", config=config, ledger="l", source_id="s")
    run.write_manifest(manifest)
    ended = cli("audit", "r")
    assert ended.code == code
    assert ended.out.startswith(f"AUDIT {verdict.upper()}")
    if verdict == "pass":
        assert ended.err == "next: privdistill release r --policy public --out BUNDLE\n"
    else:
        assert "privdistill release" not in ended.err
        assert "nothing is retried" in ended.err
        assert "a new run costs budget again" in ended.err
        assert {"fail": "checks explain PD201", "inconclusive": "a larger corpus"}[verdict] in ended.err
    assert "unit record" in ended.out
    report = report.model_copy(update={"inputs": report.inputs.model_copy(update={"privacy_unit": "unit"})})
    assert "; unit patient\n" in cli("audit", "r").out
    ended = cli("audit", "r", "--json", "-q")
    assert (ended.code, ended.err) == (code, "")
    assert json.loads(ended.out)["schema"] == "privdistill.audit/v1"


@pytest.mark.parametrize(("verdict", "code"), _VERDICTS)
def test_gate_ends_with_its_decision(
    cli: Callable, pipeline: ModuleType, in_folder: Path, verdict: str, code: int
) -> None:
    asked = []

    def gate(target: Path, policy: str, *, waivers: tuple = ()) -> Decision:
        asked.append((target, policy))
        return decision(verdict)

    pipeline.gate = gate
    ended = cli("gate", "r", "--policy", "internal")
    assert ended.code == code
    assert ended.out.startswith({"allow": "ALLOWED", "deny": "DENIED", "indeterminate": "NOT DECIDED"}[verdict])
    assert json.loads(cli("gate", "r", "--json").out)["verdict"] == verdict
    assert asked == [(Path("r"), "internal"), (Path("r"), "public")]


@pytest.mark.parametrize(("verdict", "code"), _VERDICTS)
def test_release_writes_only_when_allowed(
    cli: Callable, pipeline: ModuleType, in_folder: Path, verdict: str, code: int
) -> None:
    pipeline.release = lambda run, *, policy, out, waivers=(), sign=None: (
        decision(verdict),
        out if verdict == "allow" else None,
    )
    ended = cli("release", "r", "--out", "b")
    assert ended.code == code
    assert ("bundle b" in ended.out) == (verdict == "allow")
    document = json.loads(cli("release", "r", "--out", "b", "--json").out)
    assert document["bundle"] == ("b" if verdict == "allow" else None)


@pytest.mark.parametrize(("status", "code"), [("verified", 0), ("failed", 10), ("not-checked", 10)])
def test_verify_says_yes_only_when_something_was_verified(
    cli: Callable, pipeline: ModuleType, in_folder: Path, status: str, code: int
) -> None:
    item = VerifiedItem(name="sums", status=status, sentence="the sums")
    pipeline.verify = lambda bundle, key=None: Verification(bundle="b", checks=(item,))
    ended = cli("verify", "b")
    assert ended.code == code
    assert "the sums" in ended.out
    assert json.loads(cli("verify", "b", "--json").out)["checks"][0]["status"] == status


def test_evaluate_prints_the_numbers(cli: Callable, pipeline: ModuleType, in_folder: Path) -> None:
    asked = []

    def evaluate(runs: list[Path], test: Path, *, wanted, progress: Callable):
        asked.append((runs, test, wanted.students, wanted.zero_shot, wanted.group_column))
        return evaluation()

    pipeline.evaluate = evaluate
    assert cli("evaluate", "r", "--test", "t.csv").out == render_evaluation(evaluation())
    options = ("--students", "words, finetuned", "--zero-shot", "--group-column", "store", "--json")
    document = json.loads(cli("evaluate", "r", "s", "--test", "t.csv", *options).out)
    assert document["schema"] == "privdistill.evaluation/v1"
    assert document["internal"] is True
    assert document["utility"][0]["accuracy"].keys() == {"value", "low", "high", "n", "method"}
    usual = ("words", "encoder", "static", "transformer")
    assert asked == [
        ([Path("r")], Path("t.csv"), usual, False, None),
        ([Path("r"), Path("s")], Path("t.csv"), ("words", "finetuned"), True, "store"),
    ]
    assert cli("evaluate", "r").code == 2
    ended = cli("evaluate", "r", "--test", "t.csv", "--students", "oracle")
    assert ended.code == 2
    assert "words, encoder, static, transformer, finetuned" in ended.err


def test_policy_list_and_show(cli: Callable, in_folder: Path) -> None:
    names = [line.split()[0] for line in cli("policy", "list").out.splitlines()]
    assert names == ["finance", "health", "internal", "public", "research"]
    listed = json.loads(cli("policy", "list", "--json").out)
    for entry in listed:
        text = cli("policy", "show", entry["name"]).out
        assert f"name: {entry['name']}" in text
        assert json.loads(cli("policy", "show", entry["name"], "--json").out)["sha256"] == entry["sha256"]


def test_ledger_show_lists_sources(cli: Callable, in_folder: Path) -> None:
    from privdistill.accounting.ledger import Ledger

    opened(Ledger("book.sqlite3"), "ward")
    ended = cli("ledger", "show", "--ledger", "book.sqlite3")
    assert ended.code == 0
    assert "ward" in ended.out
    (source,) = json.loads(cli("ledger", "show", "--ledger", "book.sqlite3", "--json").out)["sources"]
    assert (source["name"], source["epsilon"], source["attempts"]) == ("ward", 0.0, 0)


def test_report_of_what_is_no_bundle(cli: Callable, in_folder: Path) -> None:
    bundle = in_folder / "bundle"
    bundle.mkdir()
    ended = cli("report", "bundle")
    assert ended.code == 2
    assert "not a run directory" in ended.err
    (bundle / "SHA256SUMS").write_text("")
    (bundle / "claim.json").write_text("{}")
    ended = cli("report", "bundle")
    assert ended.code == 10
    assert "layout" in ended.out
