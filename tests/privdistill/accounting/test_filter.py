"""The filter's sums bound what two libraries compute, add up exactly, and never admit more than the cap."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.accounting.accountant import (
    Event,
    first_opinion,
    gaussian_delta,
    gaussian_epsilon,
    second_opinion,
    total_deltas,
    total_mu,
)
from privdistill.accounting.filter import ORDERS, Cap, Loss
from privdistill.errors import PrivacyError

FULL = st.builds(Event, st.floats(0.3, 50), st.just(1.0), st.integers(1, 20))
SAMPLED = st.builds(Event, st.floats(0.6, 8), st.floats(0.005, 0.3), st.integers(1, 400))
DELTA = 1e-6


def loss_of(events: list[Event], epsilon: float = 1e6, delta: float = DELTA) -> Loss:
    """With an epsilon of the run too large to be the smallest bound."""
    return Loss.of(events, epsilon=epsilon, delta=delta, delta_composition=delta)


@given(st.lists(FULL, min_size=1, max_size=6))
def test_full_batch_gaussians_compose_exactly(events: list[Event]) -> None:
    summed = sum((loss_of([event], delta=DELTA / len(events)) for event in events), start=Loss())
    assert summed.total_epsilon() == pytest.approx(first_opinion(events, DELTA).epsilon, rel=1e-9)
    assert summed.total_epsilon() >= gaussian_epsilon(DELTA, total_mu(events) or 0.0) * (1 - 1e-9)


@settings(max_examples=12)
@given(st.lists(SAMPLED, min_size=1, max_size=2), st.lists(FULL, max_size=1))
def test_sampled_histories_are_bounded_from_above_by_what_the_ledger_says(sampled, full) -> None:
    """Opacus' PRV and dp-accounting's PLD are the tighter accountants; the ledger's sum must never be below them."""
    events = [*sampled, *full]
    ours = loss_of(events).total_epsilon()
    assert ours >= second_opinion(events, DELTA).epsilon * (1 - 1e-3)


@pytest.mark.parametrize(
    "events",
    [
        [Event(1.1, 0.04, 500)],
        [Event(0.8, 0.1, 40), Event(3.0)],
        [Event(2.5, 0.3, 300), Event(5.0, 1.0, 2)],
    ],
)
def test_the_ledger_is_above_opacus_and_not_far_above(events: list[Event]) -> None:
    ours, prv = loss_of(events).total_epsilon(), first_opinion(events, DELTA).epsilon
    assert prv * 0.999 <= ours <= 1.35 * prv
    # Planted: a sum that forgot the steps would be below what the library says, and the test above would see it.
    forgot = loss_of([Event(e.noise_multiplier, e.sample_rate) for e in events]).total_epsilon()
    assert forgot < prv


def test_one_run_counts_as_what_it_claims_and_never_more() -> None:
    events = [Event(1.1, 0.04, 500)]
    claimed = first_opinion(events, DELTA).epsilon
    assert loss_of(events, claimed).total_epsilon() == pytest.approx(claimed, rel=1e-9)
    twice = loss_of(events, claimed) + loss_of(events, claimed)
    assert claimed < twice.total_epsilon() < 2 * claimed


@given(st.lists(st.one_of(FULL, FULL, FULL), min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_sums_are_exact_in_any_order(events: list[Event], shuffler) -> None:
    losses = [loss_of([event]) for event in events]
    total = sum(losses, start=Loss())
    shuffler.shuffle(losses)
    assert sum(losses, start=Loss()) == total
    assert Loss.from_json(total.as_json()) == total


@settings(max_examples=60)
@given(st.lists(FULL, min_size=1, max_size=30), st.floats(0.5, 20), st.sampled_from([1e-4, 1e-6]))
def test_nothing_that_is_admitted_passes_the_cap(events: list[Event], epsilon: float, delta: float) -> None:
    """Privacy filter, full batch: whatever the order and the sizes, what was admitted is within (epsilon, delta)."""
    cap, kept, drawn = Cap(epsilon, delta), Loss(), []
    for event in events:
        more = kept + loss_of([event], delta=1e-9)
        if more.fits(cap):
            kept = more
            drawn.append(event)
    if drawn:
        added = kept.delta_added / 2**100
        assert gaussian_delta(epsilon, total_mu(drawn) or 0.0) + added <= delta


@settings(max_examples=8)
@given(SAMPLED, st.floats(2, 10))
def test_nothing_sampled_that_is_admitted_passes_the_cap(event: Event, epsilon: float) -> None:
    cap, kept, drawn = Cap(epsilon, 1e-5), Loss(), []
    one = loss_of([event], delta=1e-9)
    while len(drawn) < 5 and (kept + one).fits(cap):
        kept, drawn = kept + one, [*drawn, event]
    if drawn:
        assert total_deltas(drawn, [epsilon])[0] <= cap.delta


def test_the_cap_can_be_used() -> None:
    """Refusing everything would be safe too: of a cap of 8 at 1e-5, at least 95 % can be spent by Gaussians."""
    cap, kept = Cap(8.0, 1e-5), Loss()
    one = loss_of([Event(10.0)], delta=1e-9)
    while (kept + one).fits(cap):
        kept += one
    assert gaussian_epsilon(1e-5, math.sqrt(kept.mu_squared / 2**100)) > 0.95 * 8


def test_deltas_that_add_up_are_capped_too() -> None:
    cap = Cap(8.0, 1e-5)
    run = Loss.of([Event(100.0)], epsilon=0.1, delta=1.4e-6, delta_composition=1e-6)
    total = Loss()
    for _ in range(6):
        total += run
    assert total.fits(cap)
    assert not (total + run).fits(cap)
    assert (total + run).room(cap, added_delta=0.0) == 0.0


@given(st.lists(FULL, max_size=5))
def test_room_is_what_fits(events: list[Event]) -> None:
    cap = Cap(12.0, 1e-5)
    kept = loss_of(events, delta=1e-9) if events else Loss()
    mu = kept.room(cap, added_delta=0.0)
    if mu > 1e-4:
        assert (kept + loss_of([Event(1 / (mu * (1 - 1e-9)))], delta=1e-9)).fits(cap)
        assert not (kept + loss_of([Event(1 / (mu * (1 + 1e-9)))], delta=1e-9)).fits(cap)


def test_an_order_at_which_nothing_is_known_admits_nothing() -> None:
    hopeless = replace(Loss(), renyi=(2**140,) * len(ORDERS), delta_composition=2**60)
    assert not hopeless.fits(Cap(48.0, 1e-4))


@pytest.mark.parametrize("cap", [(0.0, 1e-5), (math.inf, 1e-5), (math.nan, 1e-5), (8.0, 0.0), (8.0, 1.0)])
def test_a_cap_without_meaning_is_refused(cap: tuple[float, float]) -> None:
    with pytest.raises(PrivacyError):
        Cap(*cap)


@pytest.mark.parametrize("broken", [{}, {"mu_squared": "-1"}, {"renyi": ["1"]}, {"epsilon": "nan"}, {"extra": "1"}])
def test_sums_that_are_not_sums_are_refused(broken: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"loss|invalid literal"):
        Loss.from_json((Loss().as_json() | broken) if broken else {})
