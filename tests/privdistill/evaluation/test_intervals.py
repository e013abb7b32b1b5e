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
    over_draws,
    over_generations,
    paired_difference,
    paired_ratio,
    seen_on_none,
    wilson,
)
from privdistill.evaluation.scores import balanced_accuracy, macro_f1

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
        return half_sampled(lambda rows: float(points[rows[0]].mean()), (200,), rng, "points", (0.0, np.inf))

    assert coverage(1.0, mean) > LEAST
    # The distance's own expectation at this size is the target: the bias is the same for all samples of one size.
    size = 60

    def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.normal(size=(size, 3)), rng.normal(0.8, 1.0, size=(size, 3))

    rng = np.random.default_rng(0)
    expected = float(np.mean([frechet(*pair(rng)) for _ in range(1500)]))

    def distance(rng: np.random.Generator) -> Estimate:
        one, other = pair(rng)
        return half_sampled(
            lambda rows: frechet(one[rows[0]], other[rows[1]]), (size, size), rng, "points", (0.0, np.inf)
        )

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


def test_draws_of_rows_vary_beside_test_records() -> None:
    def shares(rng: np.random.Generator) -> list[float]:
        easy, taught = rng.random(200), 0.7 + 0.08 * rng.standard_normal(5)
        return [float(np.mean(easy < one)) for one in taught]

    assert coverage(0.7, lambda rng: over_draws(shares(rng), 200), 1000) > LEAST
    assert coverage(0.7, lambda rng: wilson(float(np.mean(shares(rng))), 200), 1000) < 0.88, "records alone do not do"
    both = over_draws([0.6, 0.8, 0.7], 200)
    assert both.high - both.low > wilson(0.7, 200).high - wilson(0.7, 200).low
    assert both.method == "Wilson 95 % over test records and Student t 95 % over 3 draws of rows, in quadrature"
    assert over_draws([0.7], 200) == wilson(0.7, 200)
    assert over_draws([1.0, 0.4], 200).high == 1.0


PERFECT = np.array([[60.0, 0.0], [0.0, 40.0], [0.0, 0.0]])


@pytest.mark.parametrize("score", [macro_f1, balanced_accuracy])
def test_no_error_among_few_records_is_no_certainty(score: Callable) -> None:
    rng = np.random.default_rng(0)
    found = bootstrapped(score, PERFECT, rng)
    assert (found.value, found.high) == (1.0, 1.0)
    assert 1 - found.low == pytest.approx(np.hypot(seen_on_none(60), seen_on_none(40)) / 2)
    assert found.low < wilson(1.0, 100).low
    assert "all bootstrap draws agree" in found.method
    assert (bootstrapped(score, 0 * PERFECT, rng).low, bootstrapped(score, 0 * PERFECT, rng).high) == (0.0, 1.0)


def test_students_that_agree_everywhere_are_not_known_to_be_equal() -> None:
    rng, same = np.random.default_rng(0), (np.arange(100) < 80).astype(float)
    gap, ratio = paired_difference(same, same), paired_ratio(same, same, rng)
    assert ratio is not None
    assert (gap.low, gap.value, gap.high) == (-seen_on_none(100), 0.0, seen_on_none(100))
    assert (ratio.low, ratio.high) == pytest.approx((1 - seen_on_none(100) / 0.8, 1 + seen_on_none(100) / 0.8))
    assert "same on all" in gap.method
    assert "agree" in ratio.method
    perfect = paired_difference(np.ones(50), np.zeros(50))
    assert (perfect.low, perfect.high) == (1 - seen_on_none(50), 1.0)
    alone = paired_difference([1.0], [0.0])
    assert alone.low < 1.0


def test_rare_errors_are_covered() -> None:
    """Nearly half of these worlds show no error: an interval without width would miss the truth in all of those."""

    def table(rng: np.random.Generator) -> np.ndarray:
        wrong = rng.binomial((200, 200), 0.002)
        return np.array([[200 - wrong[0], wrong[0]], [wrong[1], 200 - wrong[1]], [0, 0]], dtype=np.float64)

    def gap(rng: np.random.Generator) -> Estimate:
        return paired_difference(np.ones(300), (rng.random(300) > 0.002).astype(float))

    assert coverage(0.998, lambda rng: bootstrapped(balanced_accuracy, table(rng), rng)) > LEAST
    assert coverage(0.002, gap, 1000) > LEAST


def test_ends_lie_in_the_range_of_the_measure() -> None:
    rng = np.random.default_rng(0)
    points = np.concatenate([np.ones(40), np.zeros(2)])
    share = half_sampled(lambda rows: float(points[rows[0]].mean()), (42,), rng, "texts", (0.0, 1.0))
    assert share.low < share.value < share.high == 1.0
    none = half_sampled(lambda rows: 0.0, (42,), rng, "texts", (0.0, 1.0))
    assert (none.low, none.value, none.high) == (0.0, 0.0, seen_on_none(42))
    assert (
        half_sampled(lambda rows: float(np.square(points[rows[0]]).sum()), (42,), rng, "t", (30.0, 41.0)).high == 41.0
    )
    assert paired_difference([1, 1, 1, 0], [0, 0, 0, 0]).high == 1.0
    spread = over_generations([0.9, 1.0])
    assert spread is not None
    assert (spread.low >= 0.0, spread.high) == (True, 1.0)
    alike = over_generations([0.9, 0.9])
    assert alike is not None
    assert "no spread was seen" in alike.method


def test_an_interval_that_is_too_narrow_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intervals, "_Z", 1.2)
    assert coverage(0.5, lambda rng: wilson(rng.binomial(120, 0.5) / 120, 120), 2000) < 0.85


def test_halves_of_three_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 4"):
        half_sampled(lambda rows: 0.0, (3,), np.random.default_rng(0), "texts", (0.0, 1.0))


@pytest.mark.parametrize("n", [20, 200, 1000])
def test_a_record_on_which_students_differ_makes_their_difference_no_surer(n: int) -> None:
    one = np.ones(n)
    widths = []
    for differing in (0, 1, 2):
        other = one.copy()
        other[:differing] = 0
        ratio = paired_ratio(other, one, np.random.default_rng(n))
        assert ratio is not None
        gap = paired_difference(other, one)
        widths.append((gap.high - gap.value, gap.value - gap.low, ratio.high - ratio.value, ratio.value - ratio.low))
    for wider, narrower in zip(widths[1:], widths[:-1], strict=True):
        assert all(a >= b - 1e-12 for a, b in zip(wider[:2], narrower[:2], strict=True))
        assert wider[3] >= 0.99 * narrower[3]
