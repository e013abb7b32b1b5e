"""Plug-ins as an installer leaves them, and runs on a toy corpus with a real door, a real ledger and a real process."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from audits.findings import Model
from privdistill import pipeline
from privdistill.accounting.ledger import Ledger
from privdistill.config import Privacy, RunConfig, Source, Synthesis
from privdistill.features.encoded import TextEncoder
from privdistill.models import loading
from privdistill.runs import RunDirectory
from tests.privdistill.mechanisms.conftest import ToySentences, ToyTokens

HONEST = """
import numpy as np
from privdistill.mechanisms.release import ClassRule, CountBlock, StatisticRequest
from privdistill.recipes.base import PlannedMechanism, Rows
from privdistill.recipes.guest import service
service.load_located = lambda located, performance: (None, None)  # its own process: models are not what is tested here

class Recipe:
    name = "distribution"  # a lie: the claim names the entry point
    def mechanisms(self, task):
        return (PlannedMechanism("counts", "gaussian", 1.0),)
    def noise_floor(self, task, noise_multipliers):
        return 5 * noise_multipliers["counts"]
    def request(self, context, name="counts"):
        return StatisticRequest(name, ClassRule(context.task.labels), (CountBlock(1.0),))
    def rows(self, context, release, facts=None):
        names = context.task.labels
        texts = tuple(f"public sentence {i} of {context.rng.integers(10**9)}" for i in range(context.task.rows))
        labels = tuple(names[i % len(names)] for i in range(context.task.rows))
        soft = np.full((len(texts), len(names)), 1 / len(names))
        return Rows(texts, labels, soft, names, (), facts or {"counts": [float(n) for n in release.block("count")]})
    def run(self, context):
        context.progress("thinking", 1, 2)
        release = yield self.request(context)
        return self.rows(context, release)
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Install a recipe `acme` whose class is `Recipe(Honest)` with the given body; returns the folder it lies in."""

    def make(body: str = "pass", *, name: str = "acme", module: str = "acme_recipe") -> Path:
        folder = tmp_path / "site" / module
        about = folder / f"{module}-2.5.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 2.5\n")
        (about / "entry_points.txt").write_text(f"[privdistill.recipes]\n{name} = {module}:Recipe\n")
        lines = "\n    ".join(body.strip("\n").splitlines())
        (folder / f"{module}.py").write_text(f"{HONEST}\nclass Recipe(Recipe):\n    {lines}\n")
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return make


class Told:
    """A toy corpus, a ledger, and what a run with recipe `acme` made of them."""

    def __init__(self, corpus: Path, folder: Path) -> None:
        self.ledger, self.run = str(folder / "ledger.sqlite3"), folder / "run"
        self.config = RunConfig(
            source=Source(path=str(corpus), label_column="label", labels=("good", "bad"), size=400),
            privacy=Privacy(epsilon=4.0),
            synthesis=Synthesis(recipe="acme", rows=10),
        )

    def generate(self, **more) -> RunDirectory:
        path = pipeline.generate(self.config, run=self.run, ledger=self.ledger, progress=lambda *told: None, **more)
        return RunDirectory.open(path)

    @property
    def charged(self) -> float:
        """Epsilon that the source lost, by the ledger."""
        if not Path(self.ledger).exists():
            return 0.0
        book = Ledger(self.ledger)
        return sum(book.total(id_).epsilon for id_, _, _ in book.sources())


@pytest.fixture
def told(toy_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Toy models here; the guest is told of folders."""
    where = tmp_path / "models"
    where.mkdir()
    models = loading.Models(
        TextEncoder(ToySentences(), ToyTokens(), 16),
        None,
        (Model(role="encoder", id="toy", sha256=None),),
        loading.Located(where, "toy", where, "toy", 16),
    )
    monkeypatch.setattr(loading, "load_models", lambda *args: models)
    assert "acme_recipe" not in sys.modules
    return Told(toy_csv, tmp_path)
