"""Every example runs, or is parsed down to the options it names."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from privdistill.bundle import assemble
from privdistill.cli.settings import load_settings
from privdistill.cli.setup import TEMPLATE
from privdistill.models import assets
from tests.conftest import ROOT, toy_rows
from tests.privdistill.bundle.conftest import build_run as build_papers

EXAMPLES = ROOT / "examples"
VERIFY_WITHOUT_TORCH = """
import sys
from privdistill.cli.main import main
try:
    main(["verify", "bundle"])
except SystemExit as ended:
    heavy = {"torch", "transformers", "opacus", "datasets"} & set(sys.modules)
    sys.exit(f"verify loaded {heavy}" if heavy else ended.code)
"""
CI_JOB = EXAMPLES / "04_gate_in_ci.yml"


def bash(script: Path, *arguments: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(script), *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_example_is_tested_here() -> None:
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == {
        "01_quickstart.sh",
        "02_privdistill.yaml",
        "03_audit_someone_elses_file.sh",
        "04_gate_in_ci.yml",
        "06_what_is_it_worth.sh",
        "make_letters.py",
    }
    assert all(os.access(path, os.X_OK) for path in EXAMPLES.glob("*.sh"))


def test_quickstart_ends_with_no_for_a_recipe_that_copies(
    toy_csv: Path, tiny_encoder: Path, tiny_language_model: Path, in_folder: Path
) -> None:
    """The whole script with tiny models; `passthrough` claims nothing, so every step runs and the policy says no."""
    (in_folder / "privdistill.yaml").write_text(
        f"source: {{path: {toy_csv}, label_column: label, labels: [good, bad]}}\n"
        f"synthesis: {{recipe: passthrough, rows: 60, model: {tiny_language_model}, encoder: {tiny_encoder}}}\n"
        "ledger: ledger.sqlite3\n"
    )
    script = in_folder / "quickstart.sh"  # a recipe that protects nothing takes no epsilon
    script.write_text((EXAMPLES / "01_quickstart.sh").read_text().replace(" --epsilon 8", ""))
    done = bash(script, in_folder, cwd=in_folder)
    assert done.returncode == 10, done.stderr
    assert "DENIED" in done.stdout
    assert not (in_folder / "bundle").exists()
    assert (in_folder / "ledger.sqlite3").is_file()
    assert "Traceback" not in done.stderr


def test_what_it_is_worth_is_measured_on_records_kept_aside(
    toy_csv: Path, tiny_encoder: Path, tiny_language_model: Path, in_folder: Path
) -> None:
    (in_folder / "privdistill.yaml").write_text(
        f"source: {{path: {toy_csv}, label_column: label, labels: [good, bad]}}\n"
        f"synthesis: {{recipe: passthrough, rows: 160, model: {tiny_language_model}, encoder: {tiny_encoder}}}\n"
        "ledger: ledger.sqlite3\n"
    )
    with (in_folder / "holdout.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("text", "label"), *toy_rows(300, seed=9)])
    script = in_folder / "worth.sh"  # a recipe that protects nothing takes no epsilon
    script.write_text((EXAMPLES / "06_what_is_it_worth.sh").read_text().replace(" --epsilon 8", ""))
    done = bash(script, in_folder, cwd=in_folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("INTERNAL")
    assert "test records 300, classes 2" in done.stdout
    (copied,) = re.findall(r"^  synthetic +160 +([01][.][0-9]+) ", done.stdout, re.MULTILINE)[:1]
    # Any 160 of them teach .997 on average (sd .008, least .933 of 300 draws); 60 taught .87 and sometimes chance.
    assert float(copied) > 0.85, "copied records teach what records teach"


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_quickstart_on_real_reviews_ends_with_a_decision(in_folder: Path) -> None:
    """The real thing, small: real models, real reviews, a real verdict, and a bundle exactly when it is yes."""
    with assets.fetch("demo-corpus").open(encoding="utf-8", newline="") as stream:
        header, *rows = csv.reader(stream)
    with (in_folder / "reviews.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([header, *rows[::6]])
    template = TEMPLATE.replace("path: demo", "path: reviews.csv").replace("rows: 1000", "rows: 30")
    (in_folder / "privdistill.yaml").write_text(template.replace("size: 12000", "size: 2000"))
    done = bash(EXAMPLES / "01_quickstart.sh", in_folder, cwd=in_folder)
    assert done.returncode in (0, 3, 10), done.stderr
    assert "Traceback" not in done.stderr
    (run,) = (in_folder / "runs").iterdir()
    verdict = json.loads((run / "decision.json").read_text(encoding="utf-8"))["verdict"]
    assert {"allow": 0, "deny": 10, "indeterminate": 3}[verdict] == done.returncode
    assert (in_folder / "bundle").exists() == (verdict == "allow")
    if verdict == "allow":
        verified = subprocess.run(
            [sys.executable, "-c", VERIFY_WITHOUT_TORCH], check=False, capture_output=True, text=True
        )
        assert verified.returncode == 0, verified.stdout + verified.stderr
        asked = [sys.executable, "-m", "privdistill", "gate", "bundle", "--policy"]
        assert subprocess.run([*asked, str(ROOT / "policies" / "internal.yaml")], check=False).returncode == 0
        assert subprocess.run([*asked, str(ROOT / "policies" / "public.yaml")], check=False).returncode in (3, 10)


def test_the_configuration_is_accepted_and_planned(in_folder: Path) -> None:
    from privdistill import pipeline

    copy = Path(shutil.copy(EXAMPLES / "02_privdistill.yaml", in_folder / "privdistill.yaml"))
    settings = load_settings({"privacy.epsilon": 4.0}, file=copy)
    assert settings.config.source.path == str(in_folder / "messages.csv")
    assert settings.config.source.unit == "customer_id"
    plan = pipeline.plan(settings.config)
    assert plan.refusal is None, plan.refusal
    assert plan.budget is not None
    assert plan.budget.epsilon <= 4.0


def test_auditing_somebody_elses_file_tells_a_copy_from_a_clean_one(in_folder: Path) -> None:
    done = bash(EXAMPLES / "03_audit_someone_elses_file.sh", "letters", cwd=in_folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "== clean.csv: exit code 0" in done.stdout
    assert "== leaky.csv: exit code 10" in done.stdout
    assert (in_folder / "letters" / "audit-leaky" / "audit.json").is_file()


def test_the_ci_job_is_a_workflow_with_pinned_actions_and_no_rights() -> None:
    job = yaml.load(CI_JOB.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    assert job["permissions"] == {"contents": "read"}
    steps = job["jobs"]["gate"]["steps"]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert all(re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", action) for action in used)
    assert not [step for step in steps if "${{" in step.get("run", "")], "inputs never go into a shell line"


def test_the_summary_of_the_ci_job_is_the_answer_of_the_gate(in_folder: Path) -> None:
    bundle = assemble(build_papers(in_folder / "run").candidate(), in_folder / "proposed" / "bundle")
    (in_folder / "protected" / "policies").mkdir(parents=True)
    shutil.copy(bundle / "policy.yaml", in_folder / "protected" / "policies" / "public.yaml")
    last = yaml.safe_load(CI_JOB.read_text(encoding="utf-8"))["jobs"]["gate"]["steps"][-1]
    (in_folder / "step.sh").write_text(last["run"])
    for forged, code, head in ((False, 0, "## Allowed"), (True, 10, "## Denied")):
        if forged:
            claim = bundle / "claim.json"
            claim.write_text(re.sub(r'"epsilon": [0-9.]+', '"epsilon": 0.5', claim.read_text()))
        summary = in_folder / f"summary-{forged}"
        done = bash(in_folder / "step.sh", cwd=in_folder, GITHUB_STEP_SUMMARY=str(summary), PYTHONPATH=str(ROOT))
        assert done.returncode == code, done.stderr
        assert summary.read_text().startswith(head)
        assert "0.5" not in summary.read_text()


def test_the_ci_job_uses_commands_and_options_that_exist(tmp_path: Path) -> None:
    job = yaml.load(CI_JOB.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    lines = [step["run"] for step in job["jobs"]["gate"]["steps"] if step.get("run", "").startswith("privdistill ")]
    assert [line.split()[1] for line in lines] == ["verify", "gate", "gate"]
    for line in lines:
        words = shlex.split(line.partition(">")[0])[1:]
        helped = subprocess.run(
            [sys.executable, "-m", "privdistill", words[0], "--help"], capture_output=True, text=True, check=True
        )
        for option in (word for word in words if word.startswith("--")):
            assert option in helped.stdout, f"{words[0]} has no {option}"


def test_the_ci_job_says_no_to_a_bundle_that_does_not_verify(in_folder: Path) -> None:
    """Its two deciding lines, run as written on an empty bundle and the real policy: neither may succeed."""
    (in_folder / "proposed" / "bundle").mkdir(parents=True)
    shutil.copytree(ROOT / "policies", in_folder / "protected" / "policies")
    job = yaml.load(CI_JOB.read_text(encoding="utf-8"), Loader=yaml.BaseLoader)
    steps = {step["name"]: step for step in job["jobs"]["gate"]["steps"] if "name" in step}
    for name in ("Verify", "Decide"):
        script = in_folder / "step.sh"
        script.write_text(steps[name]["run"])
        assert bash(script, cwd=in_folder).returncode in (2, 3, 10), name
