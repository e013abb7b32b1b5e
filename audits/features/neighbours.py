"""Nearest neighbours in meaning, by exact search: of each record among the synthetic rows, and among other units.

How much closer the closest synthetic row is than anybody else's record, in spreads of all records (median and median
absolute deviation of both sides together, so that no encoder's scale matters). It does not know sides.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Neighbours", "closeness", "rewritten"]

FloatArray = npt.NDArray[np.float64]
VectorArray = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_BLOCK = 512
_TO_DEVIATION = 1.4826


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Neighbours:
    """Per record.

    Attributes:
        similarity: cosine to the closest synthetic row.
        row: that row.
        others: cosine to the closest record of another unit; -1 where there is none.
    """

    similarity: FloatArray
    row: IntArray
    others: FloatArray

    @classmethod
    def of(cls, records: VectorArray, unit_of: IntArray, rows: VectorArray) -> "Neighbours":
        """Search exactly; `records` and `rows` are unit vectors."""
        count = len(records)
        similarity, row, others = np.zeros(count), np.zeros(count, np.int64), np.full(count, -1.0)
        for begin in range(0, count, _BLOCK):
            end = min(begin + _BLOCK, count)
            near = records[begin:end] @ rows.T  # (block, rows)
            best = near.argmax(axis=1)
            row[begin:end], similarity[begin:end] = best, near[np.arange(end - begin), best]
            real = records[begin:end] @ records.T  # (block, records)
            first = np.searchsorted(unit_of, unit_of[begin:end], side="left")
            last = np.searchsorted(unit_of, unit_of[begin:end], side="right")
            for place, (start, stop) in enumerate(zip(first, last, strict=True)):
                real[place, start:stop] = -1.0
            others[begin:end] = real.max(axis=1)
        return cls(similarity, row, others)

    def gain(self) -> FloatArray:
        """How much closer, by cosine distance on a log scale, the synthetic row is than any other unit's record."""
        return np.asarray(np.log(_distance(self.others)) - np.log(_distance(self.similarity)), np.float64)


def closeness(gain: FloatArray, of: FloatArray) -> FloatArray:
    """Standardise gains by median and median absolute deviation of some others."""
    middle = float(np.median(of))
    spread = _TO_DEVIATION * float(np.median(np.abs(of - middle)))
    return np.asarray((gain - middle) / max(spread, 1e-6), np.float64)


def rewritten(texts: list[str], rng: np.random.Generator) -> list[str]:
    """Return crude paraphrases: one word in five dropped, the others in another order."""
    out = []
    for text in texts:
        words = text.split()
        kept = rng.permutation(len(words))[: max(1, round(0.8 * len(words)))]
        out.append(" ".join(words[place] for place in kept))
    return out


def _distance(cosine: FloatArray) -> FloatArray:
    return np.asarray(np.maximum(1 - cosine, 1e-4), np.float64)
