"""How well a score ranks train units above holdout units: AUC, and true-positive rate at a low false-positive rate.

Units are resampled within each side, never records or synthetic rows. Ties count one half. It knows scores only.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.findings import Estimate
from audits.statistics.intervals import clopper_pearson

__all__ = ["LowFalsePositive", "area", "area_interval", "at_false_positive_rate"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class LowFalsePositive:
    """True-positive rate at a false-positive rate that was really reached.

    Attributes:
        tpr: share of train units above the threshold, exact 95 % interval.
        fpr: share of holdout units above it, exact 95 % interval.
        threshold: the score above which a unit is called a member.
        resolvable: whether the holdout is large enough for the asked rate (10 / rate units).
    """

    tpr: Estimate
    fpr: Estimate
    threshold: float
    resolvable: bool


def area(scores: FloatArray, train: BoolArray) -> float:
    """Return the share of (train, holdout) pairs that the score orders rightly.

    >>> float(area(np.array([3.0, 1.0, 1.0]), np.array([True, True, False])))
    0.75
    """
    holdout = np.sort(scores[~train])
    members = scores[train]
    below = np.searchsorted(holdout, members, side="left")
    upto = np.searchsorted(holdout, members, side="right")
    return float((below + upto).sum() / (2 * len(members) * len(holdout)))


def area_interval(
    scores: FloatArray, train: BoolArray, rng: np.random.Generator, confidence: float = 0.95, draws: int = 1_000
) -> Estimate:
    """Return the AUC with a bootstrap interval, units drawn within each side."""
    _, place = np.unique(scores, return_inverse=True)
    order = np.argsort(place.reshape(-1), kind="stable")
    starts = np.flatnonzero(np.diff(place.reshape(-1)[order], prepend=-1))
    sides = train[order]
    n_train, n_holdout = int(train.sum()), int((~train).sum())
    values = np.empty(draws)
    for draw in range(draws):
        weight = np.empty(len(order))
        weight[sides] = np.bincount(rng.integers(0, n_train, n_train), minlength=n_train)
        weight[~sides] = np.bincount(rng.integers(0, n_holdout, n_holdout), minlength=n_holdout)
        members = np.add.reduceat(np.where(sides, weight, 0.0), starts)
        others = np.add.reduceat(np.where(sides, 0.0, weight), starts)
        values[draw] = (members * (np.cumsum(others) - 0.5 * others)).sum()
    low, high = np.quantile(values / (n_train * n_holdout), [(1 - confidence) / 2, (1 + confidence) / 2])
    point = area(scores, train)
    return Estimate(
        value=point,
        low=float(min(low, point)),
        high=float(max(high, point)),
        n=n_train + n_holdout,
        method=f"AUC; {confidence:.0%} bootstrap over units within sides, {draws} draws",
    )


def at_false_positive_rate(scores: FloatArray, train: BoolArray, asked: float) -> LowFalsePositive:
    """Return the operating point with the largest realised false-positive rate that is at most `asked`."""
    holdout = np.sort(scores[~train])[::-1]
    n_holdout, n_train = len(holdout), int(train.sum())
    allowed = int(np.floor(asked * n_holdout + 1e-9))
    threshold = float(holdout[allowed]) if allowed < n_holdout else -np.inf
    false = int((holdout > threshold).sum())
    true = int((scores[train] > threshold).sum())
    low_t, high_t = clopper_pearson(true, n_train)
    low_f, high_f = clopper_pearson(false, n_holdout)
    return LowFalsePositive(
        tpr=Estimate(
            value=true / n_train,
            low=low_t,
            high=high_t,
            n=n_train,
            method=f"TPR at FPR <= {asked:g}; 95 % Clopper-Pearson",
        ),
        fpr=Estimate(
            value=false / n_holdout,
            low=low_f,
            high=high_f,
            n=n_holdout,
            method=f"realised FPR, asked {asked:g}; 95 % Clopper-Pearson",
        ),
        threshold=threshold,
        resolvable=n_holdout >= 10 / asked - 1e-9,
    )
