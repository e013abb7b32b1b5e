"""Calibration spends at least 99 % and never more; the discretisation bound holds where it can be computed."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from privdistill.accounting.accountant import Event, gaussian_delta, second_opinion, total_mu
from privdistill.accounting.budget import MAX_CELLS, Sampling, calibrate, discretisation_delta, largest_epsilon
from privdistill.errors import PrivacyError


@settings(max_examples=12)
@given(
    epsilon=st.floats(0.05, 16),
    delta=st.sampled_from([1e-5, 1e-6, 1e-9]),
    shares=st.lists(st.floats(0.05, 1), min_size=1, max_size=3),
    threshold=st.booleans(),
)
def test_calibration_spends_between_99_and_100_percent(
    epsilon: float, delta: float, shares: list[float], threshold: bool
) -> None:
    total = math.fsum(shares)
    budget = calibrate(epsilon, delta, {str(i): s / total for i, s in enumerate(shares)}, threshold=threshold)
    assert 0.99 * epsilon <= budget.epsilon <= epsilon
    spent = budget.delta_composition + math.fsum(budget.delta_discretisation.values()) + budget.delta_threshold
    assert spent <= delta * (1 + 1e-12)
    mu = total_mu([Event(sigma) for sigma in budget.noise_multipliers.values()])
    assert mu is not None
    assert gaussian_delta(budget.epsilon, mu) <= budget.delta_composition * (1 + 1e-6)
    assert [d for _, d in budget.profile] == sorted((d for _, d in budget.profile), reverse=True)


@pytest.mark.parametrize("mechanisms", [1, 5])
def test_the_largest_epsilon_is_said_and_accepted(mechanisms: int) -> None:
    shares = {str(i): 1 / mechanisms for i in range(mechanisms)}
    largest = math.floor(largest_epsilon(1e-6, mechanisms=mechanisms) * 100) / 100
    with pytest.raises(PrivacyError, match=f"ask for at most {largest:g} "):
        calibrate(60.0, 1e-6, shares, threshold=False)
    assert calibrate(largest, 1e-6, shares, threshold=False).epsilon <= largest


def test_shares_decide_mu_squared() -> None:
    budget = calibrate(4.0, 1e-6, {"a": 0.2, "b": 0.8}, threshold=False)
    assert (budget.noise_multipliers["a"] / budget.noise_multipliers["b"]) ** 2 == pytest.approx(4)


@pytest.mark.parametrize(
    ("epsilon", "delta", "shares"),
    [
        (0.0, 1e-6, {"a": 1.0}),
        (-1.0, 1e-6, {"a": 1.0}),
        (math.inf, 1e-6, {"a": 1.0}),
        (math.nan, 1e-6, {"a": 1.0}),
        (1.0, 0.0, {"a": 1.0}),
        (1.0, 1.0, {"a": 1.0}),
        (1.0, 1e-6, {}),
        (1.0, 1e-6, {"a": 0.9}),
        (1.0, 1e-6, {"a": 1.5, "b": -0.5}),
        (80.0, 1e-6, {"a": 1.0}),
    ],
)
def test_parameters_without_meaning_are_refused_not_clamped(
    epsilon: float, delta: float, shares: dict[str, float]
) -> None:
    with pytest.raises(PrivacyError):
        calibrate(epsilon, delta, shares, threshold=False)


@pytest.mark.parametrize("sigma", [4.0, 6.0, 10.0])
@pytest.mark.parametrize("cells", [1, 2, 3])
def test_total_variation_of_discrete_and_rounded_gaussian_is_within_the_bound(sigma: float, cells: int) -> None:
    """The bound sqrt(d) / (33 sigma^2), computed exactly for small sigma and d (it is used from 2^24 on)."""
    k = np.arange(-int(12 * sigma), int(12 * sigma) + 1)
    discrete = np.exp(-(k**2) / (2 * sigma**2))
    discrete /= discrete.sum()
    rounded = norm.cdf((k + 0.5) / sigma) - norm.cdf((k - 0.5) / sigma)
    p, q = discrete, rounded
    for _ in range(cells - 1):
        p, q = np.multiply.outer(p, discrete), np.multiply.outer(q, rounded)
    assert 0.5 * np.abs(p - q).sum() <= math.sqrt(cells) / (33 * sigma**2)


def test_kl_constant_behind_the_bound_is_one_over_576() -> None:
    sigma = 40.0
    k = np.arange(-500, 501)
    discrete = np.exp(-(k**2) / (2 * sigma**2))
    discrete /= discrete.sum()
    rounded = norm.sf((k - 0.5) / sigma) - norm.sf((k + 0.5) / sigma)
    inside = np.abs(k) < 6 * sigma  # beyond, the differences of tails have no digits left
    kl = float(np.sum(discrete[inside] * np.log(discrete[inside] / rounded[inside])))
    assert kl == pytest.approx(1 / (576 * sigma**4), rel=0.02)
    # Pinsker: TV <= sqrt(KL / 2) = 1 / (sqrt(1152) sigma^2); 34 in the denominator would be on the wrong side.
    assert 33 < math.sqrt(1152) < 34


def test_discretisation_delta_is_negligible_at_the_grid_that_is_used() -> None:
    budget = calibrate(8.0, 1e-6, {"a": 1.0}, threshold=False)
    assert budget.grid_steps >= 2**24
    assert discretisation_delta(8.0, MAX_CELLS, budget.grid_steps) <= 1e-8
    with pytest.raises(PrivacyError):
        discretisation_delta(8.0, 10, 2.0**20)


@pytest.mark.parametrize("epsilon", [1.0, 8.0])
@pytest.mark.parametrize(
    ("shares", "sampling"),
    [
        ({"statistic": 0.4, "training": 0.6}, {"training": Sampling(0.1, 100)}),
        ({"training": 1.0}, {"training": Sampling(0.03, 400)}),
    ],
)
def test_a_budget_with_sampled_steps_fits_both_accountants(
    epsilon: float, shares: dict[str, float], sampling: dict[str, Sampling]
) -> None:
    budget = calibrate(epsilon, 1e-6, shares, sampling=sampling, threshold=False)
    assert 0.99 * epsilon <= budget.epsilon <= epsilon
    events = [Event(sigma, *budget.sampling[name]) for name, sigma in budget.noise_multipliers.items()]
    assert second_opinion(events, budget.delta_composition).epsilon <= epsilon
    assert budget.mu is None
    assert budget.rdp > budget.epsilon
    assert budget.delta_discretisation["training"] == 0
    point, delta = next(one for one in budget.profile if one[0] >= epsilon)
    assert delta <= budget.delta * 1.001
    assert second_opinion(events, delta).epsilon <= point * 1.000001


@pytest.mark.parametrize("sampling", [{"b": Sampling(0.1, 5)}, {"a": Sampling(1.0, 5)}, {"a": Sampling(0.1, 0)}])
def test_sampling_without_meaning_is_refused(sampling: dict[str, Sampling]) -> None:
    with pytest.raises(PrivacyError):
        calibrate(1.0, 1e-6, {"a": 1.0}, sampling=sampling, threshold=False)
