"""Runs read back for an evaluation: one configuration, each run once, the private side only where it is kept."""

import stat
from pathlib import Path

import pytest

from privdistill.config import Privacy, RunConfig, Source, Synthesis
from privdistill.errors import UsageError
from privdistill.evaluation.generations import load_generations
from privdistill.recipes import distribution
from privdistill.runs import RunDirectory


@pytest.fixture
def run(toy_csv: Path, tiny_encoder: Path, tiny_language_model: Path, tmp_path: Path):
    """Make complete runs with tiny models, by default of the recipe that copies."""
    from privdistill import pipeline

    def make(name: str, rows: int = 20, recipe: str = "passthrough") -> RunDirectory:
        config = RunConfig(
            source=Source(path=str(toy_csv), label_column="label", labels=("good", "bad")),
            privacy=Privacy(epsilon=8.0),
            synthesis=Synthesis(recipe=recipe, rows=rows, model=str(tiny_language_model), encoder=str(tiny_encoder)),
        )
        ledger = str(tmp_path / "ledger.sqlite3")
        return RunDirectory.open(
            pipeline.generate(config, run=tmp_path / name, ledger=ledger, progress=lambda *step: None)
        )

    return make


def test_two_generations_and_what_is_refused(run) -> None:
    one, two, other = run("one"), run("two"), run("other", rows=30)
    made = load_generations([one, two])
    assert [len(generation.texts) for generation in made.runs] == [20, 20]
    assert {label for generation in made.runs for label in generation.labels} <= {"good", "bad"}
    assert made.runs[0].facts.recipe == "passthrough"
    assert made.runs[0].facts.epsilon is None
    assert made.runs[0].facts.seconds >= 0
    assert made.real is not None
    assert len(made.real.texts) > 100
    for runs, reason in (([], "at least one"), ([one, one], "twice"), ([one, other], "differ in synthesis")):
        with pytest.raises(UsageError, match=reason):
            load_generations(runs)
    (two.private / "train.parquet").unlink()
    assert load_generations([two]).real is None
    assert load_generations([two]).runs[0].teacher is None, "the recipe that copies reads nothing off a release"


def test_a_run_keeps_the_teacher_of_its_recipe_outside_candidate_and_private(
    run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "_PUBLIC_TEXTS", (24, 24))
    monkeypatch.setattr(distribution, "_PUBLIC_TOKENS", 8)
    made = run("taught", rows=4, recipe="distribution")
    assert stat.S_IMODE(made.teacher.stat().st_mode) == 0o600
    assert made.teacher.parent == made.path
    (one,) = load_generations([made]).runs
    assert one.teacher is not None
    assert one.teacher.names == ("good", "bad")
