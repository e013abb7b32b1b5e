import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.matching import kernel_ridge
from privdistill.matching.kernel_ridge import (
    Moments,
    closed_form_labels,
    outer_loss,
    read_moments,
    ridge_weights,
    select_support,
    with_bias,
)
from privdistill.matching.target import read_target
from privdistill.mechanisms.release import ClassRule, StatisticRequest
from privdistill.synthesis.teacher import projected
from tests.privdistill.planted import answer, planted_map, planted_texts

D, K = 5, 3


def records(n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Features with bias and classes that depend on them."""
    labels = rng.integers(K, size=n)
    points = 0.2 * rng.standard_normal((n, D - 1))
    points[np.arange(n), labels] += 0.5
    return with_bias(points), labels


def moments_of(features: np.ndarray, labels: np.ndarray, ridge: float = 1e-3) -> Moments:
    n = len(features)
    return Moments(features.T @ features / n, features.T @ np.eye(K)[labels] / n, ridge)


@given(st.integers(0, 100))
@settings(max_examples=20)
def test_the_outer_loss_is_the_squared_error_on_the_records(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = records(60, rng)
    weights = rng.standard_normal((D, K))
    by_hand = np.mean(np.sum((np.eye(K)[y] - x @ weights) ** 2, axis=1))
    assert outer_loss(weights, moments_of(x, y)) == pytest.approx(by_hand)


def greedy_by_hand(x: np.ndarray, labels: np.ndarray, moments: Moments, wanted: list[int]) -> list[int]:
    """The definition: solve the inner problem afresh for every candidate of every step."""
    taken: list[int] = []
    damping = moments.ridge * sum(wanted) * np.eye(D)
    for _ in range(sum(wanted)):
        have = np.bincount(labels[taken], minlength=K)
        losses = {}
        for i in range(len(x)):
            if i not in taken and have[labels[i]] < wanted[labels[i]]:
                rows = [*taken, i]
                w = np.linalg.solve(x[rows].T @ x[rows] + damping, x[rows].T @ np.eye(K)[labels[rows]])
                losses[i] = outer_loss(w, moments)
        taken.append(min(losses, key=losses.__getitem__))
    return taken


@given(st.integers(0, 1000))
@settings(max_examples=15)
def test_rank_one_updates_choose_what_the_definition_chooses(seed: int) -> None:
    rng = np.random.default_rng(seed)
    moments = moments_of(*records(200, rng), ridge=0.02)
    x, labels = records(25, rng)
    wanted = [int(min(n, 3)) for n in np.bincount(labels, minlength=K)]
    assert select_support(x, labels, moments, wanted) == greedy_by_hand(x, labels, moments, wanted)


def test_a_planted_update_that_forgets_the_residual_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    class Numpy:
        """Makes every outer product vanish: neither slope nor residual would ever move."""

        def __getattr__(self, name: str):
            return (lambda a, b: np.zeros((len(a), len(b)))) if name == "outer" else getattr(np, name)

    rng = np.random.default_rng(0)
    moments = moments_of(*records(200, rng), ridge=0.02)
    x, labels = records(40, rng)
    expected = greedy_by_hand(x, labels, moments, [3, 3, 3])
    monkeypatch.setattr(kernel_ridge, "np", Numpy())
    assert select_support(x, labels, moments, [3, 3, 3]) != expected


def test_a_support_beats_random_rows_and_closed_form_labels_reach_the_best() -> None:
    rng = np.random.default_rng(2)
    moments = moments_of(*records(2000, rng))
    x, labels = records(300, rng)
    labels[rng.random(300) < 0.2] = 0  # a pool whose labels are partly wrong
    chosen = select_support(x, labels, moments, [8, 8, 8])
    assert len(chosen) == len(set(chosen)) == 24
    random_rows = np.concatenate([np.flatnonzero(labels == k)[:8] for k in range(K)])

    def loss(rows: np.ndarray, y: np.ndarray) -> float:
        return outer_loss(ridge_weights(x[rows], y, moments.ridge), moments)

    least = outer_loss(moments.best, moments)
    hard = loss(np.array(chosen), np.eye(K)[labels[chosen]])
    assert hard < loss(random_rows, np.eye(K)[labels[random_rows]])
    assert loss(np.array(chosen), closed_form_labels(x[chosen], moments)) == pytest.approx(least)
    assert hard > least


def test_fewer_rows_than_dimensions_get_finite_labels() -> None:
    rng = np.random.default_rng(3)
    moments = moments_of(*records(500, rng))
    x, _ = records(2, rng)
    assert np.isfinite(closed_form_labels(x, moments)).all()


def test_refused_candidates_are_asked_once_and_never_taken() -> None:
    rng = np.random.default_rng(4)
    moments = moments_of(*records(100, rng))
    x, labels = records(12, rng)
    asked: list[int] = []

    def accept(i: int) -> bool:
        asked.append(i)
        return i % 2 == 0

    chosen = select_support(x, labels, moments, [9, 9, 9], accept=accept)
    assert sorted(chosen) == [0, 2, 4, 6, 8, 10]
    assert sorted(asked) == list(range(12))


def test_little_noise_gives_the_moments_of_the_records_and_much_noise_a_large_ridge() -> None:
    rng = np.random.default_rng(5)
    map_ = planted_map(rng)
    texts, labels = planted_texts(3000, rng)
    request = StatisticRequest("statistic", ClassRule(("zero", "one")), map_.blocks)
    release = answer(request, texts, labels, rng, 1e-4)
    moments = read_moments(release, read_target(release))
    x = with_bias(projected(texts, map_.moment))
    assert np.allclose(moments.second - moments.ridge * np.eye(len(moments.second)), x.T @ x / 3000, atol=2e-3)
    assert np.allclose(moments.cross, x.T @ np.eye(2)[labels] / 3000, atol=2e-3)
    loud = answer(request, texts, labels, rng, 100.0)
    noised = read_moments(loud, read_target(loud))
    assert noised.ridge > 10 * moments.ridge
    assert np.linalg.eigvalsh(noised.second).min() > -1e-9
    assert np.abs(noised.best).max() < 2
