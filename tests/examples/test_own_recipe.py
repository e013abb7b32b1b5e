"""examples/07_own_recipe: a recipe of a third party is found, planned, run apart, and named in the claim."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.conftest import ROOT

FOLDER = ROOT / "examples" / "07_own_recipe"


@pytest.fixture
def installed(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python that has the plug-in, as an installer would leave it: module and entry points."""
    project = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
    about = tmp_path / "site" / f"acme_recipes-{project['version']}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    ((group, points),) = project["entry-points"].items()
    (about / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))
    (tmp_path / "site" / "acme_recipes.py").write_bytes((FOLDER / "acme_recipes.py").read_bytes())
    return {**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(tmp_path / "site")))}


def test_it_runs_apart_through_the_command_line(
    installed: dict[str, str], toy_csv: Path, tiny_encoder: Path, tiny_language_model: Path, in_folder: Path
) -> None:
    (in_folder / "privdistill.yaml").write_text(
        f"source: {{path: {toy_csv}, label_column: label, labels: [good, bad], size: 400}}\n"
        f"synthesis: {{recipe: shares, rows: 20, model: {tiny_language_model}, encoder: {tiny_encoder}}}\n"
        "ledger: ledger.sqlite3\n"
    )
    line = [sys.executable, "-m", "privdistill", "generate", "--epsilon", "4", "--run", "run", "--json"]
    done = subprocess.run(line, env=installed, cwd=in_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"run": "run"}, "what a recipe prints is not the result"
    assert "kept away" not in done.stderr
    claim = json.loads((in_folder / "run" / "candidate" / "claim.json").read_text())
    assert (claim["recipe"], claim["plug_in"]["package"], claim["plug_in"]["version"]) == (
        "shares",
        "acme-recipes",
        "1.0",
    )
    assert [mechanism["name"] for mechanism in claim["mechanisms"]] == ["counts"]
    assert pq.read_table(in_folder / "run" / "candidate" / "data.parquet").num_rows == 20
    facts = json.loads((in_folder / "run" / "run.json").read_text())["facts"]
    assert len(facts["noised_counts"]) == 2
    line = [sys.executable, "-m", "privdistill", "gate", "run", "--policy", "public"]
    done = subprocess.run(line, env=installed, cwd=in_folder, capture_output=True, text=True, check=False)
    assert done.returncode == 10, "public lists no recipe of another package"
    assert "'shares'" in done.stdout
