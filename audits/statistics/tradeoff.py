"""Lower bounds from one run under a whole trade-off curve instead of one (epsilon, delta): f-DP.

If the mechanism obeys a trade-off curve f, then for D guesses about m fair coins, with p_i the probability of exactly i
right ones and F(x) = 1 - f(x), for every j:

    sum_{i >= j} (i / m) p_i  <=  F( sum_{i >= j - 1} ((D - i) / m) p_i )

(pick a coin at random; a right guess with i right in all becomes, when that coin alone is flipped, a wrong one with
i - 1 right; F is concave). Walking down from the observed count gives the least probability mass that a tail of
probability tau drags along; if it exceeds one, the tail is rarer than tau. Conditions: fair independent coins
(pi = 1/2, enforced), D fixed before looking, one guess a coin. A bound says "assuming the claimed curve": another
mechanism of the same epsilon may have another curve. It knows counts only. Source: auditing f-DP in one run,
arXiv:2410.22235.
"""

import math
from collections.abc import Callable

from scipy.special import ndtr, ndtri

__all__ = ["approximate_inverse", "curve_p_value", "gaussian_inverse", "mu_ceiling", "mu_lower_bound", "tail_is_rarer"]

_LARGEST = 32.0


def gaussian_inverse(mu: float) -> Callable[[float], float]:
    """Return the inverse of F for mu-Gaussian DP: the least false-positive rate at a true-positive rate."""
    return lambda rate: float(ndtr(ndtri(rate) - mu)) if rate < 1 else 1.0


def approximate_inverse(epsilon: float, delta: float) -> Callable[[float], float]:
    """Return the same for (epsilon, delta)-DP."""
    grow = math.exp(epsilon)
    return lambda rate: max(0.0, (rate - delta) / grow, 1 - delta - (1 - rate) * grow)


def tail_is_rarer(
    inverse: Callable[[float], float], guesses: int, right: int, units: int, tau: float, pi: float = 0.5
) -> bool:
    """Return whether "at least `right` of `guesses` are right" has probability below `tau` under the curve.

    Args:
        inverse: inverse of F = 1 - f.
        guesses: D, fixed in advance.
        right: T.
        units: m, coins that were tossed.
        tau: level.
        pi: inclusion probability; the argument holds for fair coins only.

    Raises:
        ValueError: the coins are not fair, or the counts are impossible.
    """
    if pi != 0.5:
        raise ValueError(f"a bound under a trade-off curve needs fair coins, found inclusion probability {pi:g}")
    if not 0 <= right <= guesses <= units:
        raise ValueError("expected 0 <= right <= guesses <= units")
    share = guesses / units
    hit, miss = tau * right / units, tau * (guesses - right) / units
    for count in range(right - 1, -1, -1):
        needed = max(miss, inverse(hit))
        hit += count / (guesses - count) * (needed - miss)
        miss = needed
        if hit + miss > share * (1 + 1e-12):
            return True
    return False


def curve_p_value(inverse: Callable[[float], float], guesses: int, right: int, units: int, pi: float = 0.5) -> float:
    """Return the p-value of "the mechanism obeys the curve": the largest tail probability that it allows."""
    if right == 0 or not tail_is_rarer(inverse, guesses, right, units, 1.0, pi):
        return 1.0
    low, high = -80.0, 0.0  # of the logarithm
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (
            (low, middle) if tail_is_rarer(inverse, guesses, right, units, math.exp(middle), pi) else (middle, high)
        )
    return math.exp(high)


def mu_lower_bound(guesses: int, right: int, units: int, alpha: float, pi: float = 0.5) -> float:
    """Return the largest mu whose Gaussian curve the count rejects at level alpha; 0 when it rejects none."""

    def rejected(mu: float) -> bool:
        return tail_is_rarer(gaussian_inverse(mu), guesses, right, units, alpha, pi)

    if not rejected(0.0):
        return 0.0
    high = 1.0
    while rejected(high):
        high *= 2
        if high > _LARGEST:
            return _LARGEST
    low = high / 2 if high > 1 else 0.0
    while high - low > 1e-5:
        middle = (low + high) / 2
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low


def mu_ceiling(guesses: int, units: int, alpha: float, pi: float = 0.5) -> float:
    """Return the bound that a perfect attack would reach: the largest mu such an audit can contradict."""
    return mu_lower_bound(guesses, guesses, units, alpha, pi)
