from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from privdistill.config import Performance
from privdistill.features.blocks import class_of
from privdistill.features.encoded import TextEncoder
from privdistill.matching.quotas import quotas, tempered
from privdistill.mechanisms.release import StatisticRequest
from privdistill.models.encoder import SentenceEncoder
from privdistill.models.language_model import LanguageModel
from privdistill.models.tokenizer import ModelTokenizer
from privdistill.recipes import distribution
from privdistill.recipes.base import Context, Recipe, Rows, Task
from privdistill.recipes.distribution import DistributionRecipe
from privdistill.recipes.registry import find_recipe
from privdistill.synthesis.selection import Candidates
from privdistill.synthesis.selection.rehearsal import Division
from privdistill.synthesis.waves import Waves
from tests.conftest import toy_rows
from tests.privdistill.planted import answer

_PERFORMANCE = Performance(dtype="float32", batch_size=64, pool_factor=2.0)


def _task(rows: int, labels: Sequence[str] | None, epsilon: float = 8.0) -> Task:
    return Task(
        labelled=labels is not None,
        labels=tuple(labels) if labels else None,
        other=None,
        label_descriptions={},
        describe="short remarks",
        rows=rows,
        size=None,
        epsilon=epsilon,
        delta=1e-6,
        pool_factor=2.0,
    )


