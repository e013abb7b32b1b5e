"""Intervals of what an evaluation reports: over test records, over generations, over halves of a sample.

Every function returns an `Estimate`, which names its n and its method. They know counts and arrays, not what these
stand for; `tests` hold each to its coverage by simulation.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from audits.findings import Estimate

__all__ = ["bootstrapped", "half_sampled", "over_generations", "paired_difference", "paired_ratio", "wilson"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_Z = 1.959963984540054
_DRAWS = 1000
_HALVES = 24


def wilson(share: float, n: int, of: str = "test records") -> Estimate:
    """95 % Wilson interval of a share of n records.

    Example:
        >>> round(wilson(0.5, 100).low, 3)
        0.404
    """
    method = f"Wilson 95 %, {of}"
    if n == 0:
        return Estimate(value=0.0, low=0.0, high=1.0, n=0, method=method)
    centre = (share + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
    half = _Z / (1 + _Z**2 / n) * math.sqrt(share * (1 - share) / n + _Z**2 / (4 * n * n))
    return Estimate(value=share, low=max(0.0, centre - half), high=min(1.0, centre + half), n=n, method=method)


def bootstrapped(
    statistic: Callable[[FloatArray], FloatArray], cells: FloatArray, rng: np.random.Generator, of: str = "test records"
) -> Estimate:
    """Percentile bootstrap of a statistic of a table of counts: records are redrawn with replacement.

    Args:
        statistic: (..., *shape) tables -> (...) values.
        cells: the table; fractional counts (a mean of several tables) are allowed.
        rng: randomness of the draws.
        of: what the counts count.
    """
    value = float(statistic(cells[None])[0])
    n = round(float(cells.sum()))
    method = f"percentile bootstrap 95 %, {_DRAWS} draws of {of}"
    if n == 0:
        return Estimate(value=value, low=value, high=value, n=0, method=method)
    draws = rng.multinomial(n, (cells / cells.sum()).ravel(), size=_DRAWS).reshape(_DRAWS, *cells.shape)
    low, high = np.quantile(statistic(draws.astype(np.float64)), (0.025, 0.975))
    return Estimate(value=value, low=min(float(low), value), high=max(float(high), value), n=n, method=method)


def over_generations(values: Sequence[float]) -> Estimate | None:
    """Student's t interval of the mean of independent generations, the test records held fixed; None for one."""
    if len(values) < 2:
        return None
    from scipy import stats

    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Estimate(
        value=mean, low=mean - half, high=mean + half, n=n, method="Student t 95 %, generations, the same test records"
    )


def half_sampled(
    statistic: Callable[[Sequence[IntArray]], float], sizes: Sequence[int], rng: np.random.Generator, of: str
) -> Estimate:
    """A statistic of one or more samples, with the spread that random halves of them show.

    Half of a sample drawn without replacement deviates from the whole as much as the whole does from its population,
    so the standard deviation over halves is the statistic's own; a bias that depends on size drops out, because only
    the spread of the halves is used.

    Args:
        statistic: indices into each sample -> a number.
        sizes: size of each sample.
        rng: randomness of the halves.
        of: what the samples hold.
    """
    value = float(statistic([np.arange(size) for size in sizes]))
    n = min(sizes)
    method = f"delete-half jackknife, normal 95 %, {_HALVES} halves of {of}"
    if n < 4:
        raise ValueError(f"expected at least 4 {of} to take halves of, found {n}; give a larger sample")
    halves = [statistic([rng.permutation(size)[: size // 2] for size in sizes]) for _ in range(_HALVES)]
    half = _Z * float(np.std(halves, ddof=1))
    return Estimate(value=value, low=value - half, high=value + half, n=n, method=method)


def paired_difference(one: npt.ArrayLike, other: npt.ArrayLike) -> Estimate:
    """Mean difference of two scores of the same records (0 or 1, or means of several answers), normal interval."""
    gap = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)  # (n,)
    half = _Z * float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else 1.0
    mean = float(gap.mean())
    return Estimate(
        value=mean, low=mean - half, high=mean + half, n=len(gap), method="paired normal 95 %, test records"
    )


def paired_ratio(one: npt.ArrayLike, other: npt.ArrayLike, rng: np.random.Generator) -> Estimate | None:
    """Ratio of two accuracies on the same records, percentile bootstrap; None when the second is zero."""
    pair = np.stack([np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)], axis=1)  # (n, 2)
    n, sums = len(pair), pair.sum(axis=0)
    if sums[1] == 0:
        return None
    draws = rng.integers(n, size=(_DRAWS, n))
    totals = np.stack([pair[draw].sum(axis=0) for draw in draws])  # (draws, 2)
    low, high = np.quantile(totals[:, 0] / np.maximum(totals[:, 1], 1.0), (0.025, 0.975))
    return Estimate(
        value=float(sums[0] / sums[1]),
        low=float(low),
        high=float(high),
        n=n,
        method=f"percentile bootstrap 95 %, {_DRAWS} draws of test records, paired",
    )
