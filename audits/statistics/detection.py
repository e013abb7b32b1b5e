"""What a concentration test would have caught: smallest planted rate found with the asked power.

Exact for one threshold: holdout hits are Binomial(n_h, q), train hits Binomial(n_t, q + r recall (1 - q)), and the test
rejects when the hypergeometric tail is at most alpha. Over several thresholds alpha is divided by their number, which
understates the power of the min-p test. It knows counts only.
"""

import numpy as np
import numpy.typing as npt
from scipy import special

from audits.statistics.hypergeometric import critical_count

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
        tail = special.betainc(np.maximum(needed, 1), np.maximum(train - needed + 1, 1), flagged)
        return float(weights @ np.where(needed > train, 0.0, tail))

    if found(1.0) < power:
        return None
    low, high = 0.0, 1.0
    while high - low > 0.1 / train:
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high


def _holdout_hits(holdout: int, phantoms: float) -> tuple[IntArray, FloatArray]:
    """Numbers of holdout hits that are not too unlikely, and their binomial weights."""
    spread = 6 * np.sqrt(holdout * phantoms * (1 - phantoms)) + 12
    first = max(0, int(holdout * phantoms - spread))
    last = min(holdout, int(holdout * phantoms + spread)) if phantoms > 0 else 0
    hits = np.arange(first, last + 1, dtype=np.int64)
    log_choose = special.gammaln(holdout + 1) - special.gammaln(hits + 1) - special.gammaln(holdout - hits + 1)
    weights = np.exp(log_choose + special.xlogy(hits, phantoms) + special.xlog1py(holdout - hits, -phantoms))
    return hits, np.asarray(weights / weights.sum(), np.float64)


def _needed(hits: IntArray, train: int, holdout: int, alpha: float) -> IntArray:
    """Smallest number of train hits that rejects, for each number of holdout hits; train + 1 where none does."""
    needed = np.zeros(len(hits), np.int64)
    least = 0
    for place, held in enumerate(hits.tolist()):  # more holdout hits never need fewer train hits
        while least <= train:
            asked = critical_count(least + held, train, holdout, alpha)
            if asked <= least:
                break
            least = asked
        least = min(least, train + 1)
        needed[place] = least
    return needed
