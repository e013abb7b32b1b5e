"""Epsilon and delta of a composition of Gaussian events.

Full-batch Gaussians compose exactly: sigma's add up as mu squared = sum(steps / noise_multiplier squared), and the
privacy profile is the closed form of Balle & Wang 2018 (arXiv:1805.06530, Theorem 8), equally Dong, Roth & Su 2022
(Gaussian differential privacy, Corollary 2.13). As soon as one event is Poisson-sampled, Opacus' PRV accountant (Gopi
et al. 2021, arXiv:2106.02848) takes the whole history and its rigorous upper bound is the claim; dp-accounting's PLD
is the second opinion.

Adjacency: add or remove one privacy unit, everywhere. It does not know budgets, shares, ledgers or where the events
came from.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr, ndtri

from privdistill.errors import PrivacyError

__all__ = [
    "Event",
    "Opinion",
    "first_opinion",
    "gaussian_delta",
    "gaussian_epsilon",
    "mu_for",
    "rdp_epsilon",
    "second_opinion",
    "total_deltas",
    "total_epsilon",
    "total_mu",
]

_LEAST_DELTA = 1e-15
"""A numerical accountant's delta is never taken to be smaller."""


@dataclass(frozen=True, slots=True)
class Event:
    """`steps` Gaussian mechanisms of one noise multiplier and sample rate (1.0: full batch)."""

    noise_multiplier: float
    sample_rate: float = 1.0
    steps: int = 1

    def __post_init__(self) -> None:
        """Refuse what has no meaning; nothing is clamped."""
        if not (math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise PrivacyError(f"expected noise_multiplier > 0 and finite, found {self.noise_multiplier}")
        if not 0 < self.sample_rate <= 1:
            raise PrivacyError(f"expected 0 < sample_rate <= 1, found {self.sample_rate}")
        if self.steps < 1:
            raise PrivacyError(f"expected steps >= 1, found {self.steps}")


class Opinion(NamedTuple):
    """One accountant's epsilon."""

    name: str
    version: str
    epsilon: float


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Delta of a mu-Gaussian-DP mechanism at `epsilon` (Balle & Wang 2018, Theorem 8).

    Example:
        >>> round(gaussian_delta(1.0, 0.268), 6)
        1e-05
    """
    if epsilon < 0 or mu <= 0 or not math.isfinite(epsilon + mu):
        raise PrivacyError(f"expected epsilon >= 0 and mu > 0, both finite, found {epsilon} and {mu}")
    a, b = mu / 2 - epsilon / mu, -mu / 2 - epsilon / mu
    # exp(epsilon) * Phi(b) in logs: the product is finite where its factors are not.
    return float(max(0.0, ndtr(a) - math.exp(epsilon + float(log_ndtr(b)))))


def gaussian_epsilon(delta: float, mu: float) -> float:
    """Smallest epsilon >= 0 of a mu-Gaussian-DP mechanism at `delta`, rounded up by at most 1e-9 relative.

    Raises:
        PrivacyError: delta outside (0, 1).
    """
    _check_delta(delta)
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    high = mu * (mu / 2 - float(ndtri(delta))) + 1.0  # Phi(a) alone is below delta here
    root = brentq(lambda epsilon: gaussian_delta(epsilon, mu) - delta, 0.0, high, xtol=1e-13, rtol=8.9e-16)
    return float(root) * (1 + 1e-9)


def mu_for(epsilon: float, delta: float) -> float:
    """Largest mu (rounded down by 1e-9 relative) whose Gaussian mechanism is (epsilon, delta)-DP."""
    _check_delta(delta)
    if not (math.isfinite(epsilon) and epsilon > 0):
        raise PrivacyError(f"expected epsilon > 0 and finite, found {epsilon}")
    high = 1.0
    while gaussian_delta(epsilon, high) < delta:
        high *= 2
    root = brentq(lambda mu: gaussian_delta(epsilon, mu) - delta, 1e-12, high, xtol=1e-15, rtol=8.9e-16)
    return float(root) * (1 - 1e-9)


def total_mu(events: Sequence[Event]) -> float | None:
    """Mu of the composition when every event is full-batch, else None."""
    if any(event.sample_rate < 1 for event in events):
        return None
    return math.sqrt(math.fsum(event.steps / event.noise_multiplier**2 for event in events))


def total_epsilon(events: Sequence[Event], delta: float) -> float:
    """Epsilon of the composition at `delta`: closed form when all is full-batch, else Opacus PRV's upper bound."""
    return first_opinion(events, delta).epsilon


def first_opinion(events: Sequence[Event], delta: float) -> Opinion:
    """The accountant of the claim.

    Guarantee: the composition of `events` is (result.epsilon, delta)-DP.
    Unit: whatever unit the events' sensitivities are stated for. Adjacency: add or remove one unit.

    Raises:
        PrivacyError: no events, or delta outside (0, 1).
    """
    _check_delta(delta)
    if not events:
        raise PrivacyError("expected at least one mechanism to account for, found none")
    mu = total_mu(events)
    if mu is not None:
        return Opinion("gaussian-closed-form", version("scipy"), gaussian_epsilon(delta, mu))
    return Opinion("opacus-prv", version("opacus"), _prv_epsilon(events, delta))


def second_opinion(events: Sequence[Event], delta: float) -> Opinion:
    """The same composition by dp-accounting's privacy loss distributions (Koskela et al.; pessimistic estimate)."""
    _check_delta(delta)
    return Opinion("dp-accounting-pld", version("dp-accounting"), float(_pld(events).get_epsilon(delta)))


def total_deltas(events: Sequence[Event], epsilons: Sequence[float]) -> list[float]:
    """Delta of the composition at each epsilon; for sampled events, dp-accounting's pessimistic estimate."""
    mu = total_mu(events)
    if mu is not None:
        return [gaussian_delta(epsilon, mu) for epsilon in epsilons]
    accountant = _pld(events)
    return [max(float(accountant.get_delta(epsilon)), _LEAST_DELTA) for epsilon in epsilons]


def rdp_epsilon(events: Sequence[Event], delta: float) -> float:
    """Renyi bound on the same composition, looser; printed for comparison only (dp-accounting's RDP accountant)."""
    from dp_accounting.rdp import RdpAccountant

    # Fractional orders of sampled events converge slowly or not at all; leaving them out only loosens the bound.
    orders = None if total_mu(events) is not None else [*range(2, 64), *range(64, 512, 16)]
    return float(_composed(RdpAccountant(orders), events).get_epsilon(delta))


def _pld(events: Sequence[Event]) -> Any:
    from dp_accounting.pld import PLDAccountant

    return _composed(PLDAccountant(value_discretization_interval=1e-3), events)


def _composed(accountant: Any, events: Sequence[Event]) -> Any:
    from dp_accounting import dp_event

    for event in events:
        gaussian: dp_event.DpEvent = dp_event.GaussianDpEvent(event.noise_multiplier)
        if event.sample_rate < 1:
            gaussian = dp_event.PoissonSampledDpEvent(event.sample_rate, gaussian)
        accountant.compose(gaussian, event.steps)
    return accountant


def _prv_epsilon(events: Sequence[Event], delta: float) -> float:
    """Opacus PRV's upper bound over a history with sampled events; its own error is at most epsilon / 1000."""
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(e.noise_multiplier, e.sample_rate, e.steps) for e in events if e.sample_rate < 1]
    full = total_mu([event for event in events if event.sample_rate >= 1])
    if full:
        accountant.history.append((1 / full, 1.0, 1))
    coarse = second_opinion(events, delta).epsilon
    # At q = 1 Opacus' loss is the exact Gaussian one; only the support bound log(1 - q) = -inf makes numpy complain.
    # Its Renyi bound only sizes the grid, so a wider range of orders would change nothing.
    with np.errstate(divide="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Optimal order is the (largest|smallest) alpha")
        return float(accountant.get_epsilon(delta, eps_error=max(coarse, 1e-3) / 1000))


def _check_delta(delta: float) -> None:
    if not (0 < delta < 1) or not np.isfinite(delta):
        raise PrivacyError(f"expected 0 < delta < 1, found {delta}")
