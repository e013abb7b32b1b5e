"""Distribution matching by selection: the subset whose mean feature comes closest to a target, greedily.

Each step takes the candidate that brings the running sum nearest to the target times its size (herding). It does not
know what the features are; the caller weighs their columns.
"""

import numpy as np

from privdistill.mechanisms.release import FloatArray

__all__ = ["Herd", "herd"]


class Herd:
    """A growing subset of candidates.

    Attributes:
        taken: indices of what was taken, in order.
    """

    def __init__(self, features: FloatArray, target: FloatArray, bonus: FloatArray | None = None) -> None:
        """Nothing is taken yet.

        Args:
            features: (n, D) weighted features.
            target: (D,) weighted target mean.
            bonus: (n,) subtracted from a candidate's squared distance, to prefer some at little cost.
        """
        self._features = np.asarray(features, dtype=np.float32)  # (n, D) every step reads all of it, so half the bytes
        norms = np.einsum("ij,ij->i", features, features)  # (n,)
        self._norms = norms if bonus is None else norms - bonus
        self._towards = features @ target  # (n,)
        self._overlap = np.zeros(len(features))  # (n,) features @ sum of what was taken
        self._alive = np.ones(len(features), dtype=bool)  # (n,)
        self.taken: list[int] = []

    def __bool__(self) -> bool:
        """Whether a candidate is left."""
        return bool(self._alive.any())

    def best(self, cost: FloatArray | float = 0.0) -> int:
        """The candidate left over that brings the sum nearest to the target times its size, a further cost added."""
        # |sum + z - (m + 1) target|^2 up to a constant; only the overlap changes from step to step
        score = self._norms + 2 * (self._overlap - (len(self.taken) + 1) * self._towards) + cost
        return int(np.argmin(np.where(self._alive, score, np.inf)))

    def refuse(self, i: int) -> None:
        """Never offer it again."""
        self._alive[i] = False

    def take(self, i: int) -> None:
        """Add it to the subset."""
        self._alive[i] = False
        self.taken.append(i)
        self._overlap += self._features @ self._features[i]


def herd(features: FloatArray, target: FloatArray, count: int) -> list[int]:
    """Indices of at most `count` candidates, in the order taken.

    Args:
        features: (n, D) weighted features.
        target: (D,) weighted target mean.
        count: how many to take.
    """
    found = Herd(features, target)
    while len(found.taken) < count and found:
        found.take(found.best())
    return found.taken
