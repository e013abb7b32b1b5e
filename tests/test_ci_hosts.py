"""The GitHub Action, the GitLab template and the pre-commit hooks, run as their hosts run them."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from privdistill.bundle import assemble
from tests.conftest import ROOT
from tests.privdistill.bundle.conftest import build_run as build_papers
from tests.privdistill.cli.control.runs import build_run, private_sentences

ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
GITLAB = yaml.safe_load((ROOT / "ci" / "gitlab.yml").read_text())[".privdistill-gate"]
HOOKS = {hook["id"]: hook for hook in yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())}
HERE = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("release")
    return assemble(build_papers(folder / "run").candidate(), folder / "bundle")


@pytest.fixture
def place(in_folder: Path, bundle: Path) -> Path:
    shutil.copytree(bundle, in_folder / "bundle")
    return in_folder


# -- GitHub


def steps() -> list[dict[str, Any]]:
    return ACTION["runs"]["steps"]


def act(place: Path, **inputs: str) -> tuple[int, dict[str, str], str, str]:
    """Run the action's shell steps as the runner does; (exit code, outputs, summary, log)."""
    values = {name: str(spec.get("default", "")) for name, spec in ACTION["inputs"].items()}
    values |= {name.replace("_", "-"): value for name, value in inputs.items()}
    (place / "tmp").mkdir(exist_ok=True)
    outputs: dict[str, str] = {}
    log = ""

    def expand(text: str) -> str:
        text = re.sub(r"\$\{\{ inputs\.([a-z-]+) \}\}", lambda m: values[m[1]], text)
        return re.sub(r"\$\{\{ steps\.gate\.outputs\.([a-z0-9-]+) \}\}", lambda m: outputs.get(m[1], ""), text)

    for step in steps():
        if "run" not in step or step["name"] == "Install":
            continue
        files = {name: place / "tmp" / name for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")}
        given = {name: expand(value) for name, value in step.get("env", {}).items()}
        environment = HERE | {name: str(path) for name, path in files.items()} | {"RUNNER_TEMP": str(place / "tmp")}
        script = place / "tmp" / "step.sh"
        script.write_text(step["run"])
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=place, env=environment | given, capture_output=True, text=True, check=False,
        )  # fmt: skip
        log += done.stdout + done.stderr
        if files["GITHUB_OUTPUT"].exists():
            outputs |= dict(line.split("=", 1) for line in files["GITHUB_OUTPUT"].read_text().splitlines())
        last = done.returncode
        if step["name"] != "Answer":
            assert last == 0, f"a later step would not run: {log}"
    summary = files["GITHUB_STEP_SUMMARY"]
    return last, outputs, summary.read_text() if summary.exists() else "", log


def test_no_input_of_the_action_reaches_a_command_line_unquoted() -> None:
    assert ACTION["runs"]["using"] == "composite"
    for step in steps():
        assert "${{" not in step.get("run", "")
        assert step.get("shell", "bash") == "bash"
        if "uses" in step:
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", step["uses"])
    named = {
        name for spec in ACTION["outputs"].values() for name in re.findall(r"outputs\.([a-z0-9-]+)", spec["value"])
    }
    assert named == set(ACTION["outputs"])


def test_the_action_lets_an_allowed_bundle_through(place: Path) -> None:
    code, outputs, summary, log = act(place, target="bundle", policy="bundle/policy.yaml")
    assert code == 0, log
    assert outputs["decision"] == "allow"
    assert outputs["exit-code"] == "0"
    assert 7.9 < float(outputs["epsilon"]) <= 8
    assert float(outputs["delta"]) == 1e-6
    assert re.fullmatch("[0-9a-f]{64}", outputs["policy-sha256"])
    assert json.loads(Path(outputs["sarif"]).read_text())["version"] == "2.1.0"
    assert Path(outputs["junit"]).read_text().startswith("<?xml")
    assert summary.startswith("## Allowed")
    assert "VERIFIED" in log
    assert set(outputs) == set(ACTION["outputs"])


def test_the_action_reports_and_then_fails_when_the_answer_is_no(place: Path) -> None:
    card = place / "bundle" / "README.md"
    card.write_text(card.read_text() + "\n")
    code, outputs, summary, log = act(place, target="bundle", policy="public")
    assert code == 10
    assert "NOT VERIFIED" in log
    assert outputs["exit-code"] == "10"
    assert Path(outputs["sarif"]).exists()
    assert summary.startswith("## ")


def test_the_action_fails_where_nothing_is_decided_and_runs_nothing_that_it_is_given(place: Path) -> None:
    (place / "privdistill").mkdir()
    (place / "privdistill" / "__init__.py").write_text("open('pwned', 'w')")
    (place / "json.py").write_text("open('pwned', 'w')")
    hostile = '"; touch pwned; $(touch pwned) `touch pwned` #\n::set-output name=decision::allow'
    code, outputs, summary, _ = act(place, target=hostile, policy=hostile, waivers=hostile, key=hostile)
    assert code == 2
    assert outputs == {"decision": "none", "exit-code": "2"}
    assert "Nothing was decided" in summary
    assert not (place / "pwned").exists()


# -- GitLab


