"""The closed forms that explain a guarantee agree with the accountant and with the literature."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privdistill.accounting import accountant
from privdistill.policy import Facts
from privdistill.policy.tradeoff import (
    attack_success,
    dp_attack_success,
    gaussian_attack_success,
    gaussian_delta,
    group_bound,
)
from tests.privdistill.policy.conftest import Change, honest


@given(st.floats(0.0, 20.0), st.floats(0.05, 6.0))
def test_delta_agrees_with_the_accountant(epsilon: float, mu: float) -> None:
    expected = accountant.gaussian_delta(epsilon, mu)
    assert gaussian_delta(epsilon, mu) == pytest.approx(expected, rel=1e-6, abs=1e-15)


@pytest.mark.parametrize(("epsilon", "share"), [(1, 0.027), (3, 0.201), (8, 0.9997)])
def test_attack_bounds_of_the_literature(epsilon: float, share: float) -> None:
    assert dp_attack_success(epsilon, 1e-5, 0.01) == pytest.approx(share, abs=5e-4)
    mu = accountant.mu_for(epsilon, 1e-5)
    gaussian = {1: 0.020, 3: 0.054, 8: 0.255}[epsilon]
    assert gaussian_attack_success(mu, 0.01) == pytest.approx(gaussian, abs=1e-3)


@given(st.floats(0.01, 20), st.floats(1e-12, 1e-2), st.floats(1e-4, 0.5))
def test_a_bound_is_a_probability_and_beats_guessing(epsilon: float, delta: float, rate: float) -> None:
    bound = dp_attack_success(epsilon, delta, rate)
    assert rate <= bound <= 1


def test_the_best_supported_bound_is_taken(facts: Facts) -> None:
    assert facts.claim is not None
    full = attack_success(facts.claim, 0.01)
    bare = Change(facts).claim(mu=None, privacy_profile=()).claim
    profile = Change(facts).claim(mu=None).claim
    assert bare is not None
    assert profile is not None
    a, b, c = full, attack_success(profile, 0.01), attack_success(bare, 0.01)
    assert a is not None
    assert b is not None
    assert c is not None
    assert a <= b <= c
    nothing = Change(facts).claim(epsilon=None, delta=None).claim
    assert nothing is not None
    assert attack_success(nothing, 0.01) is None


@pytest.mark.parametrize("base", ["epsilon-8", "epsilon-3"])
def test_groups_are_never_promised_more_than_the_gaussian_gives(base: str) -> None:
    claim = honest(base).claim
    assert claim is not None
    assert claim.mu is not None
    assert claim.delta is not None
    previous = claim.epsilon or 0.0
    for size in (2, 3, 4, 5):
        bound = group_bound(claim, size)
        assert bound is not None
        exact = accountant.gaussian_epsilon(claim.delta, size * claim.mu)
        assert exact <= bound[0] <= exact * 1.1
        assert bound[0] > previous
        previous = bound[0]


def test_groups_without_a_gaussian_use_the_general_bound(facts: Facts) -> None:
    claim = Change(facts).claim(mu=None, epsilon=1.0, delta=1e-8).claim
    assert claim is not None
    assert group_bound(claim, 2) == (2.0, pytest.approx(1e-8 * math.expm1(2) / math.expm1(1)))
    loose = Change(facts).claim(mu=None, epsilon=8.0, delta=1e-6).claim
    assert loose is not None
    assert group_bound(loose, 5) is None
