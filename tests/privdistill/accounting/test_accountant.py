"""Closed form against two libraries, numerical integration and known numbers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from privdistill.accounting.accountant import (
    Event,
    first_opinion,
    gaussian_delta,
    gaussian_epsilon,
    mu_for,
    rdp_epsilon,
    second_opinion,
    total_deltas,
    total_epsilon,
    total_mu,
)
from privdistill.errors import PrivacyError


@pytest.mark.parametrize(("epsilon", "sigma"), [(0.5, 7.03), (1, 3.73), (2, 1.99), (4, 1.08), (8, 0.60)])
def test_one_shot_noise_is_the_published_one(epsilon: float, sigma: float) -> None:
    assert 1 / mu_for(epsilon, 1e-5) == pytest.approx(sigma, abs=0.006)


@pytest.mark.parametrize(("epsilon", "mu"), [(0.3, 0.5), (2.0, 1.0), (8.0, 1.53)])
def test_delta_is_the_hockey_stick_divergence_integrated_numerically(epsilon: float, mu: float) -> None:
    x = np.linspace(-12, 14, 400_001)
    integrand = np.maximum(norm.pdf(x, mu) - math.exp(epsilon) * norm.pdf(x), 0)
    assert gaussian_delta(epsilon, mu) == pytest.approx(np.trapezoid(integrand, x), rel=1e-5)


@settings(max_examples=50)
@given(epsilon=st.floats(0.01, 60), delta=st.floats(1e-12, 0.1))
def test_mu_for_never_overspends_and_hardly_underspends(epsilon: float, delta: float) -> None:
    mu = mu_for(epsilon, delta)
    assert gaussian_delta(epsilon, mu) <= delta
    assert 0.99999 * epsilon <= gaussian_epsilon(delta, mu) <= epsilon * (1 + 1e-8)


def test_full_batch_events_add_up_in_mu_squared() -> None:
    events = [Event(2.0), Event(1.0, steps=3)]
    assert total_mu(events) == pytest.approx(math.sqrt(0.25 + 3))
    assert total_epsilon(events, 1e-6) == pytest.approx(second_opinion(events, 1e-6).epsilon, rel=1e-4)
    assert rdp_epsilon(events, 1e-6) > total_epsilon(events, 1e-6)


@pytest.mark.parametrize(
    "events",
    [[Event(1.5, 0.1, 200)], [Event(1.5, 0.1, 200), Event(2.0)], [Event(3.0, 0.2, 100), Event(1.5), Event(4.0)]],
)
def test_opacus_prv_over_a_mixed_history_agrees_with_dp_accounting(events: list[Event]) -> None:
    first, second = first_opinion(events, 1e-6), second_opinion(events, 1e-6)
    assert first.name == "opacus-prv"
    assert second.epsilon * (1 - 1e-6) <= first.epsilon <= second.epsilon * 1.003
    assert total_deltas(events, [second.epsilon])[0] == pytest.approx(1e-6, rel=0.01)


def test_opacus_prv_of_a_full_batch_event_is_the_closed_form() -> None:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(1.2, 1.0, 1)]
    with np.errstate(divide="ignore"):
        opacus = accountant.get_epsilon(1e-6, eps_error=0.004)
    assert opacus == pytest.approx(gaussian_epsilon(1e-6, 1 / 1.2), abs=0.01)


@pytest.mark.parametrize(
    "bad", [{"noise_multiplier": 0.0}, {"noise_multiplier": math.inf}, {"sample_rate": 0.0}, {"steps": 0}]
)
def test_events_without_meaning_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(PrivacyError):
        Event(**({"noise_multiplier": 1.0} | bad))  # type: ignore[arg-type]


@pytest.mark.parametrize("delta", [0.0, 1.0, -1e-6, math.nan])
def test_delta_outside_its_range_is_refused(delta: float) -> None:
    with pytest.raises(PrivacyError):
        first_opinion([Event(1.0)], delta)


def test_nothing_to_account_for_is_refused() -> None:
    with pytest.raises(PrivacyError):
        first_opinion([], 1e-6)