def gitlab(place: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    values = {name: str(value) for name, value in GITLAB["variables"].items()} | variables
    return subprocess.run(
        ["sh", "-e", "-c", "\n".join(GITLAB["script"])],
        cwd=place, env=HERE | values, capture_output=True, text=True, check=False,
    )  # fmt: skip


def git(place: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=place, check=True, capture_output=True)


def test_the_gitlab_job_takes_the_policy_of_the_target_branch_and_ends_as_the_gate_does(place: Path) -> None:
    remote, clone = place / "remote", place / "clone"
    remote.mkdir()
    git(remote, "init", "--quiet", "-b", "main")
    (remote / "policies").mkdir()
    shutil.copy(place / "bundle" / "policy.yaml", remote / "policies" / "ours.yaml")
    git(remote, "add", "-A")
    git(remote, "commit", "-qm", "policy")
    git(place, "clone", "--quiet", str(remote), "clone")
    shutil.copytree(place / "bundle", clone / "bundle")
    (clone / "policies" / "ours.yaml").write_text("not a policy any more")
    branch = {"PRIVDISTILL_POLICY": "policies/ours.yaml", "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main"}
    done = gitlab(clone, **branch)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (clone / "privdistill-reports" / "gate.xml").read_text().startswith("<?xml")
    done = gitlab(clone, PRIVDISTILL_POLICY="public")
    assert done.returncode == 10
    report = clone / GITLAB["artifacts"]["reports"]["junit"]
    assert "<failure" in report.read_text()
    assert GITLAB["artifacts"]["when"] == "always"


# -- pre-commit


def hook(place: Path, name: str, *files: str) -> subprocess.CompletedProcess[str]:
    """Run a hook on the staged files that its pattern selects, as pre-commit does."""
    if not files:
        listed = subprocess.run(
            ["git", "diff", "--cached", "--name-only"], cwd=place, capture_output=True, text=True, check=True
        )
        files = tuple(file for file in listed.stdout.splitlines() if re.search(HOOKS[name].get("files", ""), file))
    command = [*HOOKS[name]["entry"].split(), *files]
    return subprocess.run(command, cwd=place, env=HERE, capture_output=True, text=True, check=False)


@pytest.fixture
def repository(in_folder: Path) -> Path:
    git(in_folder, "init", "--quiet", "-b", "main")
    return in_folder


def test_policy_check_reads_policies_cases_and_waivers(repository: Path) -> None:
    shutil.copytree(ROOT / "policies", repository / "policies")
    git(repository, "add", "-A")
    done = hook(repository, "privdistill-policy-check")
    assert done.returncode == 0, done.stdout + done.stderr
    public = repository / "policies" / "public.yaml"
    text = public.read_text()
    public.write_text(text.replace("epsilon: 3\n", "epsilon: 100\n").replace("rate: 0.06", "rate: 1"))
    done = hook(repository, "privdistill-policy-check", "policies/public.yaml")
    assert done.returncode == 10
    assert "FAIL" in done.stdout
    public.write_text(text.replace("epsilon: 3\n", "epsilonn: 3\n"))
    assert hook(repository, "privdistill-policy-check", "policies/public.yaml").returncode == 2
    public.write_text(text)
    waiver = {"rule": "epsilon", "fingerprint": "0" * 32, "reason": "a good reason", "approved_by": "A. Officer"}
    for day, code in (("2999-01-01", 0), ("2020-01-01", 10)):
        document = {"schema": "privdistill.waivers/v1", "waivers": [waiver | {"expires": day}]}
        (repository / "policies" / "waivers.yaml").write_text(json.dumps(document))
        assert hook(repository, "privdistill-policy-check", "policies/waivers.yaml").returncode == code


def test_no_private_file_is_committed(repository: Path, bundle: Path) -> None:
    run = build_run(repository / "anywhere", private=private_sentences(20))
    shutil.copy(run / "audit" / "audit.json", repository / "report.json")
    shutil.copy(run / "private" / "split.key", repository / "split.key")
    (repository / "corpus.csv").write_text("text,label\nmine,a\n")
    (repository / "privdistill.yaml").write_text("source: {path: corpus.csv}\n")
    (repository / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    (repository / "runs" / "x" / "private").mkdir(parents=True)
    (repository / "runs" / "x" / "private" / "notes").write_text("")
    shutil.copytree(bundle, repository / "released")
    shutil.copytree(bundle, run / "release")
    (repository / "notes.md").write_text("an ordinary file")
    git(repository, "add", "-Af")
    done = hook(repository, "privdistill-no-private-files")
    assert done.returncode == 10
    refused = {line.split(": ")[0].removeprefix("PRIVATE  ") for line in done.stdout.splitlines()[:-1]}
    staged = subprocess.run(["git", "ls-files"], cwd=repository, capture_output=True, text=True, check=True).stdout
    public = {file for file in staged.splitlines() if file not in refused}
    expected = {"notes.md", "privdistill.yaml"}
    expected |= {f"{place}/{path.relative_to(bundle)}" for place in ("released", "anywhere/release")
                 for path in bundle.rglob("*") if path.is_file()}  # fmt: skip
    expected |= {file for file in staged.splitlines() if file.startswith("home/")}
    assert public == expected
    assert "mine" not in done.stdout
    assert hook(repository, "privdistill-no-private-files", "notes.md").returncode == 0
    assert hook(repository, "privdistill-no-private-files", "absent").returncode == 10