@pytest.fixture(autouse=True)
def _small_public_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained model writes as long as it may: keep its zero-shot pool small."""
    monkeypatch.setattr(distribution, "_PUBLIC_TEXTS", (96, 96))
    monkeypatch.setattr(distribution, "_PUBLIC_TOKENS", 16)


@pytest.fixture(scope="module")
def context_for(tiny_language_model: Path, tiny_encoder: Path):
    encoder = TextEncoder(
        SentenceEncoder(tiny_encoder, model_id="tiny", dtype="float32", max_tokens=64),
        ModelTokenizer(tiny_language_model, model_id="tiny"),
        64,
    )
    model = LanguageModel.load(tiny_language_model, model_id="tiny", performance=_PERFORMANCE)

    def make(task: Task) -> Context:
        return Context(
            task, {"statistic": 0.6}, encoder, model, _PERFORMANCE, np.random.default_rng(0), lambda *_: None
        )

    return make


def _run(context: Context, texts: Sequence[str], labels: Sequence[str | None]) -> tuple[StatisticRequest, Rows]:
    steps = DistributionRecipe().run(context)
    request = next(steps)
    encoded = context.encoder.encode(texts)
    owners = [class_of(request.classes, label, one) for label, one in zip(labels, encoded.embeddings, strict=True)]
    release = answer(request, encoded, np.array(owners), np.random.default_rng(1), 0.6)
    with pytest.raises(StopIteration) as done:
        steps.send(release)
    return request, done.value.value


@pytest.mark.parametrize("rows", [1, 7, 60])
def test_exactly_as_many_rows_come_out_even_from_a_model_that_writes_nonsense(context_for, rows: int) -> None:
    texts, labels = zip(*toy_rows(150), strict=True)
    _, out = _run(context_for(_task(rows, ["bad", "good"])), texts, labels)
    assert len(out.texts) == len(out.labels) == rows
    assert out.soft_labels.shape == (rows, 2)
    assert set(out.labels) <= {"bad", "good"}
    assert out.class_names == ("bad", "good")
    assert all(text.strip() for text in out.texts)


@pytest.mark.parametrize("rule", ["counted", "tempered"])
def test_class_shares_follow_the_noised_counts(context_for, rule) -> None:
    rows = toy_rows(300)
    kept = [row for i, row in enumerate(rows) if row[1] == "good" or i % 4 == 0]
    task = replace(_task(60, ["bad", "good"]), class_shares=rule)
    _, out = _run(context_for(task), *zip(*kept, strict=True))
    counts = np.array([out.facts["noised_counts"][name] for name in ("bad", "good")])
    power = out.facts.get("class_share_exponent", 1.0)
    assert (power < 1.0) == (rule == "tempered")
    assert out.facts["class_shares"] == rule
    expected = quotas(60, tempered(counts / counts.sum(), np.array([True, True]), power))
    found = [out.labels.count(name) for name in ("bad", "good")]
    assert sum(found) == 60
    assert abs(found[0] - expected[0]) <= 1  # facts are rounded


def test_rows_follow_the_power_that_was_found(context_for, monkeypatch) -> None:
    division = Division([22, 38], 0.3, {"0.3": 0.9, "0.4": 0.8})
    monkeypatch.setattr(distribution, "divided_rows", lambda *given: division)
    _, out = _run(context_for(_task(60, ["bad", "good"])), *zip(*toy_rows(300), strict=True))
    assert [out.labels.count(name) for name in ("bad", "good")] == [22, 38]
    assert (out.facts["class_share_exponent"], out.facts["exponents_tried"]) == (0.3, division.scores)


@pytest.mark.parametrize("teachers", ["one", "mean", "drop"])
def test_several_teachers_say_how_much_they_dispute_whatever_is_made_of_it(
    context_for, monkeypatch, teachers: str
) -> None:
    """Before: `mean` looked for no disputes, and the run said that there were none."""
    pools: list[Candidates] = []
    choose = distribution.herded
    monkeypatch.setattr(distribution, "herded", lambda pool, seen: (pools.append(pool), choose(pool, seen))[1])
    task = replace(_task(20, ["bad", "good"]), teachers=teachers)
    _, out = _run(context_for(task), *zip(*toy_rows(120), strict=True))
    disputed = ~pools[0].agreed
    assert disputed.any() == (teachers != "one")
    assert out.facts.get("disputed_by_teachers") == (None if teachers == "one" else round(disputed.mean(), 3))
    assert (pools[0].preferred == (pools[0].agreed if teachers == "drop" else True)).all()


def test_labels_that_say_nothing_work(context_for) -> None:
    texts, labels = zip(*toy_rows(120), strict=True)
    numbered = ["1" if label == "good" else "0" for label in labels]
    _, out = _run(context_for(_task(20, ["0", "1"])), texts, numbered)
    assert len(out.texts) == 20


def test_an_unlabelled_corpus_gets_public_clusters(context_for) -> None:
    texts = [text for text, _ in toy_rows(120)]
    request, out = _run(context_for(_task(24, None)), texts, [None] * len(texts))
    assert request.classes.centres is not None
    assert all(label.startswith("cluster-") for label in out.labels)
    assert len(out.texts) == 24


def test_the_request_is_fixed_before_anything_private_is_seen(context_for) -> None:
    request = next(DistributionRecipe().run(context_for(_task(20, ["bad", "good"]))))
    assert [block.name for block in request.blocks] == ["count", "moment", "tokens", "opening", "length", "second"]
    assert np.isclose(sum(part**2 for part in request.sensitivity_parts.values()), 1 + 1.5**2 * 2 + 1.2**2 + 0.25 + 1)


def test_the_plan_is_one_mechanism_with_the_whole_budget() -> None:
    recipe = find_recipe("distribution")
    assert isinstance(recipe, Recipe)
    (planned,) = recipe.mechanisms(_task(10, ["a", "b"]))
    assert (planned.kind, planned.share) == ("gaussian", 1.0)
    task = _task(10, ["a", "b"])
    assert recipe.noise_floor(task, {"statistic": 4.0}) > recipe.noise_floor(task, {"statistic": 0.6}) > 0


def test_rows_that_are_repeated_for_want_of_texts_are_counted_and_said(context_for, monkeypatch) -> None:
    written = Waves.write
    monkeypatch.setattr(Waves, "write", lambda *given: written(*given).take(np.arange(5)))
    _, out = _run(context_for(_task(20, ["bad", "good"])), *zip(*toy_rows(120), strict=True))
    assert len(out.texts) == 20
    assert out.facts["rows_repeated"] == out.repeated == 15
    assert any("15 of 20 rows repeat the text of another" in one for one in out.shortcomings())


def test_nothing_is_said_of_repeats_where_there_are_none(context_for) -> None:
    _, out = _run(context_for(_task(12, ["bad", "good"])), *zip(*toy_rows(120), strict=True))
    assert out.facts["rows_repeated"] == out.repeated == 0
    assert not any("repeat" in one for one in out.shortcomings())
