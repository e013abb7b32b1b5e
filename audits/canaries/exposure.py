"""Exposure of planted secrets, in bits: log2 of how many candidates there are, less log2 of the secret's rank.

The candidates that were never planted are the reference; a canary that outranks them all has the exposure
log2(candidates + 1), which is as much as this many candidates can show. It knows scores only.
"""

import numpy as np
import numpy.typing as npt

from audits.findings import Estimate

__all__ = ["exposure", "median_exposure"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


def exposure(scores: FloatArray, planted: BoolArray) -> FloatArray:
    """Return the exposure of every planted canary; ties rank in the middle.

    >>> exposure(np.array([9.0, 1.0, 2.0, 3.0]), np.array([True, False, False, False]))
    array([2.])
    """
    others = np.sort(scores[~planted])
    above = len(others) - np.searchsorted(others, scores[planted], side="right")
    level = np.searchsorted(others, scores[planted], side="right") - np.searchsorted(others, scores[planted])
    return np.asarray(np.log2(len(others) + 1) - np.log2(1 + above + level / 2), np.float64)


def median_exposure(scores: FloatArray, planted: BoolArray, rng: np.random.Generator, draws: int = 1_000) -> Estimate:
    """Return the median exposure with a bootstrap interval, planted and other canaries drawn each for themselves."""
    ours, others = scores[planted], scores[~planted]
    sides = np.arange(len(scores)) < len(ours)
    medians = [
        float(
            np.median(exposure(np.concatenate([rng.choice(ours, len(ours)), rng.choice(others, len(others))]), sides))
        )
        for _ in range(draws)
    ]
    point = float(np.median(exposure(scores, planted)))
    low, high = np.quantile(medians, [0.025, 0.975])
    return Estimate(
        value=point,
        low=float(min(low, point)),
        high=float(max(high, point)),
        n=len(scores),
        method=f"median exposure in bits, chance is 1, at most {np.log2(len(others) + 1):.1f}; 95 % bootstrap, "
        f"{draws} draws",
    )
