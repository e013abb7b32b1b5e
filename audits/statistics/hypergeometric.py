"""The exact test of concentration: are flagged units on the train side more often than the split explains?

Given which units are flagged (a function of texts, never of sides) and a random split of the units, the number T of
flagged units on the train side is hypergeometric, whatever the dependence between texts. It knows counts only.
"""

import numpy as np
import numpy.typing as npt
from scipy.special import gammaln

__all__ = ["critical_count", "tail_table"]

FloatArray = npt.NDArray[np.float64]


def tail_table(flagged: int, train: int, holdout: int) -> FloatArray:
    """Return P[T >= t] for t = 0..flagged, when `flagged` of train + holdout units are flagged.

    >>> [round(float(p), 3) for p in tail_table(2, 5, 5)]
    [1.0, 0.778, 0.222]
    """
    t = np.arange(flagged + 1, dtype=np.float64)
    possible = (t <= train) & (flagged - t <= holdout)
    log_pmf = np.full(flagged + 1, -np.inf)
    good = t[possible]
    log_pmf[possible] = (
        _log_choose(train, good)
        + _log_choose(holdout, flagged - good)
        - _log_choose(train + holdout, np.float64(flagged))
    )
    table = np.cumsum(np.exp(log_pmf)[::-1])[::-1]
    return np.asarray(np.minimum(table / table[0], 1.0), np.float64)


def critical_count(flagged: int, train: int, holdout: int, alpha: float) -> int:
    """Return the smallest t with P[T >= t] <= alpha, or flagged + 1 when no count is that surprising."""
    return int(np.searchsorted(-tail_table(flagged, train, holdout), -alpha, side="left"))


def _log_choose(n: int, k: npt.NDArray[np.float64] | np.float64) -> FloatArray:
    return np.asarray(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), np.float64)
