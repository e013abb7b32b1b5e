"""What a plan foresees, warns of and refuses, from declared numbers alone."""

import math
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from privdistill import feasibility
from privdistill.accounting.budget import MAX_CELLS
from privdistill.config import Performance, Privacy, RunConfig, Source, Synthesis
from privdistill.errors import ConfigError, PrivacyError
from privdistill.features.encoded import Encoded
from privdistill.matching.gradients import gradient_cells, public_checkpoints
from privdistill.mechanisms.release import ClassRule, OpeningBlock, StatisticRequest
from privdistill.mechanisms.statistic import grid_for
from privdistill.models.adaptation.tail import ROWS
from privdistill.planning import make_plan
from privdistill.recipes.auto import Machine
from privdistill.recipes.base import Recipe
from privdistill.recipes.distribution import DistributionRecipe
from privdistill.recipes.finetune import FinetuneRecipe
from privdistill.synthesis.measurement import make_public_map


def config_of(kind: str, **more: Any) -> RunConfig:
    sources: dict[str, dict[str, Any]] = {
        "unlabelled": {},
        "to be released": {"label_column": "y"},
        "one class": {"label_column": "y", "labels": ("good",)},
        "many classes": {"label_column": "y", "labels": tuple(f"c{i}" for i in range(50))},
        "two classes": {"label_column": "y", "labels": ("good", "bad")},
    }
    source = {**sources[kind], **more.pop("source", {})}
    return RunConfig(
        source=Source(path="x", **source),
        privacy=Privacy(epsilon=more.pop("epsilon", 8.0), delta=more.pop("delta", 1e-6)),
        synthesis=Synthesis(**more),
    )


@pytest.mark.parametrize(
    ("kind", "more", "said"),
    [
        ("unlabelled", {}, "no label column"),
        ("one class", {}, "one class"),
        ("many classes", {"rows": 20}, "20 rows are fewer than 50 classes"),
        ("two classes", {"describe": "短い感想"}, "not all English"),
        ("two classes", {"source": {"labels": ("gut", "schön")}}, "not all English"),
        ("two classes", {"source": {"size": 150}}, "few records for this epsilon"),
        ("two classes", {"source": {"size": 100}}, "noise is longer than signal can be"),
        ("two classes", {"source": {"size": 1000, "canaries": 400}}, "canaries would be planted"),
        ("two classes", {}, "fewer than about 33 records this would be refused, and fewer than about 247 are few"),
        ("two classes", {"delta": 1e-3}, "fewer than 100 units"),
        ("two classes", {"source": {"size": 2000}, "delta": 1e-3}, "above 1 / (10 x 2000)"),
        ("two classes", {"epsilon": 12.0}, "bounds next to nothing"),
    ],
)
def test_a_plan_says_what_a_corpus_cannot_give(kind: str, more: dict[str, Any], said: str) -> None:
    assert any(said in warning for warning in make_plan(config_of(kind, **more)).warnings)


def test_a_plan_for_an_ordinary_corpus_warns_of_nothing() -> None:
    assert make_plan(config_of("two classes", source={"size": 8000}, describe="short film reviews")).warnings == ()
    named = config_of("two classes", source={"size": 8000}, describe="短い感想", model="some/model")
    assert make_plan(named).warnings == ()


def test_settings_that_a_recipe_ignores_are_refused() -> None:
    for recipe, setting in [
        ("auto", {"tuned_layers": 2}),
        ("distribution", {"vocabulary_shortlist": 500}),
        ("evolution", {"teachers": "mean"}),
        ("evolution", {"class_shares": "counted"}),
        ("evolution", {"soft_label_temperature": 2.0}),
        ("trajectory", {"tuned_weights": "whole"}),
        ("gradient", {"matcher": "metamodel"}),
        ("finetune", {"tuned_layers": 31}),
    ]:
        refused = make_plan(config_of("two classes", recipe=recipe, **setting))
        assert re.search(r"leave it out|expected at most 30", refused.refusal or "")
        with pytest.raises(PrivacyError):
            refused.feasible()
        assert refused.feasible(charged=True) is refused  # a run that was charged before goes on
    with pytest.raises(ConfigError, match="cannot refine"):
        make_plan(config_of("two classes", recipe="auto", refinement="admm"))
    for heeded in ({"tuned_layers": 30, "teachers": "mean"}, {"tuned_layers": 31, "model": "some/model"}):
        assert make_plan(config_of("two classes", recipe="finetune", **heeded)).refusal is None


