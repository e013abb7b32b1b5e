"""From (epsilon, delta) and shares to noise multipliers, all fixed before the first noise is drawn.

`calibrate` splits delta into composition, discretisation and threshold parts, mu squared by the given shares, and
returns a new frozen `Budget`; it never tops up what was left over. It does not know recipes, corpora or the ledger.

Sampled mechanisms have no mu of their own. Their share is turned into a noise multiplier by the central limit
approximation mu^2 = q^2 T (exp(1 / sigma^2) - 1) (Bu, Dong, Long & Su 2020, arXiv:1911.11607), which decides how the
budget is split and nothing else: one common mu is then moved until both accountants' epsilon of the true composition
fits.

Discretisation. The discrete Gaussian on the integers and the rounded continuous one differ in KL divergence by about
d / (576 s^4) for d cells of standard deviation s grid steps, hence (Pinsker) in total variation by at most
sqrt(d) / (sqrt(1152) s^2); sqrt(1152) = 33.94, and 33 is used, which covers the higher-order terms for s >= 2^24.
Hybrid argument: delta grows by (1 + e^epsilon) times that.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from privdistill.accounting.accountant import (
    Event,
    Opinion,
    first_opinion,
    mu_for,
    rdp_epsilon,
    second_opinion,
    total_deltas,
    total_mu,
)
from privdistill.errors import PrivacyError

__all__ = ["MAX_CELLS", "Budget", "Sampling", "calibrate", "discretisation_delta", "largest_epsilon"]

MAX_CELLS = 2**26
"""A statistic with more cells is refused: the discretisation delta is reserved for this many before labels are
known."""
_MIN_GRID_BITS = 28
_MAX_GRID_BITS = 42
_DISCRETISATION_SHARE = 0.01
_THRESHOLD_SHARE = 0.1
_PROFILE_EPSILONS = (0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)

_NUMERICAL_SHARE = 0.004
"""Numerical accountants are aimed so far below epsilon: their upper bounds are not smooth."""


class Sampling(NamedTuple):
    """How often a mechanism is run, and on which share of the units."""

    sample_rate: float = 1.0
    steps: int = 1


@dataclass(frozen=True, slots=True)
class Budget:
    """Everything that is fixed before a private record is read.

    Attributes:
        epsilon: claimed epsilon, the larger of two accountants' values; at most what was asked, at least 99 % of it.
        delta: total delta.
        delta_composition: delta of the composition of the Gaussians.
        delta_discretisation: reserved for the discrete noise, per mechanism of at most `MAX_CELLS` cells.
        delta_threshold: delta of the label threshold (0 when labels are declared).
        noise_multipliers: mechanism name -> noise standard deviation over sensitivity.
        sampling: mechanism name -> sample rate and steps, for every mechanism.
        grid_steps: mechanism noise standard deviation in steps of the integer grid (a power of two).
        first: the accountant of the claim.
        second: the other library.
        rdp: looser RDP bound.
        mu: Gaussian-DP parameter of the composition, or None.
        profile: (epsilon, total delta) pairs.
    """

    epsilon: float
    delta: float
    delta_composition: float
    delta_discretisation: Mapping[str, float]
    delta_threshold: float
    noise_multipliers: Mapping[str, float]
    sampling: Mapping[str, Sampling]
    grid_steps: float
    first: Opinion
    second: Opinion
    rdp: float
    mu: float | None
    profile: tuple[tuple[float, float], ...]


def discretisation_delta(epsilon: float, cells: int, grid_steps: float) -> float:
    """Delta by which `cells` discrete Gaussians of `grid_steps` standard deviation exceed the rounded Gaussian's.

    Example:
        >>> discretisation_delta(8.0, 100_000, 2.0**24) < 1e-9
        True
    """
    if cells < 1 or grid_steps < 2**24:
        raise PrivacyError(f"expected cells >= 1 and a grid of at least 2^24 steps, found {cells} and {grid_steps}")
    return (1 + math.exp(epsilon)) * math.sqrt(cells) / (33 * grid_steps**2)


def largest_epsilon(delta: float, *, mechanisms: int) -> float:
    """Above it the discrete noise would need a finer grid than exact sums in 64 bits have room for.

    Example:
        >>> 34 < largest_epsilon(1e-6, mechanisms=1) < 35
        True
    """
    finest = math.log(2.0) * 2 * _MAX_GRID_BITS
    return finest + math.log(_DISCRETISATION_SHARE * delta / mechanisms) - math.log(math.sqrt(MAX_CELLS) / 33)


def calibrate(
    epsilon: float,
    delta: float,
    shares: Mapping[str, float],
    *,
    sampling: Mapping[str, Sampling] = MappingProxyType({}),
    threshold: bool,
) -> Budget:
    """Noise multipliers such that all mechanisms together are (epsilon, delta)-DP.

    Guarantee: a run that draws each mechanism of `shares` at most once, with these noise multipliers, is
        (Budget.epsilon, delta)-DP.
    Unit: the unit of the mechanisms' sensitivity. Adjacency: add or remove one unit.

    Args:
        epsilon: asked for; at least 99 % of it is spent, never more.
        delta: asked for.
        shares: mechanism name -> positive share of mu squared; shares add up to 1.
        sampling: of the Poisson-sampled mechanisms; all others see every unit once.
        threshold: whether a label threshold takes its part of delta.

    Raises:
        PrivacyError: a parameter without meaning, or an epsilon too large for the discrete noise.
    """
    _check(epsilon, delta, shares, sampling)
    discrete = [name for name in shares if name not in sampling]
    grid_steps = 2.0**_MIN_GRID_BITS
    while len(discrete) * discretisation_delta(epsilon, MAX_CELLS, grid_steps) > _DISCRETISATION_SHARE * delta:
        grid_steps *= 2
    each = discretisation_delta(epsilon, MAX_CELLS, grid_steps)
    discretisation = {name: each if name in discrete else 0.0 for name in shares}
    delta_threshold = _THRESHOLD_SHARE * delta if threshold else 0.0
    delta_composition = delta - math.fsum(discretisation.values()) - delta_threshold
    multipliers, first, second = _fitted(epsilon, delta_composition, shares, sampling)
    events = _events(multipliers, sampling)
    profile: list[tuple[float, float]] = []
    for point, of_composition in zip(_PROFILE_EPSILONS, total_deltas(events, _PROFILE_EPSILONS), strict=True):
        extra = len(discrete) * discretisation_delta(point, MAX_CELLS, grid_steps) + delta_threshold
        # The discretisation term grows with epsilon, but what holds at a smaller epsilon holds at a larger one.
        profile.append((point, min(1.0, of_composition + extra, *(d for _, d in profile))))
    return Budget(
        epsilon=max(first.epsilon, second.epsilon),
        delta=delta,
        delta_composition=delta_composition,
        delta_discretisation=discretisation,
        delta_threshold=delta_threshold,
        noise_multipliers=multipliers,
        sampling={name: sampling.get(name, Sampling()) for name in shares},
        grid_steps=grid_steps,
        first=first,
        second=second,
        rdp=rdp_epsilon(events, delta_composition),
        mu=total_mu(events),
        profile=tuple(profile),
    )


def _check(epsilon: float, delta: float, shares: Mapping[str, float], sampling: Mapping[str, Sampling]) -> None:
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise PrivacyError(f"expected epsilon > 0 and finite, found {epsilon}; ask for 0.1 to 16")
    if not 0 < delta < 1:
        raise PrivacyError(f"expected 0 < delta < 1, found {delta}; ask for far less than one over the number of units")
    if not shares or any(not share > 0 for share in shares.values()) or abs(math.fsum(shares.values()) - 1) > 1e-9:
        raise PrivacyError(f"expected positive shares that add up to 1, found {dict(shares)}")
    if any(name not in shares or not 0 < one.sample_rate < 1 or one.steps < 1 for name, one in sampling.items()):
        raise PrivacyError(f"expected sample rates below 1 and steps of planned mechanisms, found {dict(sampling)}")
    largest = largest_epsilon(delta, mechanisms=len(shares))
    if epsilon > largest:
        raise PrivacyError(
            f"epsilon {epsilon:g} at delta {delta:g} is too large for exact integer noise; ask for at most "
            f"{math.floor(largest * 100) / 100:g} (above 10 it means next to no protection anyway)"
        )


def _fitted(
    epsilon: float, delta: float, shares: Mapping[str, float], sampling: Mapping[str, Sampling]
) -> tuple[dict[str, float], Opinion, Opinion]:
    """Noise multipliers whose composition has between 99 % and all of `epsilon`, and two opinions on it."""
    goal = epsilon * (1 - _NUMERICAL_SHARE) if sampling else epsilon
    mu, claimed = mu_for(goal, delta), 0.0
    for _ in range(20):
        multipliers = {name: _multiplier(mu, share, sampling.get(name)) for name, share in shares.items()}
        events = _events(multipliers, sampling)
        second = second_opinion(events, delta)
        if sampling and not 0.994 * epsilon <= second.epsilon <= epsilon:  # far off: the slower accountant can wait
            mu *= mu_for(goal, delta) / mu_for(second.epsilon, delta)
            continue
        first = first_opinion(events, delta)
        claimed = max(first.epsilon, second.epsilon)
        if 0.99 * epsilon <= claimed <= epsilon:
            return multipliers, first, second
        goal *= epsilon / claimed * (1 - 1e-9)
        mu = mu_for(goal, delta) if not sampling else mu * mu_for(goal, delta) / mu_for(claimed, delta)
    raise PrivacyError(f"calibration to epsilon {epsilon} ended at {claimed}; please report this")


def _multiplier(mu: float, share: float, sampling: Sampling | None) -> float:
    if sampling is None:
        return 1 / (mu * math.sqrt(share))
    rate, steps = sampling
    return 1 / math.sqrt(math.log1p(share * mu**2 / (rate**2 * steps)))


def _events(multipliers: Mapping[str, float], sampling: Mapping[str, Sampling]) -> Sequence[Event]:
    return [Event(value, *sampling.get(name, Sampling())) for name, value in multipliers.items()]
