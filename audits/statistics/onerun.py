"""Lower bounds on epsilon from one run, when every unit was included independently with a known probability.

The one-run bound: of D units named as members, T are. If the mechanism is (epsilon, delta)-DP, T is dominated by a
binomial with success probability expit(epsilon + logit(pi)), up to a delta term. Conditions: independent Bernoulli(pi)
inclusion (own split or canary coins; never an outside holdout), D fixed before looking at the sides, one guess a unit.
It knows counts only.
"""

import numpy as np
import numpy.typing as npt
from scipy import optimize, special

__all__ = ["ceiling", "epsilon_lower_bound", "one_run_p_value"]

_LARGEST = 64.0


def one_run_p_value(epsilon: float, guesses: int, right: int, units: int, pi: float = 0.5, delta: float = 0.0) -> float:
    """Return the p-value of "the mechanism is (epsilon, delta)-DP" after `right` of `guesses` members were right.

    Args:
        epsilon: hypothesis.
        guesses: D, fixed in advance.
        right: T.
        units: m, units whose inclusion was random.
        pi: inclusion probability; 2 delta becomes delta / min(pi, 1 - pi).
        delta: hypothesis.
    """
    success = special.expit(epsilon + special.logit(pi))
    beta = float(_at_least(np.array(right), guesses, success))
    if delta == 0 or right == 0:
        return min(1.0, beta)
    steps = np.arange(1, right + 1)
    gain = (_at_least(right - steps, guesses, success) - beta) / steps
    return min(1.0, beta + units * delta / min(pi, 1 - pi) * max(0.0, float(gain.max())))


def _at_least(count: npt.NDArray[np.int64], n: int, success: float) -> npt.NDArray[np.float64]:
    """P[Bin(n, success) >= count]."""
    tail = special.betainc(np.maximum(count, 1), np.maximum(n - count + 1, 1), success)
    return np.asarray(np.where(count <= 0, 1.0, np.where(count > n, 0.0, tail)), np.float64)


def epsilon_lower_bound(
    guesses: int, right: int, units: int, alpha: float, pi: float = 0.5, delta: float = 0.0
) -> float:
    """Return the largest epsilon that the count rejects at level alpha; 0 when it rejects none."""

    def excess(epsilon: float) -> float:
        return one_run_p_value(epsilon, guesses, right, units, pi, delta) - alpha

    if excess(0.0) > 0:
        return 0.0
    high = 1.0
    while excess(high) <= 0:
        high *= 2
        if high > _LARGEST:
            return _LARGEST
    return float(optimize.brentq(excess, 0.0, high, xtol=1e-6))


def ceiling(guesses: int, units: int, alpha: float, pi: float = 0.5, delta: float = 0.0) -> float:
    """Return the bound that a perfect attack would reach: the largest epsilon such an audit can contradict."""
    return epsilon_lower_bound(guesses, guesses, units, alpha, pi, delta)
