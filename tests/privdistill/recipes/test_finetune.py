"""Recipe `finetune` on tiny models, behind a real door: what is planned, charged, asked and written."""

from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest

from privdistill import pipeline
from privdistill.accounting.ledger import Ledger
from privdistill.candidate import read_claim
from privdistill.config import Performance, Privacy, RunConfig, Source, Synthesis
from privdistill.errors import ConfigError, PrivacyError
from privdistill.features.encoded import TextEncoder
from privdistill.mechanisms import finetuning
from privdistill.mechanisms.finetuning import require_trainable
from privdistill.mechanisms.release import ExpertRequest, FinetuneRequest, Release, StatisticRequest
from privdistill.models.language_model import LanguageModel
from privdistill.models.loading import Models
from privdistill.planning import make_plan
from privdistill.recipes import distribution, finetune
from privdistill.recipes.base import Context, Task
from privdistill.recipes.distribution import STATISTIC, make_ground
from privdistill.recipes.finetune import FinetuneRecipe, schedule_for
from privdistill.runs import RunDirectory
from privdistill.synthesis.pool import Draft
from privdistill.synthesis.selection import Candidates
from privdistill.synthesis.waves import Waves
from tests.conftest import toy_rows
from tests.privdistill.planted import RECORD
from tests.privdistill.recipes.conftest import PERFORMANCE, Bench

pytestmark = pytest.mark.usefixtures("small_training")


