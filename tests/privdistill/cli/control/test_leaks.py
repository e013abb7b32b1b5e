"""A leaky candidate is never released under `internal` or `public`: each kind, through the command line.

Where the examiner has to see the leak, it runs for real; where the papers are at fault, they are those of an honest run
with that one fault, bound together again as a careful forger would.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.privdistill.cli.control.runs import (
    bind,
    build_run,
    edit,
    private_sentences,
    public_sentences,
    side,
    write_rows,
)

POLICIES = ("internal", "public")
BASES = {"internal": "epsilon-8", "public": "epsilon-3"}
CLAIM, AUDIT = "candidate/claim.json", "audit/audit.json"


def refused(cli: Callable, run: Path, policy: str, code: int = 10) -> str:
    """Try to release; what was said. Nothing may have been written."""
    before = sorted(path.name for path in run.parent.iterdir())
    ended = cli("release", run, "--policy", policy, "--out", "bundle")
    assert ended.code == code, ended.out + ended.err
    assert sorted(path.name for path in run.parent.iterdir()) == before
    return ended.out + ended.err


def open_rules(run: Path) -> dict[str, str]:
    decision = json.loads((run / "decision.json").read_text())
    required = [rule for rule in decision["rules"] if rule["level"] != "advisory"]
    return {rule["id"]: rule["status"] for rule in required if rule["status"] != "satisfied"}


def change_mechanism(run: Path, **changes: object) -> None:
    edit(run / CLAIM, lambda d: d["mechanisms"][0].update(changes))


@pytest.fixture(params=POLICIES)
def policy(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def run(in_folder: Path, policy: str) -> Path:
    """An honest run that the policy allows."""
    return build_run(in_folder / "run", base=BASES[policy])


def test_the_honest_run_is_released(cli: Callable, run: Path, policy: str) -> None:
    """The control of this file: without a fault the same commands end with a bundle that verifies."""
    assert cli("release", run, "--policy", policy, "--out", "bundle").code == 0
    assert cli("verify", "bundle").code == 0


# -- leaks in the rows, seen by the examiner


@pytest.mark.parametrize(("copies", "rows"), [(300, 300), (10, 1000)], ids=["passthrough", "one per cent of the rows"])
def test_copied_rows_under_a_flawless_claim(cli: Callable, in_folder: Path, copies: int, rows: int) -> None:
    run = build_run(in_folder / "run", base="epsilon-3", private=private_sentences(1_000))
    train = side(run, "train")
    write_rows(run / "candidate" / "data.parquet", train[:copies] + public_sentences(rows - copies))
    (run / "audit" / "audit.json").unlink()
    edit(run / CLAIM, lambda d: d.update(rows=rows))
    bind(run)
    cli("audit", run, "--quiet")
    for policy in POLICIES:
        refused(cli, run, policy)
        assert {"no-copies-shown", "no-near-copies-shown"} & set(open_rules(run))


def test_passthrough_that_claims_nothing(cli: Callable, run: Path, policy: str) -> None:
    nothing: dict[str, Any] = dict.fromkeys(
        ("epsilon", "delta", "delta_parts", "adjacency", "accountant", "second_accountant", "mu", "rdp_epsilon")
    )
    edit(run / CLAIM, lambda d: d.update(nothing, recipe="passthrough", privacy_profile=[]))
    change_mechanism(run, kind="none", noise="none", sampler="none", noise_multiplier=None, sensitivity=None)
    bind(run)
    refused(cli, run, policy)
    assert open_rules(run)["claim-made"] == "violated"


# -- faults in the claim


def test_a_forged_claim(cli: Callable, run: Path, policy: str) -> None:
    """More noise is claimed than was charged; epsilon, mu and profile follow from the forged noise."""
    change_mechanism(run, noise_multiplier=50.0)
    bind(run)
    assert "ledger-charges" in refused(cli, run, policy)


@pytest.mark.parametrize("fault", [{"noise_grid_steps": 2.0, "delta_discretisation": 0.0}, {"dimension": 0}], ids=str)
def test_a_grid_that_no_delta_was_booked_for(cli: Callable, run: Path, policy: str, fault: dict[str, Any]) -> None:
    change_mechanism(run, **fault)
    bind(run)
    refused(cli, run, policy)
    assert open_rules(run)["claim-coherent"] == "violated"


def test_a_claim_of_another_run(cli: Callable, run: Path, policy: str, in_folder: Path) -> None:
    other = build_run(in_folder / "other", base=BASES[policy])
    (run / CLAIM).write_bytes((other / CLAIM).read_bytes())
    bind(run)
    assert "ledger-charges" in refused(cli, run, policy)


def test_other_rows_under_papers_that_fit_them(cli: Callable, run: Path, policy: str) -> None:
    """Rows exchanged after the run, with claim and audit made to fit: what the ledger saw is another claim."""
    write_rows(run / "candidate" / "data.parquet", [f"Another review, number {i}." for i in range(150)])
    bind(run)
    assert "not the one that the ledger saw" in refused(cli, run, policy)
    assert open_rules(run) == {"ledger-charges": "violated"}


def test_an_understated_epsilon(cli: Callable, run: Path, policy: str) -> None:
    small = {"epsilon": 0.5}
    edit(run / CLAIM, lambda d: d.update(epsilon=0.5, accountant=d["accountant"] | small))
    edit(run / CLAIM, lambda d: d.update(second_accountant=d["second_accountant"] | small))
    bind(run)
    assert "claim-coherent" in refused(cli, run, policy)


@pytest.mark.parametrize("delta", [1e-3, 0.5])
def test_a_delta_that_is_too_large(cli: Callable, run: Path, policy: str, delta: float) -> None:
    edit(run / CLAIM, lambda d: d.update(delta=delta))
    bind(run)
    refused(cli, run, policy)
    assert open_rules(run)["delta"] == "violated"


# -- faults in the audit


def test_no_audit(cli: Callable, run: Path, policy: str) -> None:
    (run / AUDIT).unlink()
    refused(cli, run, policy, code=3)
    assert open_rules(run)["audit-verdict"] == "not-run"


@pytest.mark.parametrize("content", ["", "{}", "null", '{"verdict": "pass"}', "[" * 100_000])
def test_an_audit_that_cannot_be_read(cli: Callable, run: Path, policy: str, content: str) -> None:
    (run / AUDIT).write_text(content)
    refused(cli, run, policy, code=3)


def test_numbers_that_are_not_numbers(cli: Callable, run: Path, policy: str) -> None:
    for value in ("NaN", "Infinity", "-Infinity"):
        text = (run / AUDIT).read_text()
        (run / AUDIT).write_text(text.replace('"high": ', f'"high": {value}, "was": ', 1))
        refused(cli, run, policy, code=3)
        (run / AUDIT).write_text(text)


def test_the_audit_of_another_candidate(cli: Callable, run: Path, policy: str, in_folder: Path) -> None:
    texts = [f"Another review, number {i}." for i in range(150)]
    other = build_run(in_folder / "other", base=BASES[policy], texts=texts)
    (run / AUDIT).write_bytes((other / AUDIT).read_bytes())
    assert "audit-of-candidate" in refused(cli, run, policy)


@pytest.mark.parametrize("detectable", [0.5, None])
def test_an_underpowered_audit(cli: Callable, run: Path, policy: str, detectable: float | None) -> None:
    def weaken(audit: dict[str, Any]) -> None:
        for finding in audit["findings"]:
            if finding.get("power"):
                finding["power"]["detectable"] = detectable

    edit(run / AUDIT, weaken)
    refused(cli, run, policy, code=3)
    assert open_rules(run) == {"power": "not-run"}


@pytest.mark.parametrize("looser", [{"alpha": 0.01}, {"power": 0.5}, {"max_detectable": 0.5}], ids=str)
def test_an_audit_that_was_asked_to_be_content_with_less(cli: Callable, run: Path, policy: str, looser: dict) -> None:
    own = {"alpha": 0.05, "power": 0.8, "max_detectable": 0.05}
    edit(run / AUDIT, lambda d: d.update(levels=own | looser))
    refused(cli, run, policy, code=3)
    assert open_rules(run) == {"audit-verdict": "not-run"}
    edit(run / AUDIT, lambda d: d.pop("levels"))
    refused(cli, run, policy, code=3)
    edit(run / AUDIT, lambda d: d.update(levels=own))
    assert cli("release", run, "--policy", policy, "--out", "bundle").code == 0


def test_planted_canaries_that_nobody_looked_for(cli: Callable, in_folder: Path, policy: str) -> None:
    planted = {"canaries": {"issued": 100, "commitment": "0" * 64}}
    run = build_run(in_folder / "run", base=BASES[policy], claims=planted)
    base = json.loads((run / AUDIT).read_text())
    for status in (None, "skipped", "error", "pass"):

        def found(d: dict[str, Any], status: str | None = status) -> None:
            passed = next(f for f in base["findings"] if f["status"] == "pass")
            others = [f for f in base["findings"] if not f["id"].startswith("PD5")]
            d["findings"] = others + [passed | {"id": f"PD50{i}", "status": status} for i in (1, 2) if status]

        edit(run / AUDIT, found)
        if status == "pass":
            cli("gate", run, "--policy", policy)
            assert open_rules(run).get("audit-verdict") is None
        else:
            assert "canaries were planted" in refused(cli, run, policy, code=3)


def test_an_audit_of_other_private_files(cli: Callable, in_folder: Path) -> None:
    """The examiner runs for real, once on an unrelated corpus and once on a part of the run's own."""
    run = build_run(in_folder / "run", private=private_sentences(60))
    private = run / "private"
    cli("audit", run, "--quiet")
    assert "other private files" not in cli("gate", run).err
    kept = (private / "train.parquet").read_bytes()
    texts = public_sentences(40)
    pq.write_table(pa.table({"text": texts, "unit": texts, "label": ["fresh"] * 40}), private / "train.parquet")
    ended = cli("audit", run, "--quiet")
    assert ended.code not in (0, 3, 10)
    assert "not those that the run was made from" in ended.err
    options = ["--source", private / "train.parquet", "--holdout", private / "holdout.parquet"]
    options += ["--split-key", private / "split.key", "--synthetic", run / "candidate/data.parquet"]
    options += ["--claim", run / CLAIM, "--label-column", "label", "--out", run / "audit"]
    subprocess.run([sys.executable, "-m", "audits", *map(str, options)], check=False, capture_output=True)
    (private / "train.parquet").write_bytes(kept)
    for command in (("gate", run), ("release", run, "--policy", "internal", "--out", "bundle")):
        ended = cli(*command)
        assert ended.code == 3
        assert "other private files" in ended.err
    assert not (run / "decision.json").exists()
    (private / "sides.hmac").unlink()
    assert cli("gate", run).code == 3, "what is missing opens nothing"
    assert cli("audit", run, "--quiet").code not in (0, 3, 10)


@pytest.mark.parametrize("status", ["inconclusive", "error", "skipped"])
def test_a_check_that_shows_nothing(cli: Callable, run: Path, policy: str, status: str) -> None:
    edit(run / AUDIT, lambda d: d["findings"][0].update(status=status))
    refused(cli, run, policy, code=3)


def test_a_failed_check_under_an_edited_verdict(cli: Callable, run: Path, policy: str) -> None:
    edit(run / AUDIT, lambda d: d["findings"][-1].update(status="fail"))
    assert "audit-verdict" in refused(cli, run, policy)


# -- faults in the ledger


def test_no_ledger(cli: Callable, run: Path, policy: str) -> None:
    (run.parent / "run.ledger").unlink()
    refused(cli, run, policy, code=3)


def test_another_ledger(cli: Callable, run: Path, policy: str, in_folder: Path) -> None:
    build_run(in_folder / "other", base=BASES[policy])
    (in_folder / "run.ledger").unlink()
    (in_folder / "other.ledger").rename(in_folder / "run.ledger")
    ended = cli("release", run, "--policy", policy, "--out", "bundle")
    assert ended.code in (3, 10)
    assert not Path("bundle").exists()
