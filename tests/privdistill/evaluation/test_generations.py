"""Runs read back for an evaluation: one configuration, each run once, the private side only where it is kept."""

import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from privdistill.config import Privacy, RunConfig, Source, Synthesis
from privdistill.corpus.sides import normalise
from privdistill.errors import UsageError
from privdistill.evaluation.generations import Generations, load_generations
from privdistill.evaluation.generations import test_records as kept_aside
from privdistill.recipes import distribution
from privdistill.runs import RunDirectory
from tests.privdistill.evaluation.conftest import planted


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
    two.write_manifest(two.manifest().model_copy(update={"resumed": True}))
    assert [one.facts.seconds is None for one in load_generations([one, two]).runs] == [False, True]
    for runs, reason in (([], "at least one"), ([one, one], "twice"), ([one, other], "differ in synthesis")):
        with pytest.raises(UsageError, match=reason):
            load_generations(runs)
    assert made.read == set(made.real.texts)
    (two.private / "train.parquet").unlink()
    assert load_generations([two]).real is None
    assert load_generations([one, two]).real is not None
    assert load_generations([one, two]).read is None, "nobody can look whether the second has read a record"
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


SECRET = "the-secret-sentence"


def file_of(made: Generations, *texts: str):
    """What is read of a test file of these texts, every second one of label `bad`."""
    labels = tuple(("good", "bad")[i % 2] for i in range(len(texts)))
    file = SimpleNamespace(texts=texts, labels=labels, groups=tuple(f"group {i}" for i in range(len(texts))))
    return kept_aside(made, lambda **columns: file, normalise, "store")


def made_from(*texts: str) -> Generations:
    made = planted(1)
    return Generations(made.runs, made.config, made.real, frozenset(texts))


def test_test_records_that_a_run_was_made_from_are_left_out_and_counted() -> None:
    found = file_of(made_from(f"{SECRET}  one", "elsewhere"), "zero", f" {SECRET} one", "two", "three")
    assert found.texts == ("zero", "two", "three")
    assert found.labels == ("good", "good", "bad")
    assert found.groups == ("group 0", "group 2", "group 3")
    assert found.dropped == 1
    assert file_of(made_from("elsewhere"), "zero", "one").dropped == 0


def test_the_corpus_is_no_test_file() -> None:
    texts = [f"{SECRET} {i}" for i in range(10)]
    assert file_of(made_from(*texts[:5]), *texts).dropped == 5
    with pytest.raises(UsageError, match=r"kept aside, found 6 of 10 that .*; name a file") as caught:
        file_of(made_from(*texts[:6]), *texts)
    assert SECRET not in str(caught.value)


def test_without_a_private_side_nobody_can_look() -> None:
    assert file_of(planted(1), "zero", "one").dropped is None
