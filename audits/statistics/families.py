"""One p-value for a family of dependent statistics, by re-drawing the sides.

Two forms: `concentration` for yes/no flags at several thresholds (smallest exact hypergeometric p, calibrated on
re-drawn sides), and `maximum` for any scores (largest standardised statistic). Both hold whatever the dependence
between units and thresholds, for any fixed-size or Bernoulli split of units. They know arrays only.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.statistics.hypergeometric import tail_table

__all__ = ["FamilyTest", "MaximumTest", "concentration", "maximum"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

REDRAWS = 9_999
CALIBRATION = 999


@dataclass(frozen=True, slots=True, eq=False)
class FamilyTest:
    """Result of a family.

    Attributes:
        p_value: valid for the whole family.
        best: index of the threshold or statistic that stands out most.
        train: per threshold, flagged units on the train side (zeros for scores).
        flagged: per threshold, flagged units on both sides.
        null: p-values that the same procedure gives on further re-drawn sides: the null calibration of this run.
    """

    p_value: float
    best: int
    train: IntArray
    flagged: IntArray
    null: FloatArray


def concentration(flags: BoolArray, train: BoolArray, rng: np.random.Generator, redraws: int = REDRAWS) -> FamilyTest:
    """Test whether flagged units concentrate on the train side, over all thresholds at once.

    Args:
        flags: (units, thresholds); which units are flagged. Must not depend on the sides.
        train: (units,) side of each unit.
        rng: for the re-drawn sides.
        redraws: number of re-drawn sides; exact without them when one threshold is left.

    Guarantee: P[p_value <= a] <= a for every a, if the sides are exchangeable given the flags.
    """
    n_train, n_holdout = int(train.sum()), int((~train).sum())
    codes = flags.astype(np.int64) @ (1 << np.arange(flags.shape[1]))
    _, first, pattern_of = np.unique(codes, return_index=True, return_inverse=True)
    patterns = flags[first]
    sizes = np.bincount(pattern_of, minlength=len(patterns))
    observed = np.bincount(pattern_of[train], minlength=len(patterns)) @ patterns
    flagged = sizes @ patterns
    tables = [tail_table(int(count), n_train, n_holdout) for count in flagged]
    point = np.array([table[count] for table, count in zip(tables, observed, strict=True)])
    best = int(np.argmin(point)) if len(point) else 0
    if not flagged.any():
        return FamilyTest(1.0, best, observed, flagged, np.ones(1))
    drawn = rng.multivariate_hypergeometric(sizes, n_train, size=redraws + CALIBRATION, method="marginals") @ patterns
    smallest = np.min([table[drawn[:, level]] for level, table in enumerate(tables)], axis=0)
    if len({tuple(column) for column in patterns.T if column.any()}) == 1:
        return FamilyTest(float(point[best]), best, observed, flagged, smallest[redraws:])
    ordered = np.sort(smallest[:redraws])
    ranks = 1 + np.searchsorted(ordered, np.append(smallest[redraws:], point[best]) * (1 + 1e-12), side="right")
    p_values = ranks / (redraws + 1)
    return FamilyTest(float(p_values[-1]), best, observed, flagged, p_values[:-1])


@dataclass(frozen=True, slots=True, eq=False)
class MaximumTest:
    """A max-T test that can be asked again about other scores of the same units.

    Attributes:
        statistics: sides in rank order, of shape (draws, units) -> (draws, statistics); larger is worse.
        centre: mean of each statistic over re-drawn sides.
        scale: standard deviation of each; infinite where it is zero.
        largest: largest standardised statistic of each re-drawn side, ascending.
    """

    statistics: Callable[[BoolArray], FloatArray]
    centre: FloatArray
    scale: FloatArray
    largest: FloatArray

    def p_value(self, ordered: BoolArray) -> float:
        """Return the p-value of sides given in the order of a score, ties broken at random."""
        return float(self._p_values(ordered[None, :])[0])

    def null(self, ordered: BoolArray, rng: np.random.Generator, draws: int = 299) -> FloatArray:
        """Return the p-values of further re-drawn sides: the null calibration of this run."""
        return self._p_values(rng.permuted(np.repeat(ordered[None, :], draws, axis=0), axis=1))

    def _p_values(self, sides: BoolArray) -> FloatArray:
        standard = ((self.statistics(sides) - self.centre) / self.scale).max(axis=1)
        at_least = len(self.largest) - np.searchsorted(self.largest, standard - 1e-9, side="left")
        return np.asarray((1 + at_least) / (len(self.largest) + 1), np.float64)


def maximum(
    statistics: Callable[[BoolArray], FloatArray],
    units: int,
    train: int,
    rng: np.random.Generator,
    redraws: int = 1_999,
) -> MaximumTest:
    """Prepare the test of the largest of several rank statistics against re-drawn sides (max-T).

    Args:
        statistics: see `MaximumTest`.
        units: number of units.
        train: how many of them are on the train side.
        rng: for the re-drawn sides.
        redraws: number of re-drawn sides.

    Guarantee: P[p_value <= a] <= a (up to the Monte-Carlo error of centre and scale, which enter both sides alike).
    """
    sides = np.zeros(units, np.bool_)
    sides[:train] = True
    chunk = max(1, 4_000_000 // units)
    parts, left = [], redraws
    while left:
        count = min(chunk, left)
        parts.append(statistics(rng.permuted(np.repeat(sides[None, :], count, axis=0), axis=1)))
        left -= count
    drawn = np.concatenate(parts)
    spread = drawn.std(axis=0)
    scale = np.where(spread > 0, spread, np.inf)
    centre = drawn.mean(axis=0)
    return MaximumTest(statistics, centre, scale, np.sort(((drawn - centre) / scale).max(axis=1)))