def test_what_would_drown_is_refused() -> None:
    drowned = config_of("unlabelled", source={"size": 100})
    assert "below the noise floor" in (make_plan(drowned).refusal or "")
    few = make_plan(config_of("many classes", source={"size": 800}))
    assert "drowns what tells classes apart: moment (1.5 times); raise epsilon, merge" in (few.refusal or "")
    one = make_plan(config_of("one class", source={"size": 10})).refusal or ""
    assert "too small" in one
    assert "merge classes" not in one
    whole = config_of(
        "two classes",
        source={"size": 400},
        epsilon=1.0,
        recipe="finetune",
        tuned_weights="whole",
        tuned_layers=30,
    )
    assert "training would drown" in (make_plan(whole).refusal or "")
    full = whole.synthesis.model_copy(update={"tuned_weights": "full", "tuned_layers": None})
    assert "training would drown" in (make_plan(whole.model_copy(update={"synthesis": full})).refusal or "")
    other = whole.model_copy(update={"synthesis": whole.synthesis.model_copy(update={"model": "some/model"})})
    assert make_plan(other).refusal is None
    people = {"unit": "person", "contribution_bound": 33, "size": 10**5}
    trained = make_plan(config_of("two classes", recipe="finetune", source=people))
    assert "at most 32, found 33" in (trained.refusal or "")
    assert make_plan(config_of("two classes", source=people)).refusal is None


@pytest.mark.parametrize("kind", ["one class", "two classes", "many classes", "unlabelled"])
@pytest.mark.parametrize("epsilon", [0.5, 1.0, 8.0])
@pytest.mark.parametrize("recipe", ["distribution", "gradient", "evolution"])
def test_the_least_size_that_is_named_is_the_least_that_is_not_refused(kind: str, epsilon: float, recipe: str) -> None:
    (warning,) = (w for w in make_plan(config_of(kind, epsilon=epsilon, recipe=recipe)).warnings if "--size" in w)
    least = int(re.search(r"fewer than about ([\d,]+) records", warning)[1].replace(",", ""))  # type: ignore[index]
    for size, refused in ((least - 2, True), (least + 2, False)):
        plan = make_plan(config_of(kind, epsilon=epsilon, recipe=recipe, source={"size": size}))
        assert (plan.refusal is not None) == refused


def test_a_forecast_without_classes_is_held_to_the_declared_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a recipe of another package that does not say."""
    config = config_of("many classes", source={"size": 400})
    real = DistributionRecipe.forecast
    monkeypatch.setattr(DistributionRecipe, "forecast", lambda *given: replace(real(*given), classes=None))
    assert "leave about 6 a class" in (make_plan(config).refusal or "")


def test_activations_that_cannot_fit_are_refused_where_size_and_model_are_known(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine, most = Machine(2, False, 8 * 10**8), int(8 * 10**8 / (0.7 * 100 * 576 * 2))
    monkeypatch.setattr("privdistill.planning.this_machine", lambda: machine)
    large = config_of("two classes", recipe="finetune", source={"size": most + 2}, max_tokens=100)
    plan = make_plan(large)
    assert "records of up to 100 tokens may need 0.8 GB for activations" in (plan.refusal or "")
    assert "lower --max-tokens" in (plan.refusal or "")
    assert plan.feasible(charged=True) is plan

    def refused(size: int | None, recipe: Recipe = plan.recipe, dtype: str = "auto", **more: Any) -> bool:
        synthesis = large.synthesis.model_copy(update=more)
        asked = large.model_copy(update={"synthesis": synthesis, "performance": Performance(dtype=dtype)})
        return feasibility._too_large(asked, recipe, replace(plan.task, size=size), machine) is not None

    assert refused(most + 2)
    assert not refused(most - 2)
    assert refused(most // 2 + 2, dtype="float32")
    assert not refused(None)
    assert not refused(most + 2, max_tokens=50)
    assert not refused(most + 2, model="some/model")
    assert not refused(most + 2, DistributionRecipe())


def test_what_finetune_says_of_a_pass_is_what_the_mechanism_has() -> None:
    assert FinetuneRecipe.most_records_a_unit == ROWS


@pytest.mark.parametrize("bound", [1, 5, 20])
def test_the_forecast_noise_is_that_of_the_release(bound: int) -> None:
    """Cell by cell, in records that fill a block wholly: as the mechanism's own grid has it."""
    source = {"size": 50_000} | ({"unit": "person", "contribution_bound": bound} if bound > 1 else {})
    plan = make_plan(config_of("two classes", source=source))
    assert plan.budget is not None
    assert plan.forecast is not None
    noise = plan.budget.noise_multipliers["statistic"]
    points = np.random.default_rng(0).normal(size=(400, 192))
    tokens = tuple(np.array([1, 2]) for _ in points)
    encoded = Encoded(points.astype(np.float32), tokens, np.zeros(len(points), bool))
    map_ = make_public_map(encoded, 10, noise)
    request = StatisticRequest("statistic", ClassRule(("good", "bad")), map_.blocks)
    grid = grid_for(request, contribution_bound=bound, noise_multiplier=noise, grid_steps=1000.0)
    for block, foreseen in zip(map_.blocks, plan.forecast.blocks, strict=True):
        positions = block.positions if isinstance(block, OpeningBlock) else 1
        cell = noise * grid.sensitivity / block.scale * math.sqrt(positions)  # as `Release.noise` has it
        assert foreseen.name == block.name
        assert foreseen.deviation == pytest.approx(cell / block.norm_bound)
        assert foreseen.all_cells(10) == math.prod(block.shape)
        assert foreseen.norm == pytest.approx(math.sqrt(positions)), "positions of one record fill cells of their own"
    floor = plan.recipe.noise_floor(plan.task, plan.budget.noise_multipliers)
    record = grid.bound / math.sqrt(bound)
    assert floor * grid.sensitivity / record == pytest.approx(5 * plan.forecast.blocks[0].deviation)


