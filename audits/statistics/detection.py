"""What a concentration test would have caught: smallest planted rate found with the asked power.

Exact for one threshold: holdout hits are Binomial(n_h, q), train hits Binomial(n_t, q + r recall (1 - q)), and the test
rejects when the hypergeometric tail is at most alpha. Over several thresholds alpha is divided by their number, which
understates the power of the min-p test. It knows counts only.
"""

import numpy as np
import numpy.typing as npt
from scipy import stats

__all__ = ["detectable_rate"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]


def detectable_rate(
    train: int, holdout: int, phantoms: float, recall: float, alpha: float, power: float = 0.8
) -> float | None:
    """Return the smallest share of train units that, planted, is found with the asked power.

    Args:
        train: units on the train side.
        holdout: units on the holdout side.
        phantoms: rate at which a unit is flagged without being a member.
        recall: probability that a planted unit is flagged.
        alpha: level of the single test.
        power: asked probability of detection.

    Returns:
        The rate, or None when planting every train unit would not be enough.

    >>> round(detectable_rate(5000, 5000, 0.0, 1.0, 0.05 / 8), 4)
    0.0021
    """
    hits, weights = _holdout_hits(holdout, phantoms)
    needed = _needed(hits, train, holdout, alpha)

    def found(rate: float) -> float:
        flagged = phantoms + rate * recall * (1 - phantoms)
        return float(weights @ stats.binom.sf(needed - 1, train, flagged))

    if found(1.0) < power:
        return None
    low, high = 0.0, 1.0
    while high - low > 0.1 / train:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high


def _holdout_hits(holdout: int, phantoms: float) -> tuple[IntArray, FloatArray]:
    last = int(stats.binom.ppf(1 - 1e-6, holdout, phantoms)) if phantoms > 0 else 0
    first = int(stats.binom.ppf(1e-6, holdout, phantoms)) if phantoms > 0 else 0
    hits = np.arange(first, max(last, first) + 1, dtype=np.int64)
    weights = stats.binom.pmf(hits, holdout, phantoms)
    return hits, np.asarray(weights / weights.sum(), np.float64)


def _needed(hits: IntArray, train: int, holdout: int, alpha: float) -> IntArray:
    """Smallest number of train hits that rejects, for each number of holdout hits."""
    low, high = np.zeros(len(hits), np.int64), np.full(len(hits), train + 1, np.int64)
    while np.any(high - low > 1):
        middle = (low + high) // 2
        rejects = stats.hypergeom.sf(middle - 1, train + holdout, train, middle + hits) <= alpha
        high = np.where(rejects, middle, high)
        low = np.where(rejects, low, middle)
    return high
