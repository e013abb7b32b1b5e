"""Lower bounds on epsilon from many independent runs, with and without the target: two binomial rates.

True positives among runs with the target and false positives among runs without it are independent binomials, because
each run draws its own noise; that holds for shadow runs and for nothing that comes from one run. Clopper-Pearson
bounds, alpha/2 each; then (epsilon, delta)-DP demands TPR <= e^epsilon FPR + delta, and the mirror image. They know
counts only.
"""

import math
from collections.abc import Callable

from scipy import special, stats

from audits.statistics.intervals import clopper_pearson

__all__ = [
    "distinguishing_ceiling",
    "distinguishing_epsilon",
    "distinguishing_mu",
    "distinguishing_p_value",
    "fisher_p_value",
]

_LARGEST = 64.0


def distinguishing_epsilon(true: int, with_: int, false: int, without: int, alpha: float, delta: float = 0.0) -> float:
    """Return the largest epsilon that the rates reject at level alpha; 0 when they reject none.

    Args:
        true: runs with the target that were called so.
        with_: runs with the target.
        false: runs without the target that were called so.
        without: runs without the target.
        alpha: level.
        delta: of the hypothesis.

    >>> round(distinguishing_epsilon(1000, 1000, 0, 1000, 0.05), 2)
    5.6
    """
    low, high = _rates(true, with_, false, without, alpha)
    bounds = [0.0]
    for rate, other in ((low, high), (1 - high, 1 - low)):
        if rate > delta:
            bounds.append(math.log((rate - delta) / other) if other > 0 else _LARGEST)
    return min(_LARGEST, max(bounds))


def distinguishing_mu(true: int, with_: int, false: int, without: int, alpha: float) -> float:
    """Return the largest mu whose Gaussian curve the rates reject; "assuming the claimed curve"."""
    low, high = _rates(true, with_, false, without, alpha)
    if low <= 0 or high >= 1:
        return 0.0
    return max(0.0, float(special.ndtri(low) - special.ndtri(high)))


def distinguishing_ceiling(with_: int, without: int, alpha: float, delta: float = 0.0) -> float:
    """Return what a perfect distinguisher would reach: the largest epsilon that so many runs can contradict."""
    return distinguishing_epsilon(with_, with_, 0, without, alpha, delta)


def distinguishing_p_value(rejects: Callable[[float], bool]) -> float:
    """Return the smallest level at which a bound rejects the claim, given whether it does at a level."""
    if not rejects(1.0):
        return 1.0
    low, high = -60.0, 0.0  # of the logarithm
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if rejects(math.exp(middle)) else (middle, high)
    return math.exp(high)


def fisher_p_value(true: int, with_: int, false: int, without: int) -> float:
    """Return the exact one-sided p-value of "the target makes no difference"."""
    return float(stats.hypergeom.sf(true - 1, with_ + without, with_, true + false))


def _rates(true: int, with_: int, false: int, without: int, alpha: float) -> tuple[float, float]:
    # Of a two-sided interval at confidence 1 - alpha, each end alone has level alpha / 2.
    confidence = 1 - min(alpha, 1.0)
    return clopper_pearson(true, with_, confidence)[0], clopper_pearson(false, without, confidence)[1]
