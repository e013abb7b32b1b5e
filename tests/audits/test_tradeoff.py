"""Bounds under a trade-off curve: against linear programming, against simulation, and their conditions."""

import math

import numpy as np
import pytest
from scipy import optimize, stats

from audits.statistics.intervals import clopper_pearson
from audits.statistics.tradeoff import (
    approximate_inverse,
    curve_p_value,
    gaussian_inverse,
    mu_ceiling,
    mu_lower_bound,
    tail_is_rarer,
)


def largest_tail(epsilon: float, delta: float, guesses: int, right: int, units: int) -> float:
    """The largest P[at least `right`] that the inequalities of (epsilon, delta)-DP allow, by linear programming."""
    counts = np.arange(guesses + 1)
    rows, limits = [], []
    grow = math.exp(epsilon)
    for j in range(1, guesses + 1):
        hit = np.where(counts >= j, counts / units, 0.0)
        miss = np.where(counts >= j - 1, (guesses - counts) / units, 0.0)
        rows += [hit - grow * miss, hit - miss / grow]
        limits += [delta, 1 - (1 - delta) / grow]
    found = optimize.linprog(
        -(counts >= right).astype(float), A_ub=rows, b_ub=limits, A_eq=[np.ones(guesses + 1)], b_eq=[1.0]
    )
    return float(-found.fun)


@pytest.mark.parametrize(("epsilon", "delta"), [(0.5, 0.0), (1.0, 0.01), (1.5, 1e-3)])
@pytest.mark.parametrize(("guesses", "right", "units"), [(8, 7, 8), (10, 8, 20), (15, 15, 40)])
def test_the_walk_finds_what_linear_programming_finds(
    epsilon: float, delta: float, guesses: int, right: int, units: int
) -> None:
    largest = largest_tail(epsilon, delta, guesses, right, units)
    inverse = approximate_inverse(epsilon, delta)
    if largest < 0.99:
        assert tail_is_rarer(inverse, guesses, right, units, largest * 1.001 + 1e-7)
    assert not tail_is_rarer(inverse, guesses, right, units, largest * 0.999)


def test_the_p_value_is_where_the_walk_turns() -> None:
    inverse = gaussian_inverse(0.7)
    p_value = curve_p_value(inverse, 60, 52, 200)
    assert 1e-9 < p_value < 0.5
    assert tail_is_rarer(inverse, 60, 52, 200, p_value * 1.001)
    assert not tail_is_rarer(inverse, 60, 52, 200, p_value * 0.999)
    assert curve_p_value(inverse, 60, 0, 200) == 1.0


def test_without_privacy_loss_the_tail_is_binomial_at_most() -> None:
    for right in (12, 14, 16):
        tail = float(stats.binom.sf(right - 1, 16, 0.5))
        assert not tail_is_rarer(gaussian_inverse(0.0), 16, right, 16, tail * 0.999), "fair guessing reaches it"
    assert mu_lower_bound(16, 8, 16, 0.05) == 0.0


def test_mu_lower_bound_holds_for_a_gaussian_mechanism() -> None:
    """Coins released with Gaussian noise: at most 5 % of the bounds exceed the true mu, and they are not vacuous."""
    rng = np.random.default_rng(3)
    mu, units, guesses, bounds = 1.0, 1_000, 250, []
    for _ in range(120):
        coins = rng.random(units) < 0.5
        named = np.argsort(-(mu * coins + rng.normal(size=units)))[:guesses]
        bounds.append(mu_lower_bound(guesses, int(coins[named].sum()), units, 0.05))
    above = sum(bound > mu for bound in bounds)
    assert clopper_pearson(above, 120)[0] <= 0.05
    assert np.median(bounds) > 0.35


def test_ceilings_grow_with_the_guesses() -> None:
    tops = [mu_ceiling(guesses, 4 * guesses, 0.05) for guesses in (16, 64, 256)]
    assert tops == sorted(tops)
    assert tops[-1] > 1.5
    assert mu_lower_bound(64, 60, 256, 0.05) < mu_lower_bound(64, 63, 256, 0.05) < tops[1]


def test_unfair_coins_and_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="fair coins"):
        mu_lower_bound(10, 9, 40, 0.05, pi=0.7)
    with pytest.raises(ValueError, match="expected 0 <= right"):
        mu_lower_bound(10, 11, 40, 0.05)
