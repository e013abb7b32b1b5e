"""Every interval is held to its coverage by simulation, and a planted one that is too narrow is caught."""

from collections.abc import Callable

import numpy as np
import pytest

from audits.findings import Estimate
from privdistill.evaluation import intervals
from privdistill.evaluation.fidelity import frechet
from privdistill.evaluation.intervals import (
    bootstrapped,
    half_sampled,
    over_generations,
    paired_difference,
    paired_ratio,
    wilson,
)
from privdistill.evaluation.scores import macro_f1

WORLDS = 300
LEAST = 0.91
"""95 % less three standard deviations of 300 draws, and a little for what is approximate about each method."""


def coverage(truth: float, draw: Callable[[np.random.Generator], Estimate], worlds: int = WORLDS) -> float:
    rng = np.random.default_rng(1)
    found = [draw(rng) for _ in range(worlds)]
    assert all(one.low <= one.value <= one.high for one in found)
    return float(np.mean([one.low <= truth <= one.high for one in found]))


@pytest.mark.parametrize(("share", "n", "low", "high"), [(0.0, 10, 0.0, 0.2775), (0.5, 100, 0.4038, 0.5962)])
def test_wilson_intervals_are_the_published_ones(share: float, n: int, low: float, high: float) -> None:
    assert (wilson(share, n).low, wilson(share, n).high) == pytest.approx((low, high), abs=1e-4)


def test_wilson_without_records_says_nothing() -> None:
    assert (wilson(0.0, 0).low, wilson(0.0, 0).high) == (0.0, 1.0)


@pytest.mark.parametrize("share", [0.08, 0.5, 0.93])
def test_wilson_covers(share: float) -> None:
    assert coverage(share, lambda rng: wilson(rng.binomial(120, share) / 120, 120), 2000) > 0.93


def _tables(rng: np.random.Generator) -> np.ndarray:
    return rng.multinomial(400, np.array([0.5, 0.1, 0.08, 0.32, 0.0, 0.0])).reshape(3, 2).astype(np.float64)


def test_the_bootstrap_of_macro_f1_covers() -> None:
    truth = float(macro_f1(np.array([[[0.5, 0.1], [0.08, 0.32], [0.0, 0.0]]]))[0])
    assert coverage(truth, lambda rng: bootstrapped(macro_f1, _tables(rng), rng)) > LEAST


def test_generations_cover_the_mean_of_all_generations() -> None:
    def draw(rng: np.random.Generator) -> Estimate:
        found = over_generations(rng.normal(0.7, 0.02, size=3).tolist())
        assert found is not None
        return found

    assert coverage(0.7, draw, 2000) > 0.93
    assert over_generations([0.7]) is None


def test_halves_cover_a_mean_and_a_distance_that_is_biased_by_size() -> None:
    def mean(rng: np.random.Generator) -> Estimate:
        points = rng.exponential(size=200)
        return half_sampled(lambda rows: float(points[rows[0]].mean()), (200,), rng, "points")

    assert coverage(1.0, mean) > LEAST
    # The distance's own expectation at this size is the target: the bias is the same for all samples of one size.
    size = 60

    def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=(size, 3)), rng.normal(0.8, 1.0, size=(size, 3))

    rng = np.random.default_rng(0)
    expected = float(np.mean([frechet(*pair(rng)) for _ in range(1500)]))

    def distance(rng: np.random.Generator) -> Estimate:
        one, other = pair(rng)
        return half_sampled(lambda rows: frechet(one[rows[0]], other[rows[1]]), (size, size), rng, "points")

    assert coverage(expected, distance, 150) > LEAST - 0.03


def _answers(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    easy = rng.random(300)  # the same records are easy for both
    return (easy < 0.6).astype(float), (easy + 0.05 * rng.standard_normal(300) < 0.8).astype(float)


def test_paired_intervals_cover_and_are_narrower_than_unpaired_ones() -> None:
    rng = np.random.default_rng(0)
    many = [_answers(rng) for _ in range(2000)]
    gap = float(np.mean([b.mean() - a.mean() for a, b in many]))
    ratio = float(np.mean([a.mean() for a, _ in many]) / np.mean([b.mean() for _, b in many]))

    def difference(rng: np.random.Generator) -> Estimate:
        one, other = _answers(rng)
        return paired_difference(other, one)

    def share(rng: np.random.Generator) -> Estimate:
        found = paired_ratio(*_answers(rng), rng)
        assert found is not None
        return found

    assert coverage(gap, difference, 500) > 0.93
    assert coverage(ratio, share, 80) > 0.88
    one, other = _answers(rng)
    paired = paired_difference(other, one)
    assert paired.high - paired.low < 0.8 * (wilson(one.mean(), 300).high - wilson(one.mean(), 300).low) * np.sqrt(2)
    assert paired_ratio([1.0, 1.0], [0.0, 0.0], rng) is None


def test_an_interval_that_is_too_narrow_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_Z", 1.2)
    assert coverage(0.5, lambda rng: wilson(rng.binomial(120, 0.5) / 120, 120), 2000) < 0.85


def test_halves_of_three_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        half_sampled(lambda rows: 0.0, (3,), np.random.default_rng(0), "texts")
