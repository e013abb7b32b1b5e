"""Confidence intervals for rates and differences of rates, as `Estimate`s.

They know counts only. Clopper-Pearson is exact, Newcombe's is the usual score interval for a difference.
"""

import math

import numpy as np
from scipy import special

from audits.findings import Estimate

__all__ = ["clopper_pearson", "difference", "exact", "rate", "wilson"]


def clopper_pearson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact two-sided interval of a binomial rate.

    >>> [round(x, 4) for x in clopper_pearson(0, 1000)]
    [0.0, 0.0037]
    """
    if n == 0:
        return 0.0, 1.0
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, n - hits + 1, tail))
    high = 1.0 if hits == n else float(special.betaincinv(hits + 1, n - hits, 1 - tail))
    return low, high


def wilson(hits: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a binomial rate."""
    if n == 0:
        return 0.0, 1.0
    z = float(-special.ndtri((1 - confidence) / 2))
    share = hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)


def rate(hits: int, n: int) -> Estimate:
    """Return a rate with its exact 95 % interval; with no hit, the one-sided 95 % upper bound.

    >>> rate(0, 1000).high < 0.00301
    True
    """
    if hits == 0 and n > 0:
        high = -math.expm1(math.log(0.05) / n)
        return Estimate(value=0.0, low=0.0, high=high, n=n, method="no hit; one-sided 95 % Clopper-Pearson upper bound")
    low, high = clopper_pearson(hits, n)
    return Estimate(value=hits / n if n else 0.0, low=low, high=high, n=n, method="share; 95 % Clopper-Pearson")


def difference(hits_a: int, n_a: int, hits_b: int, n_b: int) -> Estimate:
    """Return the difference of two rates with Newcombe's 95 % interval (method 10)."""
    share_a, share_b = (hits_a / n_a if n_a else 0.0), (hits_b / n_b if n_b else 0.0)
    low_a, high_a = wilson(hits_a, n_a)
    low_b, high_b = wilson(hits_b, n_b)
    gap = share_a - share_b
    return Estimate(
        value=gap,
        low=max(-1.0, gap - math.hypot(share_a - low_a, high_b - share_b)),
        high=min(1.0, gap + math.hypot(high_a - share_a, share_b - low_b)),
        n=n_a + n_b,
        method="train rate minus holdout rate; 95 % Newcombe hybrid score",
    )


def exact(value: float, n: int, method: str) -> Estimate:
    """Return a number that was computed, not estimated: the interval is the point."""
    plain = float(np.float64(value))
    return Estimate(value=plain, low=plain, high=plain, n=n, method=method)
