from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.config import Privacy, RunConfig, Source, Synthesis
from privdistill.errors import ConfigError
from privdistill.matching.gradients import cosine, frank_wolfe, gradients_of, greedy_cosine
from privdistill.mechanisms.release import HeadGradientBlock, Release
from privdistill.planning import make_plan
from privdistill.recipes.distribution import Choice, Measured
from privdistill.recipes.gradient import aligned, closer
from privdistill.synthesis.near_duplicates import NearDuplicates
from privdistill.synthesis.refinement import tokens, wave
from privdistill.synthesis.selection import Candidates
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
    assert rows.facts["gradient_matcher"].keys() == rows.facts["gradient_cosine"].keys()
    assert set(rows.facts["gradient_matcher"].values()) <= {"greedy", "frank-wolfe"}


TARGET = np.array([1.0, 0.0])


def chosen(points: list[list[float]], quota: int, target: np.ndarray = TARGET) -> tuple[list[int], str, float]:
    gradients, texts = np.array(points), [f"text {i}" for i in range(len(points))]
    rows, matcher, _ = closer(gradients, target, quota, texts, NearDuplicates())
    return sorted(rows), matcher, cosine(gradients[rows], target)


def test_two_that_only_balance_together_are_found_by_frank_wolfe() -> None:
    rows, matcher, reached = chosen([[0.9, 0.2], [1.0, 1.0], [1.0, -1.0]], quota=2)
    assert (rows, matcher) == ([1, 2], "frank-wolfe")
    assert reached == pytest.approx(1.0)


def test_a_target_out_of_reach_is_better_followed_greedily() -> None:
    points = [[2.0, 2.0], [1.0, 0.0], [1.0, 0.01]]
    rows, matcher, reached = chosen(points, quota=2, target=10 * TARGET)
    assert np.argmax(frank_wolfe(np.array(points), 10 * TARGET, 8)) == 0, "far away, only length counts"
    assert (rows, matcher) == ([1, 2], "greedy")
    assert reached > 0.99


def test_a_support_below_the_quota_is_filled_up_and_may_win() -> None:
    points = [[0.9, 0.2], [1.0, 1.0], [1.0, -1.0], [0.9, 0.25]]
    support = np.flatnonzero(frank_wolfe(np.array(points), TARGET, 12))
    assert support.tolist() == [1, 2], "two rows hit the target, and three are wanted"
    rows, matcher, reached = chosen(points, quota=3)
    assert (rows, matcher) == ([0, 1, 2], "frank-wolfe")
    assert reached > cosine(np.array(points)[greedy_cosine(np.array(points), TARGET, 3)], TARGET) + 0.01


def test_of_equals_the_greedy_one_is_named() -> None:
    assert chosen([[1.0, 0.0], [0.5, 0.5]], quota=2)[:2] == ([0, 1], "greedy")


@given(st.integers(0, 10_000), st.integers(1, 12), st.sampled_from([0.2, 1.0, 5.0]), st.integers(1, 6))
@settings(max_examples=60)
def test_the_choice_is_never_below_the_greedy_one(seed: int, quota: int, length: float, kinds: int) -> None:
    rng = np.random.default_rng(seed)
    gradients = rng.standard_normal((20, 4)) + 0.5
    target = length * (gradients[rng.permutation(20)[:5]].mean(axis=0) + 0.3 * rng.standard_normal(4))
    texts = [f"one of {kinds} kinds of text, number {i % (3 * kinds)}" for i in range(20)]  # some are duplicates
    seen = NearDuplicates()
    greedy = greedy_cosine(gradients, target, quota, accept=lambda i: seen.add(texts[i]))
    rows, matcher, after = closer(gradients, target, quota, texts, NearDuplicates())
    assert len(rows) == len(set(rows)) == len(greedy)
    assert len({texts[i] for i in rows}) == len(rows)
    least, reached = (cosine(gradients[sorted(one)], target) for one in (greedy, rows))
    assert reached >= least
    assert (matcher == "frank-wolfe") is (reached > least)
    assert not any(after.add(texts[i]) for i in rows), "the next class is told what this one took"


