"""What refinement aims at: one class, the gradients of its candidates, and the noised target of their sum.

It knows numbers and indices into a pool, no models and no texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privdistill.mechanisms.release import FloatArray

__all__ = ["Goal"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Goal:
    """One class and where the gradients of its rows should point.

    Attributes:
        k: the class.
        prompt: that asks for it.
        members: candidates of the class, indices into the pool.
        gradients: (m, F) of the members.
        target: (F,) noised and shrunk.
        chosen: which members (positions, not indices) the matcher takes without refinement.
        quota: rows of the class.
        matcher: which of the two found them, `greedy` or `frank-wolfe`.
    """

    k: int
    prompt: str
    members: IntArray
    gradients: FloatArray
    target: FloatArray
    chosen: Sequence[int]
    quota: int
    matcher: str = "greedy"
