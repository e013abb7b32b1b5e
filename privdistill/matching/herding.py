"""Distribution matching by selection: the subset whose mean feature comes closest to a target, greedily.

Each step takes the candidate that brings the running sum nearest to the target times its size (herding). It does not
know what the features are; the caller weighs their columns.
"""

from collections.abc import Callable

import numpy as np

from privdistill.mechanisms.release import FloatArray

__all__ = ["herd"]


def herd(
    features: FloatArray,
    target: FloatArray,
    count: int,
    *,
    accept: Callable[[int], bool] = lambda _: True,
    bonus: FloatArray | None = None,
) -> list[int]:
    """Indices of at most `count` candidates, in the order taken.

    Args:
        features: (n, D) weighted features.
        target: (D,) weighted target mean.
        count: how many to take.
        accept: asked once for each candidate about to be taken; a refused one is never asked again.
        bonus: (n,) subtracted from a candidate's squared distance, to prefer some at little cost.
    """
    norms = np.einsum("ij,ij->i", features, features)  # (n,)
    if bonus is not None:
        norms = norms - bonus
    alive = np.ones(len(features), dtype=bool)  # (n,)
    towards = features @ target  # (n,)
    overlap = np.zeros(len(features))  # (n,) features @ sum of what was taken
    taken: list[int] = []
    while len(taken) < count and alive.any():
        # |sum + z - (m + 1) target|^2 up to a constant; only the overlap changes from step to step
        score = norms + 2 * (overlap - (len(taken) + 1) * towards)
        best = int(np.argmin(np.where(alive, score, np.inf)))
        alive[best] = False
        if accept(best):
            taken.append(best)
            overlap += features @ features[best]
    return taken
