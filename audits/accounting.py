"""Recompute epsilon and delta from a claim's mechanisms, with another library than the generator's.

Full-batch Gaussians compose to one Gaussian whose privacy curve has a closed form; anything sampled goes through
dp-accounting's privacy-loss distribution (pessimistic estimate, Poisson sampling, add or remove one unit). It trusts
the numbers in the claim and judges nothing; a sampler or sensitivity that was not really used is invisible here.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from scipy import optimize
from scipy.special import log_ndtr

from audits.findings import Mechanism

__all__ = ["Recomputed", "discretisation_delta", "gaussian_delta", "gaussian_epsilon", "gaussian_mu", "recompute"]


@dataclass(frozen=True, slots=True)
class Recomputed:
    """The composition of a claim's mechanisms.

    Attributes:
        epsilon: at the delta that was asked.
        method: how it was computed.
        mu: Gaussian-DP parameter, when everything is full-batch.
        delta_at: the privacy curve: epsilon -> delta of the composition.
    """

    epsilon: float
    method: str
    mu: float | None
    delta_at: Callable[[float], float]


def gaussian_mu(mechanisms: tuple[Mechanism, ...]) -> float:
    """Return the Gaussian-DP parameter of full-batch Gaussians: the root of the sum of steps / sigma squared."""
    return math.sqrt(math.fsum(m.steps / m.noise_multiplier**2 for m in mechanisms if m.noise_multiplier is not None))


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Return delta(epsilon) of a mu-Gaussian mechanism.

    >>> round(gaussian_delta(1.0, 1.0), 4)
    0.1269
    """
    if mu == 0:
        return 0.0
    first = float(log_ndtr(mu / 2 - epsilon / mu))
    second = epsilon + float(log_ndtr(-mu / 2 - epsilon / mu))
    return math.exp(first) * -math.expm1(min(0.0, second - first))


def gaussian_epsilon(delta: float, mu: float) -> float:
    """Return epsilon(delta) of a mu-Gaussian mechanism; 0 when delta alone covers it.

    >>> round(gaussian_epsilon(1e-6, 1.0), 3)
    4.887
    """
    if gaussian_delta(0.0, mu) <= delta:
        return 0.0
    high = 1.0
    while gaussian_delta(high, mu) > delta:
        high *= 2
    return float(optimize.brentq(lambda epsilon: gaussian_delta(epsilon, mu) - delta, 0.0, high, xtol=1e-10))


def discretisation_delta(epsilon: float, cells: int, grid_steps: float) -> float:
    """Return the delta that covers discrete instead of rounded continuous Gaussian noise, for one release.

    The total variation distance is at most sqrt(cells) / (sqrt(1152) steps^2) in leading order; 33 < sqrt(1152) covers
    the rest for steps >= 2^24. Both neighbours are replaced, hence 1 + e^epsilon.
    """
    return (1 + math.exp(min(epsilon, 700.0))) * math.sqrt(cells) / (33 * grid_steps**2)


def recompute(mechanisms: tuple[Mechanism, ...], delta: float) -> Recomputed:
    """Compose the mechanisms and return epsilon at `delta`.

    Args:
        mechanisms: none of kind `none`, each with a noise multiplier.
        delta: what is left for the composition.
    """
    if all(m.sample_rate == 1.0 for m in mechanisms):
        mu = gaussian_mu(mechanisms)
        return Recomputed(
            gaussian_epsilon(delta, mu),
            "closed form of composed Gaussians",
            mu,
            lambda epsilon: gaussian_delta(epsilon, mu),
        )
    import dp_accounting
    from dp_accounting.pld import PLDAccountant

    accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    for mechanism in mechanisms:
        event = dp_accounting.GaussianDpEvent(mechanism.noise_multiplier)
        if mechanism.sample_rate < 1.0:
            event = dp_accounting.PoissonSampledDpEvent(mechanism.sample_rate, event)
        accountant.compose(event, mechanism.steps)
    return Recomputed(
        float(accountant.get_epsilon(delta)),
        "dp-accounting, privacy-loss distribution (pessimistic)",
        None,
        lambda epsilon: float(accountant.get_delta(epsilon)),
    )
