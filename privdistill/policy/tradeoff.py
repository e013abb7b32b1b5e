"""What a guarantee means for an attacker, in closed form and plain Python: error trade-offs and groups of units.

Sources: Wasserman & Zhou 2010 and Kairouz et al. 2015 for (epsilon, delta); Dong, Roth & Su 2022 for Gaussian DP; Bun
& Steinke 2016 for groups under concentrated DP (discrete Gaussian: Canonne, Kamath & Steinke 2020). It does not know
the accountant, which calibrates and claims; the policy uses this to refuse, and the reports to explain.
"""

import math
from collections.abc import Iterable
from statistics import NormalDist

from audits.findings import Claim

__all__ = ["attack_success", "dp_attack_success", "gaussian_attack_success", "gaussian_delta", "group_bound"]

_NORMAL = NormalDist()
_ORDERS = tuple(1 + x / 100 for x in range(1, 1000)) + tuple(range(11, 513))


def _phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Delta at `epsilon` of a mu-Gaussian-DP mechanism (Balle & Wang 2018, Theorem 8); 0 for mu = 0.

    Example:
        >>> round(gaussian_delta(1.0, 0.268), 6)
        1e-05
    """
    if mu == 0:
        return 0.0
    tail = _phi(-epsilon / mu - mu / 2)
    return max(0.0, _phi(-epsilon / mu + mu / 2) - (math.exp(epsilon + math.log(tail)) if tail > 0 else 0.0))


def dp_attack_success(epsilon: float, delta: float, false_positive_rate: float) -> float:
    """Largest true positive rate of any membership attack on any (epsilon, delta)-DP mechanism.

    Example:
        >>> round(dp_attack_success(3.0, 1e-5, 0.01), 3)
        0.201
    """
    small = math.exp(min(epsilon, 700.0)) * false_positive_rate + delta
    large = 1 - math.exp(-epsilon) * (1 - false_positive_rate - delta)
    return min(1.0, small, max(large, false_positive_rate))


def gaussian_attack_success(mu: float, false_positive_rate: float) -> float:
    """Largest true positive rate of any membership attack on a mu-Gaussian-DP mechanism.

    Example:
        >>> round(gaussian_attack_success(1.67, 0.01), 3)
        0.256
    """
    return _NORMAL.cdf(_NORMAL.inv_cdf(false_positive_rate) + mu)


def attack_success(claim: Claim, false_positive_rate: float) -> float | None:
    """The smallest bound that the claim supports: mu, every point of the profile, and (epsilon, delta).

    None when nothing is claimed. The discretisation and threshold parts of delta are added to the Gaussian bound.
    """
    if claim.epsilon is None or claim.delta is None:
        return None
    points: Iterable[tuple[float, float]] = (
        (claim.epsilon, claim.delta),
        *((point.epsilon, point.delta) for point in claim.privacy_profile),
    )
    bounds = [dp_attack_success(epsilon, delta, false_positive_rate) for epsilon, delta in points]
    if claim.mu is not None and claim.delta_parts is not None:
        extra = claim.delta_parts.discretisation + claim.delta_parts.thresholds
        bounds.append(min(1.0, gaussian_attack_success(claim.mu, false_positive_rate) + extra))
    return min(bounds)


def group_bound(claim: Claim, size: int) -> tuple[float, float] | None:
    """(epsilon, delta) against an attacker who knows all but `size` units, or None where no useful bound follows.

    Full-batch Gaussians without thresholds are concentrated DP with rho = mu^2 / 2, and a group of k has k^2 rho
    exactly, at the claimed delta. Otherwise (k epsilon, delta (e^(k epsilon) - 1) / (e^epsilon - 1)) while that delta
    stays below 0.01.
    """
    if claim.epsilon is None or claim.delta is None or claim.delta_parts is None:
        return None
    if size == 1:
        return claim.epsilon, claim.delta
    if claim.mu is not None and claim.delta_parts.thresholds == 0:
        rho = (size * claim.mu) ** 2 / 2
        log_delta = math.log(claim.delta)
        epsilons = (rho * a + math.log1p(-1 / a) - (log_delta + math.log(a)) / (a - 1) for a in _ORDERS)
        return max(0.0, min(epsilons)), claim.delta
    if size * claim.epsilon > 600:
        return None
    grown = claim.delta * math.expm1(size * claim.epsilon) / math.expm1(claim.epsilon)
    return (size * claim.epsilon, grown) if grown < 0.01 else None
