"""What an evaluation says that a recipe has seen is what it looks at: the simulated student of words is watched."""

import pytest

from privdistill.config import RunConfig, Source, Synthesis
from privdistill.evaluation.students.seen import seen_students
from privdistill.recipes import evolution
from privdistill.synthesis import selection
from privdistill.synthesis.selection import rehearsal
from tests.conftest import toy_rows


@pytest.mark.parametrize("recipe", ["distribution", "evolution", "gradient", "metamodel", "passthrough", "trajectory"])
def test_a_recipe_that_looks_at_the_student_of_words_is_said_to(
    bench, small_pool: None, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    looked = []

    def watched(texts):
        looked.append(len(texts))
        return plain(texts)

    plain = selection.word_features
    monkeypatch.setattr(evolution, "_TOKENS", 8)
    monkeypatch.setattr(selection, "word_features", watched)
    monkeypatch.setattr(rehearsal, "word_features", watched)
    monkeypatch.setattr(rehearsal, "_LEAST_CHANGE", 0.0)  # a small and balanced toy is worth a trial as well
    monkeypatch.setattr(rehearsal, "_LEAST_LEFT", 0)
    lopsided = [row for i, row in enumerate(toy_rows(200)) if row[1] == "good" or i % 4 == 0]
    bench.run(recipe, *zip(*lopsided, strict=True), rows=12)
    config = RunConfig(source=Source(path="x"), synthesis=Synthesis(recipe=recipe))
    assert bool(looked) is ("words" in seen_students([recipe], config.synthesis))