def planted(points: np.ndarray, labels: np.ndarray, aims: np.ndarray, sampled: int, wanted: list[int]):
    """Candidates and a release without noise that asks for the mean features `aims` (K, d), under heads that know
    nothing."""
    classes, d = aims.shape
    block = HeadGradientBlock(1.0, np.zeros(d), np.eye(d), 10.0, np.zeros((1, classes, d + 1)), 100.0)
    goal = np.stack(
        [gradients_of(aim[None], np.array([k]), block.weights, block.clip)[0] for k, aim in enumerate(aims)]
    )
    counts = np.full(classes, 50.0)
    release = Release({"gradient": goal * counts[:, None]}, {"gradient": 1e-9}, None, ("a", "b"))
    target = SimpleNamespace(names=("a", "b"), counts=counts)
    measured = Measured(SimpleNamespace(words=[None] * classes), release, target, wanted, (block,), sampled)
    n = len(points)
    candidates = Candidates(
        [f"number {i} of {i * 7} things" for i in range(n)],
        labels,
        np.where(np.eye(classes)[labels] > 0, 0.9, 0.1),
        points,
        np.zeros((n, 1)),
        np.zeros((n, 1)),
    )

    def reached(choice: Choice) -> dict[str, float]:
        found = gradients_of(points[choice.rows], choice.owners, block.weights, block.clip)
        return {name: cosine(found[choice.owners == k], goal[k]) for k, name in enumerate(target.names)}

    return candidates, measured, reached


def test_rows_are_never_worse_for_candidates_that_were_refined() -> None:
    kept = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        labels, wanted = np.arange(40) % 2, [5, 4]
        points = rng.standard_normal((40, 3))
        aims = np.stack([points[:30][labels[:30] == k][:5].mean(axis=0) for k in (0, 1)])
        candidates, measured, reached = planted(points, labels, aims, 30, wanted)
        choice = aligned(candidates, measured)
        alone = aligned(candidates.take(np.arange(30)), measured)
        assert "unrefined_kept" not in alone.facts, "nothing was refined"
        before, after = reached(alone), reached(choice)
        assert all(after[name] >= before[name] - 1e-12 for name in before)
        assert choice.facts["gradient_cosine"] == {name: round(value, 4) for name, value in after.items()}
        assert choice.facts["gradient_cosine_before"] == {name: round(value, 4) for name, value in before.items()}
        assert np.bincount(choice.owners).tolist() == wanted
        assert len(set(choice.rows)) == len(choice.rows)
        for k, name in enumerate(measured.target.names):
            own = {i for i, y in zip(choice.rows, choice.owners, strict=True) if y == k}
            if name in choice.facts["unrefined_kept"]:
                kept += 1
                assert max(own) < 30
                assert after[name] == pytest.approx(before[name])
    assert 0 < kept < 120, "both ends of the comparison are seen"


def test_a_class_with_too_few_candidates_is_compared_by_all_of_its_rows() -> None:
    """Two candidates for four rows: the cosine of the two alone would be perfect whatever fills up the rest."""
    near, far = [0.0, 0.0, 0.0], [3.0, 3.0, 3.0]
    others = [[0.1, 0.0, 0.0], [0.2, 0.0, 0.0], [0.0, 0.1, 0.0], [0.0, 0.2, 0.0]]
    labels = np.array([0, 0, 1, 1, 1, 1, 0, 0])
    for refined, keeps in ((far, ["a"]), (near, [])):
        points = np.array([near, near, *others, refined, refined], dtype=float)
        candidates, measured, reached = planted(points, labels, np.zeros((2, 3)), 6, [4, 2])
        choice = aligned(candidates, measured)
        assert choice.facts["unrefined_kept"] == keeps
        assert choice.facts["gradient_cosine"]["a"] == round(reached(choice)["a"], 4) > 0.98
        assert np.bincount(choice.owners).tolist() == [4, 2]
        assert ({6, 7} & set(choice.rows) == set()) is bool(keeps)


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
    if said["kept"]:
        before, after = (rows.facts[name] for name in ("gradient_cosine_before", "gradient_cosine"))
        assert set(before) <= {"bad", "good"}
        assert set(rows.facts["unrefined_kept"]) <= set(before) <= set(after)


def test_a_recipe_that_cannot_refine_says_so_before_anything_is_spent() -> None:
    for recipe in ("distribution", "auto", "evolution"):
        config = RunConfig(
            source=Source(path="x.csv", label_column="label", labels=("a", "b"), size=5000),
            privacy=Privacy(epsilon=8.0),
            synthesis=Synthesis(recipe=recipe, refinement="admm"),
        )
        with pytest.raises(ConfigError, match="--recipe gradient"):
            make_plan(config)
