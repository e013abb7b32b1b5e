"""Rank statistics for a max-T test of any score: members among the top k for several k, and the rank sum.

They look at sides in rank order, so a score of any scale will do. They know no score.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Tops", "ranked", "tops"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

_SHARES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)


@dataclass(frozen=True, slots=True, eq=False)
class Tops:
    """The statistics of `units` units; see `statistics.families.maximum`."""

    sizes: npt.NDArray[np.int64]
    ranks: FloatArray

    def __call__(self, sides: BoolArray) -> FloatArray:
        """Return (draws, statistics) of sides in rank order (draws, units)."""
        starts = np.concatenate([[0], self.sizes])
        counts = np.add.reduceat(sides, starts[starts < sides.shape[1]], axis=1, dtype=np.int64)
        top = np.cumsum(counts, axis=1)[:, : len(self.sizes)]
        return np.concatenate([top, (sides @ self.ranks)[:, None]], axis=1)


def tops(units: int) -> Tops:
    """Return the statistics for some number of units."""
    sizes = np.unique(np.maximum(1, np.round(np.array(_SHARES) * units)).astype(np.int64))
    return Tops(sizes, np.arange(units, 0, -1) / units)


def ranked(scores: FloatArray, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Return the order of descending scores, ties in random order: never in an order that knows the sides."""
    return np.lexsort((rng.random(len(scores)), -scores))
