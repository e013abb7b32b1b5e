"""`report` and `hook outputs`: what does not hold is not shown, and what could not be checked is said."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from privdistill.accounting.ledger import Ledger
from tests.privdistill.accounting.ledger.conftest import reserve
from tests.privdistill.cli.control.runs import bind, build_run, digest, edit


@pytest.fixture
def run(in_folder: Path) -> Path:
    """An honest run that `internal` allows."""
    return build_run(in_folder / "run")


@pytest.fixture
def bundle(cli: Callable, run: Path) -> Path:
    assert cli("release", run, "--policy", "internal", "--out", "bundle").code == 0
    return Path("bundle")


def forge(claim: Path) -> None:
    """Every epsilon of a claim becomes half of one."""

    def halve(document: dict) -> None:
        document["epsilon"] = 0.5
        for name in ("accountant", "second_accountant"):
            document[name]["epsilon"] = 0.5

    edit(claim, halve)


def said_nothing(ended) -> None:
    """It was refused, and no paper was shown as if it held."""
    assert (ended.code, ended.err) == (10, "")
    assert ended.out.startswith("NOT VERIFIED")
    for word in ("ALLOWED", "CLAIM", "AUDIT"):
        assert word not in ended.out


def test_a_bundle_that_verifies_is_shown(cli: Callable, bundle: Path) -> None:
    ended = cli("report", bundle)
    assert ended.code == 0
    parts = [ended.out.index(word) for word in ("VERIFIED", "ALLOWED", "decided 2", "CLAIM  epsilon 8")]
    assert parts == sorted(parts)
    assert parts[0] == 0


@pytest.mark.parametrize("mended", [False, True])
def test_nothing_of_a_forged_bundle_is_shown(cli: Callable, bundle: Path, mended: bool) -> None:
    forge(bundle / "claim.json")
    edit(bundle / "decision.json", lambda d: d["policy"].update(name="public"))
    if mended:  # sums made to fit: what is wrong is found further in
        from privdistill.bundle import layout

        files = {name: (bundle / name).read_bytes() for name in layout.FILES}
        (bundle / layout.SUMS).write_text(layout.sums_text(files))
    said_nothing(cli("report", bundle))
    ended = cli("report", bundle, "--json")
    document = json.loads(ended.out)
    assert ended.code == 10
    assert [document[name] for name in ("claim", "decision", "audit")] == [None] * 3
    assert "failed" in {check["status"] for check in document["checks"]}


@pytest.mark.parametrize("gone", [("SHA256SUMS",), ("claim.json",), ("SHA256SUMS", "decision.json", "policy.yaml")])
def test_a_damaged_bundle_is_denied_and_not_taken_for_a_typo(
    cli: Callable, bundle: Path, gone: tuple[str, ...]
) -> None:
    for name in gone:
        (bundle / name).unlink()
    assert cli("verify", bundle).code == 10
    said_nothing(cli("report", bundle))
    ended = cli("gate", bundle, "--policy", "internal")
    assert (ended.code, ended.err) == (10, "")
    assert "the bundle does not verify (layout)" in ended.out
    junit = cli("gate", bundle, "--policy", "internal", "--format", "junit").out
    assert 'failures="1"' in junit
    assert '><failure message="the bundle does not verify (layout)' in junit
    (bundle / "claim.json").unlink(missing_ok=True)
    (bundle / "SHA256SUMS").unlink(missing_ok=True)
    for command in ("verify", "report", "gate"):  # nothing says any more that it was made to be one
        assert cli(command, bundle).code == 2


@pytest.mark.parametrize("name", ["claim.json", "decision.json"])
def test_a_run_with_a_stray_paper_is_still_a_run(cli: Callable, run: Path, name: str) -> None:
    (run / name).write_text((run / "candidate" / "claim.json").read_text())
    assert cli("gate", run, "--policy", "internal").code == 0
    assert cli("report", run).code == 0


@pytest.mark.parametrize("bound", [False, True])
def test_a_claim_that_the_ledger_did_not_close_the_run_with(cli: Callable, run: Path, bound: bool) -> None:
    assert cli("gate", run, "--policy", "internal").code == 0
    forge(run / "candidate" / "claim.json")
    if bound:
        bind(run)
    ended = cli("report", run)
    said_nothing(ended)
    assert "ledger-charges: the claim is not the one that the ledger saw" in ended.out


def test_rows_that_the_claim_was_not_made_for(cli: Callable, run: Path) -> None:
    data = run / "candidate" / "data.parquet"
    data.write_bytes(data.read_bytes() + b"\0")
    said_nothing(cli("report", run))


def test_a_run_whose_ledger_is_away_says_what_is_not_shown(cli: Callable, run: Path) -> None:
    (run.parent / "run.ledger").rename("elsewhere")
    ended = cli("report", run)
    assert ended.code == 3
    assert "NOT CHECKED" in ended.out
    assert "ledger-charges: the claim or the ledger is missing" in ended.out


def test_the_last_decision_has_its_time_and_its_policy(cli: Callable, run: Path) -> None:
    cli("gate", run, "--policy", "public")
    cli("gate", run, "--policy", "internal")
    decided_at = json.loads((run / "decision.json").read_text())["decided_at"]
    text = cli("report", run).out
    assert text.startswith("ALLOWED  policy internal@")
    assert f"decided {decided_at} under policy internal, version " in text
    assert "NOT CHECKED" not in text


def test_a_decision_about_other_papers_is_none(cli: Callable, run: Path) -> None:
    cli("gate", run, "--policy", "internal")
    edit(run / "audit" / "audit.json", lambda d: d.update(seed=5))
    ended = cli("report", run)
    assert ended.code == 0
    assert ended.out.startswith("NOT DECIDED  the decision that is recorded is about other rows")
    assert json.loads(cli("report", run, "--json").out)["decision"] is None
    assert digest(run / "audit" / "audit.json") != json.loads((run / "decision.json").read_text())["digests"]["audit"]


def satisfy(document: dict) -> None:
    """Nothing is left that would stop a release."""
    for rule in document["rules"]:
        rule.update(status="satisfied", fingerprint=None)
    required = sum(rule["level"] != "advisory" for rule in document["rules"])
    document.update(verdict="allow", reason=f"all {required} required rules are satisfied")


def other_policy(document: dict) -> None:
    satisfy(document)
    document["policy"].update(name="hospital")


def unknown_policy(document: dict) -> None:
    other_policy(document)
    document["policy"].update(sha256="e" * 64)
    document["digests"].update(policy="e" * 64)


def older_tool(document: dict) -> None:
    satisfy(document)
    document.update(tool_version="0.0.1")


def waive(document: dict) -> None:
    open_ = [rule["id"] for rule in document["rules"] if rule["status"] != "satisfied"]
    document.update(verdict="allow", waived=open_)


@pytest.mark.parametrize("change", [lambda d: d.update(verdict="allow"), satisfy, other_policy, waive])
@pytest.mark.parametrize("policy", ["public", "own.yaml"])
def test_a_forged_decision_is_not_shown(cli: Callable, run: Path, policy: str, change: Callable) -> None:
    shipped = cli("policy", "show", "public").out
    Path("own.yaml").write_text(shipped.replace("name: public", "name: own"))
    assert cli("gate", run, "--policy", policy).code == 10
    assert cli("report", run).code == 0
    edit(run / "decision.json", change)
    ended = cli("report", run)
    said_nothing(ended)
    assert "FAIL  decision: " in ended.out
    document = json.loads(cli("report", run, "--json").out)
    assert (document["claim"], document["decision"]) == (None, None)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(run_id="another"),
        lambda d: d.update(reason="nobody minds"),
        lambda d: d["rules"].pop(),
        lambda d: d["rules"][6].update(level="advisory"),
        lambda d: d["rules"][0].update(finding="looked at twice"),
        lambda d: d["digests"].update(policy="0" * 64),
    ],
)
def test_what_was_edited_in_a_decision_is_found(cli: Callable, run: Path, change: Callable) -> None:
    assert cli("gate", run, "--policy", "internal").code == 0
    edit(run / "decision.json", change)
    said_nothing(cli("report", run))


def test_a_forged_standing_rule_is_found_without_the_policy(cli: Callable, run: Path) -> None:
    (run / "audit" / "audit.json").unlink()
    assert cli("gate", run, "--policy", "public").code == 10
    edit(run / "decision.json", unknown_policy)
    ended = cli("report", run)
    said_nothing(ended)
    assert "audit-verdict" in ended.out


def test_a_decision_under_a_policy_that_is_not_at_hand_is_said_not_to_be_checked(cli: Callable, run: Path) -> None:
    cli("gate", run, "--policy", "public")
    edit(run / "decision.json", unknown_policy)
    ended = cli("report", run)
    assert ended.code == 3, "no program may take this for an allowed run"
    assert ended.out.startswith("NOT CHECKED")
    assert "decision: policy hospital@eeeeeeee is not at hand" in ended.out.partition("ALLOWED")[0]
    checks = json.loads(cli("report", run, "--json").out)["checks"]
    assert [check["status"] for check in checks if check["name"] == "decision"] == ["not-checked"]


def test_a_decision_of_another_version_that_does_not_come_out_again_is_none(cli: Callable, run: Path) -> None:
    cli("gate", run, "--policy", "public")
    edit(run / "decision.json", older_tool)
    ended = cli("report", run)
    assert ended.code == 0
    assert ended.out.startswith("NOT DECIDED")


def test_a_decision_that_the_ledger_has_overtaken(cli: Callable, run: Path) -> None:
    """Another run on the source is no forgery: the decision stands as one of then, until a rule falls otherwise."""
    policy = cli("policy", "show", "internal").out
    Path("own.yaml").write_text(policy.replace("name: internal", "name: own"))
    assert cli("gate", run, "--policy", "own.yaml").code == 0
    assert "NOT CHECKED" not in cli("report", run).out
    edit(run / "decision.json", lambda d: d["source"].update(epsilon=0.1))
    ended = cli("report", run)
    assert (ended.code, ended.out.partition("  ")[0]) == (3, "NOT CHECKED")
    assert cli("gate", run, "--policy", "own.yaml").code == 0
    book = Ledger(run.parent / "run.ledger")
    source = book.open_source("films", unit="record", holdout=0.3)
    said = []
    for number in range(12):
        reserve(book, source, f"run-{number}")
        ended = cli("report", run)
        said.append((ended.code, ended.out.partition("  ")[0]))
    assert list(dict.fromkeys(said)) == [(3, "NOT CHECKED"), (0, "NOT DECIDED")]
    cli("gate", run, "--policy", "own.yaml")
    assert cli("report", run).out.startswith("ALLOWED")
    (run.parent / "run.ledger").rename("elsewhere")
    ended = cli("report", run)
    assert (ended.code, ended.out.partition("  ")[0]) == (3, "NOT CHECKED")
    assert "decision: the ledger is away" in ended.out


def test_an_honest_decision_with_waivers_holds(cli: Callable, run: Path) -> None:
    rules = "rules:\n  - {id: claim-made, kind: claim-made, level: hard, why: needed}\n"
    rules += "  - {id: rows, kind: min-rows, level: soft, rows: 100000, why: many}\n"
    Path("own.yaml").write_text(
        f"schema: privdistill.policy/v1\nname: own\nversion: '1'\ndescription: For tests.\n{rules}"
    )
    document = json.loads(cli("gate", run, "--policy", "own.yaml", "--json").out)
    asked = next(rule["fingerprint"] for rule in document["rules"] if rule["id"] == "rows")
    common = {"rule": "rows", "reason": "agreed upon in May", "approved_by": "A. Officer"}
    for expires, word in (("2999-12-31", "ALLOWED"), ("2026-01-01", "DENIED")):
        waivers = [{**common, "fingerprint": asked, "expires": expires}]
        Path("w.yaml").write_text(json.dumps({"schema": "privdistill.waivers/v1", "waivers": waivers}))
        cli("gate", run, "--policy", "own.yaml", "--waivers", "w.yaml")
        ended = cli("report", run)
        assert (ended.code, ended.out.partition(" ")[0]) == (0, word)
    edit(run / "decision.json", lambda d: d["waivers"][0].update(expires="2999-12-31"))
    said_nothing(cli("report", run))


def test_outputs_of_a_ci_step_carry_no_forged_epsilon(cli: Callable, bundle: Path) -> None:
    cli("gate", bundle, "--policy", "internal", "--output", "json=gate.json")
    assert "epsilon=" in cli("hook", "outputs", "--decision", "gate.json", "--target", bundle).out
    forge(bundle / "claim.json")
    cli("gate", bundle, "--policy", "internal", "--output", "json=gate.json")
    lines = cli("hook", "outputs", "--decision", "gate.json", "--target", bundle).out.splitlines()
    assert lines[0] == "decision=deny"
    assert not [line for line in lines if line.startswith(("epsilon", "delta="))]
