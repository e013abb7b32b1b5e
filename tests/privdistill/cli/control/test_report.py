"""`report` and `hook outputs`: what does not hold is not shown, and what could not be checked is said."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

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
    assert ended.code == 0
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


def test_outputs_of_a_ci_step_carry_no_forged_epsilon(cli: Callable, bundle: Path) -> None:
    cli("gate", bundle, "--policy", "internal", "--output", "json=gate.json")
    assert "epsilon=" in cli("hook", "outputs", "--decision", "gate.json", "--target", bundle).out
    forge(bundle / "claim.json")
    cli("gate", bundle, "--policy", "internal", "--output", "json=gate.json")
    lines = cli("hook", "outputs", "--decision", "gate.json", "--target", bundle).out.splitlines()
    assert lines[0] == "decision=deny"
    assert not [line for line in lines if line.startswith(("epsilon", "delta="))]
