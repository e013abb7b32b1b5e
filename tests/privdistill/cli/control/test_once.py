"""A release happens once, complete, and for exactly what was decided; otherwise a sentence and exit code 10 or 2."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from privdistill.bundle import publish
from tests.privdistill.cli.control.runs import build_run


@pytest.fixture
def run(in_folder: Path) -> Path:
    return build_run(in_folder / "run")


def release(cli: Callable, run: Path, out: str = "bundle", policy: str = "internal") -> tuple[int, str]:
    ended = cli("release", run, "--policy", policy, "--out", out)
    return ended.code, ended.out + ended.err


def test_a_run_is_released_once(cli: Callable, run: Path) -> None:
    assert release(cli, run)[0] == 0
    for out, policy in (("second", "internal"), ("third", "research")):
        code, said = release(cli, run, out, policy)
        assert code == 10
        assert "released before (under policy internal" in said
        assert not Path(out).exists()
    assert cli("verify", "bundle").code == 0


def test_onto_what_exists(cli: Callable, run: Path) -> None:
    for make in (Path.mkdir, Path.touch):
        make(Path("there"))
        code, said = release(cli, run, "there")
        assert code == 2
        assert "a bundle is never changed" in said
        Path("there").rename(f"was-{make.__name__}")
    assert release(cli, run, "there")[0] == 0, "a refusal is no release"


def test_run_looks_at_the_target_before_it_spends_anything(cli: Callable, toy_csv: Path, in_folder: Path) -> None:
    Path("there").mkdir()
    ended = cli("run", toy_csv, "--epsilon", "8", "--label-column", "label", "--out", "there", "--run", "run")
    assert ended.code == 2
    assert "never changed" in ended.err
    assert not Path("run").exists()


def test_a_candidate_that_changed_after_the_audit(cli: Callable, run: Path) -> None:
    assert cli("gate", run, "--policy", "internal").code == 0
    data = run / "candidate" / "data.parquet"
    data.write_bytes(data.read_bytes() + b"\0")
    code, said = release(cli, run)
    assert code == 10
    assert "changed after the audit" in said


def test_a_policy_that_was_edited_after_the_decision(cli: Callable, run: Path, in_folder: Path) -> None:
    policy = in_folder / "ours.yaml"
    text = cli("policy", "show", "internal").out.replace("name: internal", "name: ours")
    policy.write_text(text)
    assert cli("gate", run, "--policy", "ours.yaml").code == 0
    policy.write_text(text.replace("epsilon: 8", "epsilon: 9"))
    code, said = release(cli, run, policy="ours.yaml")
    assert code == 10
    assert "the policy ours was edited after the decision" in said
    assert cli("gate", run, "--policy", "ours.yaml").code == 0
    assert release(cli, run, policy="ours.yaml")[0] == 0, "the gate has looked at the new text"


def test_a_policy_that_was_softened_after_a_refusal(cli: Callable, run: Path, in_folder: Path) -> None:
    policy = in_folder / "ours.yaml"
    strict = cli("policy", "show", "internal").out.replace("name: internal", "name: ours").replace(": 8\n", ": 1\n")
    policy.write_text(strict)
    assert cli("gate", run, "--policy", "ours.yaml").code == 10
    policy.write_text(strict.replace("epsilon: 1\n", "epsilon: 8\n"))
    assert release(cli, run, policy="ours.yaml")[0] == 10


def test_a_decision_in_the_run_is_no_permission(cli: Callable, run: Path) -> None:
    """`release` decides for itself: an allowance in decision.json that was edited by hand is of no use."""
    assert cli("gate", run, "--policy", "internal").code == 0
    allowed = (run / "decision.json").read_bytes()
    (run / "audit" / "audit.json").unlink()
    (run / "decision.json").write_bytes(allowed)
    assert release(cli, run)[0] == 3


@pytest.mark.parametrize("step", ["_write", "_rename"])
def test_a_release_that_fails_leaves_no_bundle_and_no_record(
    cli: Callable, run: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def crash(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(publish, step, crash)
        code, said = release(cli, run)
    assert code == 2
    assert "nothing was released" in said
    assert not Path("bundle").exists()
    assert not (run / "release.json").exists()
    assert release(cli, run)[0] == 0


def test_a_process_killed_between_record_and_bundle_never_releases_twice(cli: Callable, run: Path) -> None:
    code = (
        "import os, sys, importlib; p = importlib.import_module('privdistill.bundle.publish');"
        "p._rename = lambda *a: os.kill(os.getpid(), 9);"
        "from privdistill.cli.main import main; main(sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, "release", str(run), "--policy", "internal", "--out", "bundle"]
    assert subprocess.run(command, capture_output=True, check=False).returncode == -9
    assert not Path("bundle").exists()
    code_, said = release(cli, run)
    assert code_ == 10
    assert "If it was never published, remove release.json" in said
    (run / "release.json").unlink()
    assert release(cli, run)[0] == 0
