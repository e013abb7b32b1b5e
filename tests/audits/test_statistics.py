"""Each fast statistic against a slow obvious one, and against simulation."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from audits.statistics.detection import detectable_rate
from audits.statistics.families import concentration, maximum
from audits.statistics.holm import holm
from audits.statistics.hypergeometric import critical_count, tail_table
from audits.statistics.intervals import clopper_pearson, difference, rate, wilson
from audits.statistics.onerun import ceiling, epsilon_lower_bound, one_run_p_value
from audits.statistics.ranking import area, area_interval, at_false_positive_rate


@given(st.integers(0, 40), st.integers(1, 40), st.integers(1, 40))
def test_tail_table_is_scipys_hypergeometric_tail(flagged: int, train: int, holdout: int) -> None:
    flagged = min(flagged, train + holdout)
    expected = stats.hypergeom.sf(np.arange(flagged + 1) - 1, train + holdout, train, flagged)
    np.testing.assert_allclose(tail_table(flagged, train, holdout), expected, atol=1e-12)


def test_tail_table_by_counting_every_split() -> None:
    flags = np.array([1, 1, 1, 0, 0, 0, 0])
    counts = [int(flags[list(side)].sum()) for side in combinations(range(7), 4)]
    for t, value in enumerate(tail_table(3, 4, 3)):
        assert value == pytest.approx(np.mean([count >= t for count in counts]))


def test_critical_count_is_the_first_that_rejects() -> None:
    table = tail_table(20, 700, 300)
    t = critical_count(20, 700, 300, 0.01)
    assert table[t] <= 0.01 < table[t - 1]
    assert critical_count(2, 700, 300, 0.01) == 3


def test_concentration_with_one_threshold_is_exact(rng: np.random.Generator) -> None:
    train = np.arange(1_000) < 700
    flags = np.zeros((1_000, 1), bool)
    flags[:12] = True
    assert concentration(flags, train, rng).p_value == pytest.approx(float(stats.hypergeom.sf(11, 1_000, 700, 12)))


def test_concentration_agrees_with_permuting_units_one_by_one(rng: np.random.Generator) -> None:
    train = rng.random(300) < 0.6
    score = rng.random(300) + 0.15 * train
    flags = score[:, None] >= np.array([0.5, 0.8, 0.95, 1.05])[None, :]

    def smallest(side: np.ndarray) -> float:
        tails = [
            stats.hypergeom.sf(int(flags[side, i].sum()) - 1, 300, int(side.sum()), int(flags[:, i].sum()))
            for i in range(4)
        ]
        return float(np.min(tails))

    observed = smallest(train)
    drawn = [smallest(rng.permutation(train)) for _ in range(1_500)]
    naive = np.mean([value <= observed * (1 + 1e-9) for value in drawn])
    assert concentration(flags, train, rng).p_value == pytest.approx(float(naive), abs=0.04)


def test_concentration_keeps_its_level_with_hubs_and_several_thresholds() -> None:
    """Flags in blocks of near-duplicates, seven dependent thresholds: at most 5 % alarms on random sides."""
    rng = np.random.default_rng(3)
    score = np.repeat(rng.random(100), 5)
    flags = score[:, None] >= np.linspace(0.3, 0.98, 7)[None, :]
    alarms = 0
    for _ in range(600):
        train = rng.random(500) < 0.7
        alarms += concentration(flags, train, rng, redraws=399).p_value <= 0.05
    assert clopper_pearson(alarms, 600)[0] <= 0.05
    assert alarms > 5, "a test that never rejects is no test"


def test_concentration_without_flags_says_nothing(rng: np.random.Generator) -> None:
    result = concentration(np.zeros((10, 3), bool), np.arange(10) < 5, rng)
    assert result.p_value == 1.0


def test_maximum_keeps_its_level_and_finds_a_shift() -> None:
    rng = np.random.default_rng(5)

    def tops(sides: np.ndarray) -> np.ndarray:
        return np.stack([sides[:, :5].sum(1), sides[:, :50].sum(1), sides @ np.arange(200, 0, -1)], axis=1).astype(
            float
        )

    base = np.zeros(200, bool)
    base[:120] = True
    alarms = sum(maximum(tops, 200, 120, rng, redraws=199).p_value(rng.permutation(base)) <= 0.05 for _ in range(600))
    assert clopper_pearson(alarms, 600)[0] <= 0.05
    assert maximum(tops, 200, 120, rng).p_value(base) < 0.01


@given(st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values: dict[str, float]) -> None:
    """Holm's adjusted p-value is the largest Bonferroni p over all subsets that contain the hypothesis."""
    names = list(p_values)
    for name, adjusted in holm(p_values).items():
        worst = 0.0
        for size in range(1, len(names) + 1):
            for subset in combinations(names, size):
                if name in subset:
                    worst = max(worst, min(1.0, size * min(p_values[other] for other in subset)))
        assert adjusted == pytest.approx(worst)


def test_zero_hits_bound() -> None:
    assert rate(0, 1_000).high == pytest.approx(1 - 0.05 ** (1 / 1_000))
    assert rate(0, 0).high == 1.0


def test_newcombe_matches_the_published_example() -> None:
    """Newcombe (1998), example (a): 56/70 against 48/80."""
    found = difference(56, 70, 48, 80)
    assert (round(found.low, 4), round(found.high, 4)) == (0.0524, 0.3339)


