import numpy as np
import pytest

from privdistill.config import Privacy, RunConfig, Source, Synthesis
from privdistill.errors import ConfigError
from privdistill.planning import make_plan
from privdistill.synthesis.refinement import tokens, wave
from tests.conftest import toy_rows


@pytest.mark.usefixtures("small_pool")
def test_gradients_at_public_checkpoints_are_measured_once_and_matched(bench) -> None:
    rows, asked, charged = bench.run("gradient", *zip(*toy_rows(300), strict=True), rows=20)
    assert len(rows.texts) == len(set(rows.texts)) == len(rows.labels) == 20
    assert [(one.name, one.kind) for one in charged] == [("statistic", "gaussian")]
    block = asked[0].blocks[-1]
    assert block.name == "gradient"
    assert block.weights.shape[:2] == (3, 2)
    assert charged[0].sensitivity_parts["gradient"] == pytest.approx(1.5)
    assert charged[0].dimension == asked[0].dimension
    assert set(rows.facts["gradient_cosine"]) <= {"bad", "good"}
    assert all(np.isfinite(value) for value in rows.facts["gradient_cosine"].values())


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained model finds its own nonsense fluent and anybody else's not: few steps, every cost allowed."""
    monkeypatch.setattr(tokens, "_FLUENCY_QUANTILE", 1.0)
    monkeypatch.setattr(tokens, "_REFINED", 6)
    monkeypatch.setattr(wave, "_STEPS", 2)
    monkeypatch.setattr(wave, "_LAYERS", 1)


@pytest.mark.parametrize("kind", ["admm", "language-model"])
@pytest.mark.usefixtures("small_pool", "lenient")
def test_refinement_is_post_processing_behind_the_same_release(bench, kind: str) -> None:
    corpus = tuple(zip(*toy_rows(100), strict=True))
    rows, asked, charged = bench.run("gradient", *corpus, rows=8, refinement=kind)
    assert len(rows.texts) == len(rows.labels) == 8
    assert [one.name for one in asked] == ["statistic"], "nothing more is asked of the private side"
    assert [(one.name, one.kind) for one in charged] == [("statistic", "gaussian")]
    said = rows.facts["refinement"]
    assert said["kind"] == kind
    if kind == "admm":
        assert said["rows"] > 0
        assert said["proposed"] >= said["well_formed_and_new"] >= said["kept"]
        assert said["objective"]["vectors"] < said["objective"]["start"]
        assert np.isfinite(said["objective"]["texts"])
    else:
        assert said["sampled"] >= said["kept"]
        assert all(np.isfinite(said["weighted_cosine"]))
    assert set(rows.facts["gradient_cosine_before"]) <= {"bad", "good"}


def test_a_recipe_that_cannot_refine_says_so_before_anything_is_spent() -> None:
    for recipe in ("distribution", "auto", "evolution"):
        config = RunConfig(
            source=Source(path="x.csv", label_column="label", labels=("a", "b"), size=5000),
            privacy=Privacy(epsilon=8.0),
            synthesis=Synthesis(recipe=recipe, refinement="admm"),
        )
        with pytest.raises(ConfigError, match="--recipe gradient"):
            make_plan(config)