def test_the_statistic_is_measured_then_the_model_is_trained_and_writes(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts, labels = zip(*toy_rows(150), strict=True)
    steered: dict[LanguageModel, list[str]] = {}
    asked_of: dict[LanguageModel, int] = {}
    pools: list[Candidates] = []
    drafts, choose = Waves._drafts, distribution.herded

    def watched(waves: Waves, sizes: np.ndarray, *given: object) -> list[Draft]:
        written, model = drafts(waves, sizes, *given), waves._context.language_model
        steered.setdefault(model, []).extend(draft.text for draft in written)
        asked_of[model] = asked_of.get(model, 0) + int(sizes.sum())
        return written

    monkeypatch.setattr(Waves, "_drafts", watched)
    monkeypatch.setattr(distribution, "herded", lambda pool, seen: (pools.append(pool), choose(pool, seen))[1])
    rows, asked, charged = bench.run("finetune", texts, labels)
    assert len(rows.texts) == 12
    assert [type(one) for one in asked] == [StatisticRequest, FinetuneRequest]
    assert [record.kind for record in charged] == ["gaussian", "sampled-gaussian"]
    assert charged[1].steps == schedule_for(150)[1]
    trained, prompts = asked[1], asked[1].prompts
    assert len(prompts) == 2
    assert prompts[0] != prompts[1]
    assert trained.expected_units == pytest.approx(150, abs=60)
    # The trained model writes as much as the public one, and what classes lack; what both wrote is chosen from.
    public, trained_ = asked_of[bench.model], sum(n for model, n in asked_of.items() if model is not bench.model)
    assert 12 * PERFORMANCE.pool_factor / 2 <= public <= trained_
    assert {text for written in steered.values() for text in written} <= set(pools[0].texts)
    # What writes beside the public model is not it, and the public model is as it was.
    (writer,) = steered.keys() - {bench.model}
    moved = [
        name
        for name, weight in writer.network.named_parameters()
        if not np.array_equal(weight.float().detach(), bench.model.network.get_parameter(name).float().detach())
    ]
    assert moved
    assert all(".1." in name for name in moved)


def test_what_is_foreseen_is_what_is_asked_for_but_for_what_nobody_knows_yet(bench: Bench) -> None:
    """What is refused before the charge has to be what would be refused after it."""
    models = Models(bench.encoder, bench.model, ())
    for weights in ("low-rank", "whole", "full"):
        task = Task(True, ("a", "b"), None, {}, "remarks", 12, 100, 8.0, 1e-6, tuned_weights=weights, recompute=True)
        context = Context(
            task, {STATISTIC: 1.0}, bench.encoder, bench.model, PERFORMANCE, np.random.default_rng(0), lambda *_: None
        )
        release = Release({"count": np.array([30.0, 50.0])}, {}, RECORD, ("a", "b"))
        asked = finetune.request_for(context, make_ground(context), release)
        (foreseen,) = FinetuneRecipe().foreseen(task, models)
        assert asked.classes.names == foreseen.classes.names
        known = {"classes": foreseen.classes, "expected_units": 1.0}
        assert astuple(replace(asked, **known)) == astuple(replace(foreseen, **known))


@pytest.mark.parametrize("matcher", ["gradient", "metamodel", "trajectory"])
def test_any_matcher_chooses_from_what_both_models_wrote_under_the_same_budget(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, matcher: str
) -> None:
    texts, labels = zip(*toy_rows(150), strict=True)
    own = {"gradient": "gradient_cosine", "metamodel": "bi_level_loss", "trajectory": "segment_distance"}[matcher]
    rows, asked, charged = bench.run("finetune", texts, labels, matcher=matcher)
    assert own in rows.facts
    expert = [ExpertRequest] if matcher == "trajectory" else []
    assert [type(one) for one in asked] == [StatisticRequest, *expert, FinetuneRequest]
    assert ("gradient" in {one.name for one in asked[0].blocks}) == (matcher == "gradient")
    plan = make_plan(
        RunConfig(
            source=Source(path="x", label_column="label", labels=("bad", "good"), size=150),
            privacy=Privacy(epsilon=8.0),
            synthesis=Synthesis(recipe="finetune", rows=12, describe="short remarks", matcher=matcher),
        )
    )
    assert sum(plan.shares.values()) == pytest.approx(1)
    assert {one.name: one.noise_multiplier for one in charged} == plan.budget.noise_multipliers
    assert plan.budget.epsilon <= 8.0
    assert plan.forecast is not None
    assert ("gradient" in {one.name for one in plan.forecast.blocks}) == (matcher == "gradient")


@pytest.mark.parametrize("labelled", [True, False])
def test_what_is_foreseen_is_what_is_asked(bench: Bench, labelled: bool) -> None:
    """In all that a model can be refused for: counts and classes come from the statistic and the public pool."""
    texts, labels = zip(*toy_rows(120), strict=True)
    _, asked, _ = bench.run("finetune", texts, labels if labelled else None)
    declared = tuple(sorted(set(labels))) if labelled else None
    task = Task(labelled, declared, None, {}, "short remarks", 12, len(texts), 8.0, 1e-6)
    (seen,) = FinetuneRecipe().foreseen(task, Models(bench.encoder, bench.model, ()))
    for name in ("name", "model", "layers", "rank", "end", "max_tokens", "max_grad_norm", "learning_rate", "recompute"):
        assert getattr(seen, name) == getattr(asked[1], name)
    assert set(seen.prompts) == set(asked[1].prompts)


def test_an_unlabelled_corpus_trains_one_prompt_for_all(bench: Bench) -> None:
    rows, asked, _ = bench.run("finetune", [text for text, _ in toy_rows(120)], None)
    assert len(set(asked[1].prompts)) == 1
    assert len(rows.texts) == 12


@pytest.mark.parametrize("size", [None, 50, 2000, 9000, 10**6])
def test_the_schedule_is_a_rule_of_the_declared_size(size: int | None) -> None:
    rate, steps = schedule_for(size)
    assert 0 < rate <= 0.5
    assert finetune._EPOCHS <= rate * steps <= finetune._EPOCHS + 1


@pytest.mark.parametrize("size", [None, 10_000])
def test_the_plan_says_how_loud_the_noise_is_and_what_the_training_costs(size: int | None) -> None:
    config = RunConfig(
        source=Source(path="nowhere", label_column="label", labels=("a", "b"), size=size),
        privacy=Privacy(epsilon=8.0),
        synthesis=Synthesis(recipe="finetune", rows=10),
    )
    plan = make_plan(config)
    assert plan.budget is not None
    assert 0.99 * 8 <= plan.budget.epsilon <= 8
    assert plan.forecast is not None
    assert plan.as_dict()["forecast"]["remarks"] == list(plan.forecast.remarks)
    said = "\n".join(plan.lines())
    assert ("declare --size" in said) == ("activations might not fit" in said) == (size is None)
    assert ("minutes of training" in said) == (size is not None)
    assert "generator: sampled-gaussian, " in said


def test_what_is_trained_can_be_chosen_and_the_plan_says_what_it_costs_in_noise() -> None:
    def plan(**more: object) -> str:
        config = RunConfig(
            source=Source(path="nowhere", label_column="label", labels=("a", "b"), size=10_000),
            privacy=Privacy(epsilon=1.0),
            synthesis=Synthesis(recipe="finetune", rows=10, **more),
        )
        return "\n".join(make_plan(config).lines())

    assert "134,515,008 trained numbers of the embedded model take about 12 GB more" in plan(tuned_weights="full")
    copies = {"whole": finetuning._GHOSTLY_COPIES, "full": finetuning._COPIES_ALONE}
    assert finetune._BYTES_A_NUMBER == {name: 4 * count for name, count in copies.items()}
    whole = plan(tuned_weights="whole", tuned_layers=2)
    assert "louder than any noise that was tried" in whole
    assert "measured for low-rank adapters in 1 layers only" in whole
    assert "louder" not in plan()


def test_the_plan_says_what_is_known_of_options_of_time_and_memory() -> None:
    def remarks(size: int | None, **given: object) -> str:
        config = RunConfig(
            source=Source(path="nowhere", label_column="label", labels=("a", "b"), size=size),
            privacy=Privacy(epsilon=8.0),
            synthesis=Synthesis(recipe="finetune", rows=10, **given),
            performance=Performance(gradient_checkpointing=bool(given)),
        )
        forecast = make_plan(config).forecast
        assert forecast is not None
        return "\n".join(forecast.remarks)

    for size in (None, 10_000):
        said = remarks(size, vocabulary_shortlist=8192, base_weights="8-bit")
        for words in ("odds over 8,192 tokens", "computed twice", "in 8 bits"):
            assert words in said
            assert words not in remarks(size)
        assert ("without those options" in said) == (size is not None)


def test_the_shortlist_is_read_off_the_public_ground_whatever_was_released(bench: Bench) -> None:
    """The recipe holds the noised counts when it asks; they decide the expected batch, and no token."""
    task = Task(True, ("a", "b"), None, {}, None, 12, 100, 8.0, 1e-6, vocabulary_shortlist=50, recompute=True)
    rng = np.random.default_rng(0)
    context = Context(task, {STATISTIC: 1.0}, bench.encoder, bench.model, PERFORMANCE, rng, lambda *_: None)
    ground = make_ground(context)
    counts = (np.array([30.0, 50.0]), np.array([2000.0, 1.0]))
    first, second = (
        finetune.request_for(context, ground, Release({"count": one}, {}, RECORD, ("a", "b"))) for one in counts
    )
    assert first.expected_units != second.expected_units
    assert first.shortlist is not None
    assert np.array_equal(first.shortlist, second.shortlist)
    assert len(first.shortlist) == 50
    assert first.end in first.shortlist
    assert first.recompute
    plain = replace(context, task=replace(task, vocabulary_shortlist=None))
    assert finetune.request_for(plain, ground, Release({"count": counts[0]}, {}, RECORD, ("a", "b"))).shortlist is None
    whole = replace(context, task=replace(task, tuned_weights="whole"))
    asked = finetune.request_for(whole, ground, Release({"count": counts[0]}, {}, RECORD, ("a", "b")))
    assert asked.rank is None
    width = bench.model.network.config.hidden_size
    assert asked.learning_rate == pytest.approx(3e-3 * 4 * 576 / width), "of one layer"
    assert first.learning_rate == 1.5e-2 * 4
    full = replace(context, task=replace(task, tuned_weights="full", vocabulary_shortlist=None))
    asked = finetune.request_for(full, ground, Release({"count": counts[0]}, {}, RECORD, ("a", "b")))
    assert (asked.layers, asked.rank, asked.full) == (None, None, True)


@pytest.mark.parametrize("max_tokens", [376, 430, 487])
def test_a_released_label_is_cut_where_a_declared_one_is_refused(bench: Bench, max_tokens: int) -> None:
    """Before: it was refused as well, after the list and the statistic were paid for."""
    long, short = "extraordinarily long-winded about itself " * 4, "good"
    encoder = TextEncoder(bench.encoder.sentences, bench.encoder.tokenizer, max_tokens)
    models = Models(encoder, bench.model, ())
    task = Task(True, None, None, {}, "remarks", 12, 100, 8.0, 1e-6)
    known = replace(task, labels=(long, short))
    (declared,), (foreseen,) = (FinetuneRecipe().foreseen(one, models) for one in (known, task))
    require_trainable(foreseen, bench.model, 1)
    with pytest.raises(PrivacyError, match="lower --max-tokens"):
        require_trainable(declared, bench.model, 1)
    plan = make_plan(
        RunConfig(
            source=Source(path="nowhere", label_column="label", size=400),
            privacy=Privacy(epsilon=8.0),
            synthesis=Synthesis(recipe="finetune", rows=12),
        )
    )
    noise = {one.name: one.noise_multiplier for one in plan.mechanisms}
    context = Context(known, noise, encoder, bench.model, PERFORMANCE, np.random.default_rng(0), lambda *_: None)
    ground = make_ground(context)
    whole, said = long.replace("-", " ").split(), (ground.words[0] or "").split()
    assert said == whole[: len(said)]
    assert len(said) < len(whole)
    assert bool(said) == (ground.words[1] == "good") == (max_tokens < 487), "no more is cut than has to be"
    asked = finetune.request_for(context, ground, Release({"count": np.array([30.0, 50.0])}, {}, RECORD, (long, short)))
    require_trainable(asked, bench.model, 1)


def test_people_are_counted_by_their_own_noised_count() -> None:
    counts = {"count": np.array([30.0, 50.0])}
    assert finetune._noised_units(Release(counts, {}, RECORD, ("a", "b"))) == 80
    assert finetune._noised_units(Release(counts | {"units": np.array([20.0])}, {}, RECORD, ("a", "b"))) == 20


@pytest.mark.parametrize("labels", [("good", "bad"), None])
def test_activations_that_may_not_fit_cost_nothing(
    toy_csv: Path,
    tiny_language_model: Path,
    tiny_encoder: Path,
    tmp_path: Path,
    labels: tuple[str, ...] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The few records that there are would fit: what was declared decides. Before, the label list was paid for."""
    config = RunConfig(
        source=Source(path=str(toy_csv), label_column="label", labels=labels, size=10_000),
        privacy=Privacy(epsilon=8.0),
        synthesis=Synthesis(
            recipe="finetune", rows=8, model=str(tiny_language_model), encoder=str(tiny_encoder), max_tokens=48
        ),
        performance=PERFORMANCE,
    )
    monkeypatch.setattr("privdistill.mechanisms.finetuning.memory", lambda: 5 * 10**7)
    ledger = str(tmp_path / "ledger.sqlite3")
    with pytest.raises(ConfigError, match=r"about 7,000 declared records of up to .* for activations"):
        pipeline.generate(config, run=tmp_path / "run", ledger=ledger, progress=lambda *told: None)
    assert all(Ledger(ledger).total(source_id).attempts == 0 for source_id, *_ in Ledger(ledger).sources())


def test_a_whole_run_is_reserved_charged_and_claimed(
    toy_csv: Path, tiny_language_model: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    config = RunConfig(
        source=Source(path=str(toy_csv), label_column="label", labels=("good", "bad"), size=400),
        privacy=Privacy(epsilon=8.0),
        synthesis=Synthesis(
            recipe="finetune",
            rows=8,
            model=str(tiny_language_model),
            encoder=str(tiny_encoder),
            max_tokens=48,
            vocabulary_shortlist=60,
            base_weights="8-bit",
        ),
        performance=PERFORMANCE.model_copy(update={"gradient_checkpointing": True}),
    )
    stages: set[str] = set()
    made = pipeline.generate(
        config,
        run=tmp_path / "run",
        ledger=str(tmp_path / "ledger.sqlite3"),
        progress=lambda stage, done, total: stages.add(stage),
    )
    run = RunDirectory.open(made)
    claim = read_claim(run)
    assert [mechanism.kind for mechanism in claim.mechanisms] == ["gaussian", "sampled-gaussian"]
    rate, steps = schedule_for(400)
    assert (claim.mechanisms[1].sample_rate, claim.mechanisms[1].steps) == (rate, steps)
    assert 0.99 * 8 <= (claim.epsilon or 0) <= 8
    assert [model.id.endswith("rounded to 8 bits") for model in claim.models] == [True, False]
    assert {"training the generator", "reading records below the cut"} <= stages
    (left,) = run.private.glob("*.checkpoint")  # stays on the private side
    assert left.stat().st_mode & 0o777 == 0o600
    assert not list(run.path.glob("candidate/*.checkpoint"))