def test_wilson_lies_inside_clopper_pearson() -> None:
    low, high = wilson(10, 200)
    outer = clopper_pearson(10, 200)
    assert outer[0] < low < 0.05 < high < outer[1]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_area_counts_pairs(members: list[int], others: list[int]) -> None:
    pairs = [(m > o) + 0.5 * (m == o) for m in members for o in others]
    scores = np.array([*members, *others], float)
    train = np.arange(len(scores)) < len(members)
    assert area(scores, train) == pytest.approx(np.mean(pairs))


def test_area_interval_covers_the_truth() -> None:
    rng = np.random.default_rng(8)
    truth, covered = float(stats.norm.cdf(0.5 / math.sqrt(2))), 0
    for _ in range(120):
        train = np.arange(260) < 160
        scores = rng.normal(0, 1, 260) + 0.5 * train
        found = area_interval(scores, train, rng, draws=300)
        covered += found.low <= truth <= found.high
    assert clopper_pearson(covered, 120)[1] >= 0.95 > 0.85 <= covered / 120 + 0.1


def test_tpr_reports_the_rate_that_ties_allow() -> None:
    scores = np.array([3.0, 3, 3, 1, 3, 3, 0, 0, 0, 0])
    train = np.arange(10) < 4
    point = at_false_positive_rate(scores, train, 0.2)
    assert point.fpr.value == 0.0, "two holdout units tie at the top: a rate of 0.2 cannot be reached"
    assert point.tpr.value == 0.0
    assert not point.resolvable


def test_tpr_at_a_reachable_rate(rng: np.random.Generator) -> None:
    train = np.arange(3_000) < 1_000
    scores = np.concatenate([rng.normal(2, 1, 1_000), rng.normal(0, 1, 2_000)])
    point = at_false_positive_rate(scores, train, 0.01)
    assert point.resolvable
    assert 0.005 < point.fpr.value <= 0.01
    assert point.tpr.value == pytest.approx(float(stats.norm.sf(stats.norm.isf(0.01) - 2)), abs=0.08)


def naive_one_run(epsilon: float, guesses: int, right: int, units: int, pi: float, delta: float) -> float:
    success = 1 / (1 + math.exp(-epsilon) * (1 - pi) / pi)
    beta = sum(math.comb(guesses, k) * success**k * (1 - success) ** (guesses - k) for k in range(right, guesses + 1))
    best = 0.0
    for i in range(1, right + 1):
        tail = sum(
            math.comb(guesses, k) * success**k * (1 - success) ** (guesses - k) for k in range(right - i, guesses + 1)
        )
        best = max(best, (tail - beta) / i)
    return min(1.0, beta + units * delta / min(pi, 1 - pi) * best)


@pytest.mark.parametrize("pi", [0.5, 0.7])
@pytest.mark.parametrize("delta", [0.0, 1e-5])
def test_one_run_p_value_by_the_formula(pi: float, delta: float) -> None:
    for epsilon in (0.0, 0.7, 2.0):
        fast = one_run_p_value(epsilon, 30, 27, 200, pi, delta)
        assert fast == pytest.approx(naive_one_run(epsilon, 30, 27, 200, pi, delta), rel=1e-9)


@pytest.mark.parametrize(("guesses", "expected"), [(20, 1.82), (100, 3.49), (1_000, 5.81), (10_000, 8.11)])
def test_ceilings_of_a_perfect_attack(guesses: int, expected: float) -> None:
    assert ceiling(guesses, guesses, 0.05) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize("pi", [0.5, 0.7])
def test_lower_bound_holds_for_randomised_response(pi: float) -> None:
    """Guess coins released under randomised response of known epsilon: the bound exceeds it at most 5 % of the time."""
    rng = np.random.default_rng(11)
    epsilon, units, above, bounds = 1.0, 1_000, 0, []
    keep = math.exp(epsilon) / (1 + math.exp(epsilon))
    for _ in range(300):
        coins = rng.random(units) < pi
        shown = np.where(rng.random(units) < keep, coins, ~coins)
        named = np.flatnonzero(shown)[:300]
        bounds.append(epsilon_lower_bound(len(named), int(coins[named].sum()), units, 0.05, pi))
        above += bounds[-1] > epsilon
    assert clopper_pearson(above, 300)[0] <= 0.05
    assert np.median(bounds) > 0.5, "the bound is not vacuous"


def test_detectable_rate_by_simulation() -> None:
    rng = np.random.default_rng(13)
    train, holdout, phantoms, recall, alpha = 1_500, 800, 0.004, 0.8, 0.01
    found = detectable_rate(train, holdout, phantoms, recall, alpha)
    assert found is not None
    flagged = phantoms + found * recall * (1 - phantoms)
    hits, others = rng.binomial(train, flagged, 4_000), rng.binomial(holdout, phantoms, 4_000)
    power = np.mean(stats.hypergeom.sf(hits - 1, train + holdout, train, hits + others) <= alpha)
    assert power == pytest.approx(0.8, abs=0.03)


def test_nothing_is_detectable_with_three_units_or_without_recall() -> None:
    assert detectable_rate(3, 2, 0.0, 1.0, 0.05) is None
    assert detectable_rate(1_000, 1_000, 0.001, 0.0, 0.05) is None


def test_detectable_rate_uses_the_first_count_that_rejects() -> None:
    from audits.statistics.detection import _needed

    for train, holdout in ((700, 300), (1_000, 1_000), (900, 100), (30, 20)):
        hits = np.arange(0, min(40, holdout))
        for found, held in zip(_needed(hits, train, holdout, 0.01), hits, strict=True):
            tails = stats.hypergeom.sf(np.arange(train + 1) - 1, train + holdout, train, np.arange(train + 1) + held)
            first = int(np.argmax(tails <= 0.01)) if (tails <= 0.01).any() else train + 1
            assert found == first