def test_gradients_are_counted_and_refused_like_any_other_cells() -> None:
    weights = public_checkpoints(np.eye(3, 4), np.arange(3), 3)
    assert gradient_cells(3, 4) == weights.size
    labels = tuple(f"c{i}" for i in range(230))
    plans = [
        make_plan(config_of("two classes", recipe=recipe, source={"size": 10**7, "labels": labels}))
        for recipe in ("distribution", "gradient")
    ]
    assert plans[0].refusal is None
    assert f"and {MAX_CELLS:,} are reserved" in (plans[1].refusal or ""), (
        "the mechanism would refuse it after the charge"
    )


def test_cells_that_are_read_alone_are_shown_and_raise_no_alarm() -> None:
    """The noise of 49,152 cells is longer than any text; the words that stand out of it are what is used."""
    plan = make_plan(config_of("two classes", epsilon=1.0, source={"size": 2000}))
    tokens = next(one for one in plan.as_dict()["forecast"]["blocks"] if one["name"] == "tokens")
    assert tokens["noise_to_signal"] > 1.5
    assert not any("tokens" in sentence for sentence in plan.warnings)
    other = config_of("two classes", epsilon=1.0, source={"size": 2000})
    other = other.model_copy(update={"synthesis": other.synthesis.model_copy(update={"model": "/a/model"})})
    blocks = {one["name"]: one["noise_to_signal"] for one in make_plan(other).as_dict()["forecast"]["blocks"]}
    assert blocks["tokens"] is None, "its vocabulary is not known before it is loaded"
    assert blocks["moment"] is not None


def test_a_forecast_reckons_with_the_holdout_clusters_and_labels_to_come() -> None:
    plan = make_plan(config_of("two classes", source={"size": 8000, "holdout": 0.5}))
    assert plan.per_class == pytest.approx(2000)
    clusters = make_plan(config_of("unlabelled", source={"size": 8000})).as_dict()["forecast"]
    assert clusters["classes"] == 8
    assert clusters["cells"] > 8 * 49_152
    coming = make_plan(config_of("to be released", source={"size": 8000})).as_dict()["forecast"]
    assert coming["classes"] is None
    assert coming["cells"] is None
    assert all(block["noise_to_signal"] is None for block in coming["blocks"])
    said = "\n".join(make_plan(config_of("two classes", recipe="finetune", source={"size": 8000})).lines())
    assert "about 400 records a step" in said


def test_memory_time_and_machine_are_in_the_json() -> None:
    config = config_of("two classes", source={"size": 8000}, rows=1000)
    config = config.model_copy(update={"performance": Performance(threads=1)})
    forecast = make_plan(config).as_dict()["forecast"]
    assert forecast["cores"] == 1
    assert forecast["seconds"] == pytest.approx(0.14 * forecast["texts"])
    assert forecast["bytes_of_cells"] == 32 * forecast["cells"]
