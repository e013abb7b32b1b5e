"""Intervals of what an evaluation reports: over test records, over generations, over draws, over halves of a sample.

Every function returns an `Estimate`, which names its n and its method, and whose ends lie in the range of the measure.
Where nothing varies in what was seen (no error at all, two students that agree on every record), a bootstrap or a
normal interval has no width, which says more than n records can: then the interval is Wilson's for what was seen on
none of n records, and the method says so. A paired interval is never narrower than that, so a record on which two
students differ does not make their difference surer. Generations that agree have no width; the method says that too.
They know counts and arrays, not what these stand for; `tests` hold each to its coverage by simulation.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from audits.findings import Estimate

__all__ = [
    "bootstrapped",
    "half_sampled",
    "over_draws",
    "over_generations",
    "paired_difference",
    "paired_ratio",
    "seen_on_none",
    "wilson",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_Z = 1.959963984540054
_DRAWS = 1000
_HALVES = 24
_SAME = 1e-12
"""Values that differ by less differ by rounding."""


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


def seen_on_none(n: int) -> float:
    """The largest share that Wilson's 95 % interval allows to what was seen on none of n records.

    Example:
        >>> round(seen_on_none(1000), 4)
        0.0038
    """
    return wilson(0.0, n).high


def bootstrapped(
    statistic: Callable[[FloatArray], FloatArray], cells: FloatArray, rng: np.random.Generator, of: str = "test records"
) -> Estimate:
    """Percentile bootstrap of a statistic of a table of counts: records are redrawn with replacement.

    Where all draws agree, each row (a class) is answered in one way: then the Wilson half-widths of the rows are
    combined in quadrature, as for a mean over rows.

    Args:
        statistic: (..., *shape) tables -> (...) values from 0 to 1.
        cells: the table; fractional counts (a mean of several tables) are allowed.
        rng: randomness of the draws.
        of: what the counts count.
    """
    value = float(statistic(cells[None])[0])
    n = round(float(cells.sum()))
    method = f"percentile bootstrap 95 %, {_DRAWS} draws of {of}"
    if n == 0:
        return Estimate(value=value, low=0.0, high=1.0, n=0, method=method)
    draws = rng.multinomial(n, (cells / cells.sum()).ravel(), size=_DRAWS).reshape(_DRAWS, *cells.shape)
    low, high = np.quantile(statistic(draws.astype(np.float64)), (0.025, 0.975))
    if high - low < _SAME:
        sizes = [round(size) for size in cells.reshape(len(cells), -1).sum(axis=1).tolist() if size > 0]
        half = math.sqrt(sum(seen_on_none(size) ** 2 for size in sizes)) / len(sizes)
        low, high = value - half, value + half
        method = f"Wilson 95 % by class in quadrature, {of}: all bootstrap draws agree"
    return _estimate(value, float(low), float(high), n, method, (0.0, 1.0))


def over_generations(values: Sequence[float]) -> Estimate | None:
    """Student's t interval of the mean of independent generations, the test records held fixed; None for one."""
    if len(values) < 2:
        return None
    from scipy import stats

    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.ppf(0.975, n - 1)) * float(np.std(values, ddof=1)) / math.sqrt(n)
    method = "Student t 95 %, generations, the same test records"
    if half < _SAME:
        method += "; no spread was seen, and few generations show little"
    return _estimate(mean, mean - half, mean + half, n, method, (0.0, 1.0))


def over_draws(shares: Sequence[float], n: int) -> Estimate:
    """A mean of shares of the same n test records, one share a random draw of training rows.

    Test records and draws both vary: Wilson's half-widths of the mean share and Student's t half-width of the mean over
    draws are combined in quadrature. With one draw nothing is known of how draws vary, and Wilson's interval stands.

    Example:
        >>> over_draws([0.5, 0.5], 100) == wilson(0.5, 100)
        False
    """
    records = wilson(float(np.mean(shares)), n)
    if len(shares) < 2:
        return records
    from scipy import stats

    spread = float(np.std(shares, ddof=1)) / math.sqrt(len(shares)) * float(stats.t.ppf(0.975, len(shares) - 1))
    return _estimate(
        records.value,
        records.value - math.hypot(records.value - records.low, spread),
        records.value + math.hypot(records.high - records.value, spread),
        n,
        f"Wilson 95 % over test records and Student t 95 % over {len(shares)} draws of rows, in quadrature",
        (0.0, 1.0),
    )


def half_sampled(
    statistic: Callable[[Sequence[IntArray]], float],
    sizes: Sequence[int],
    rng: np.random.Generator,
    of: str,
    span: tuple[float, float],
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
        span: the range of the statistic.
    """
    value = float(statistic([np.arange(size) for size in sizes]))
    n = min(sizes)
    method = f"delete-half jackknife, normal 95 %, {_HALVES} halves of {of}"
    if n < 4:
        raise ValueError(f"expected at least 4 {of} to take halves of, found {n}; give a larger sample")
    halves = [statistic([rng.permutation(size)[: size // 2] for size in sizes]) for _ in range(_HALVES)]
    half = _Z * float(np.std(halves, ddof=1))
    if half < _SAME and span == (0.0, 1.0):
        half, method = seen_on_none(n), f"Wilson 95 %, {of}: all {_HALVES} random halves agree"
    return _estimate(value, value - half, value + half, n, method, span)


def paired_difference(one: npt.ArrayLike, other: npt.ArrayLike) -> Estimate:
    """Mean difference of two scores of the same records (0 or 1, or means of several answers), normal interval."""
    gap = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)  # (n,)
    half = _Z * float(gap.std(ddof=1)) / math.sqrt(len(gap)) if len(gap) > 1 else 0.0
    mean, least, method = float(gap.mean()), seen_on_none(len(gap)), "paired normal 95 %, test records"
    if half < least:
        half, method = least, "paired Wilson 95 %, test records: the difference is the same on all, or nearly"
    return _estimate(mean, mean - half, mean + half, len(gap), method, (-1.0, 1.0))


def paired_ratio(one: npt.ArrayLike, other: npt.ArrayLike, rng: np.random.Generator) -> Estimate | None:
    """Ratio of two accuracies on the same records, percentile bootstrap; None when the second is zero."""
    pair = np.stack([np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)], axis=1)  # (n, 2)
    n, sums = len(pair), pair.sum(axis=0)
    if sums[1] == 0:
        return None
    draws = rng.integers(n, size=(_DRAWS, n))
    totals = np.stack([pair[draw].sum(axis=0) for draw in draws])  # (draws, 2)
    low, high = np.quantile(totals[:, 0] / np.maximum(totals[:, 1], 1.0), (0.025, 0.975))
    value, method = float(sums[0] / sums[1]), f"percentile bootstrap 95 %, {_DRAWS} draws of test records, paired"
    least = seen_on_none(n) * n / float(sums[1])
    if high - value < least and value - low < least:
        low, high = value - least, value + least
        method = "paired Wilson 95 % as a share, test records: bootstrap draws agree, or nearly"
    return _estimate(value, float(low), float(high), n, method, (0.0, math.inf))


def _estimate(value: float, low: float, high: float, n: int, method: str, span: tuple[float, float]) -> Estimate:
    """Ends within the range of the measure and on either side of the value."""
    least, most = span
    return Estimate(value=value, low=min(value, max(low, least)), high=max(value, min(high, most)), n=n, method=method)
