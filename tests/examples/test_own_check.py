"""examples/05_own_check: a check of a third party conforms, is found by its entry point, and is named in the report."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from audits.registry import load
from tests.conftest import ROOT
from tests.leaky_generators import sentences, write_jsonl

FOLDER = ROOT / "examples" / "05_own_check"


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python that has the plug-in, as an installer would leave it: module and entry points."""
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    about = tmp_path / "site" / f"acme_checks-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = [
        f"[{group}]\n" + "".join(f"{name} = {value}\n" for name, value in found.items())
        for group, found in project["entry-points"].items()
    ]
    (about / "entry_points.txt").write_text("\n".join(points))
    (tmp_path / "site" / "acme_checks.py").write_bytes((FOLDER / "acme_checks.py").read_bytes())
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path / "site")))}


def run(environment: dict[str, str], *line: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *map(str, line)]
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def test_its_own_test_suite_passes(installed: dict[str, str]) -> None:
    done = run(installed, "pytest", "-q", "-p", "no:cacheprovider", "test_acme_checks.py", cwd=FOLDER)
    assert done.returncode == 0, done.stdout
    assert "12 passed" in done.stdout


def test_it_is_listed_explained_run_required_and_named(installed: dict[str, str], tmp_path: Path) -> None:
    assert "ACME101  repeated-openings" in run(installed, "audits", "checks", "list").stdout
    assert "Threat model T0" in run(installed, "audits", "checks", "explain", "ACME101").stdout
    private = sentences(400, seed=5)
    files = {
        "synthetic": write_jsonl(tmp_path / "s.jsonl", sentences(60, seed=6)),
        "source": write_jsonl(tmp_path / "t.jsonl", private[:240]),
        "holdout": write_jsonl(tmp_path / "h.jsonl", private[240:]),
    }
    line = [part for name, path in files.items() for part in (f"--{name}", path)]
    done = run(installed, "audits", *line, "--out", tmp_path / "out", "--json")
    report = json.loads(done.stdout)
    assert report["plug_ins"] == ["acme (acme-checks 1.0)"]
    (found,) = (f for f in report["findings"] if f["id"] == "ACME101")
    assert found["status"] != "error"
    assert "ACME101" in report["required"], "a check of the core tier is required wherever it is installed"
    without = run(installed, "audits", *line, "--out", tmp_path / "out", "--json", "--no-plug-ins")
    assert "ACME101" not in without.stdout


def test_no_plug_in_came_in_by_accident() -> None:
    assert all(check.origin.startswith("audits.") for check in load(plug_ins=False)[0])
