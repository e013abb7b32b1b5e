"""The blocks of the unified statistic: what one record may put into each cell, and how much of it.

Public specs: shapes, scales and norm bounds. It does not know how a block is computed or noised.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privdistill.errors import PrivacyError

__all__ = [
    "Block",
    "ClassRule",
    "CountBlock",
    "FloatArray",
    "HeadGradientBlock",
    "IntArray",
    "LengthBlock",
    "MomentBlock",
    "OpeningBlock",
    "SecondMomentBlock",
    "TokenBlock",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class ClassRule:
    """How one record finds its class block, from that record alone.

    Attributes:
        names: class names; declared, released, or `cluster-i`.
        centres: None when the class is the record's label (a label outside `names` falls into `names[other]`, or, when
            `other` is None, the record contributes zeros to the class blocks); otherwise public cluster centres of
            shape (K, D) in encoder space and the class is the nearest one.
        other: index of the class that takes unknown labels.
    """

    names: tuple[str, ...]
    centres: FloatArray | None = None
    other: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """One block of the unified statistic; `scale` is a public constant."""

    scale: float

    @property
    def name(self) -> str:
        """Key of the block in `Release.payload`."""
        raise PrivacyError("a bare Block has no meaning; use one of its kinds")

    @property
    def norm_bound(self) -> float:
        """Largest L2 norm of one record's unscaled block."""
        return 1.0

    @property
    def per_class(self) -> bool:
        """Whether the block is repeated for each class (a record fills one class block only)."""
        return True

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one class block."""
        return ()


@dataclass(frozen=True, slots=True, eq=False)
class CountBlock(Block):
    """One cell per class: the number of records. Released as (K,)."""

    @property
    def name(self) -> str:  # noqa: D102
        return "count"


@dataclass(frozen=True, slots=True, eq=False)
class MomentBlock(Block):
    """Sum of h = clip(basisᵀ(f(x) - centre), clip). Released as (K, d)."""

    centre: FloatArray  # (D,)
    basis: FloatArray  # (D, d)
    clip: float

    @property
    def name(self) -> str:  # noqa: D102
        return "moment"

    @property
    def norm_bound(self) -> float:  # noqa: D102
        return self.clip

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102
        return (int(self.basis.shape[1]),)


@dataclass(frozen=True, slots=True, eq=False)
class SecondMomentBlock(Block):
    """Sum over all classes of h hᵀ (off-diagonals weigh sqrt 2 inside). Released as a symmetric (d, d)."""

    centre: FloatArray  # (D,)
    basis: FloatArray  # (D, d)
    clip: float

    @property
    def name(self) -> str:  # noqa: D102
        return "second"

    @property
    def norm_bound(self) -> float:  # noqa: D102
        return self.clip**2

    @property
    def per_class(self) -> bool:  # noqa: D102
        return False

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102
        d = int(self.basis.shape[1])
        return (d * (d + 1) // 2,)


@dataclass(frozen=True, slots=True, eq=False)
class TokenBlock(Block):
    """Unit-norm presence of public vocabulary columns. Released as (K, width).

    Attributes:
        columns: (tokenizer size,) column of each token id, -1 for none.
        width: number of columns.
    """

    columns: IntArray
    width: int

    @property
    def name(self) -> str:  # noqa: D102
        return "tokens"

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102
        return (self.width,)


@dataclass(frozen=True, slots=True, eq=False)
class OpeningBlock(Block):
    """One-hot of the token at each of the first `positions` positions, each weighing 1/sqrt(positions).

    Released as (K, positions, width), multiplied back by sqrt(positions): cells are record counts.
    """

    columns: IntArray
    width: int
    positions: int

    @property
    def name(self) -> str:  # noqa: D102
        return "opening"

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102
        return (self.positions, self.width)


@dataclass(frozen=True, slots=True, eq=False)
class LengthBlock(Block):
    """One-hot of the bucket of the record's token count. Released as (K, len(edges) + 1).

    Attributes:
        edges: increasing public token counts; bucket i holds edges[i-1] <= tokens < edges[i].
    """

    edges: tuple[int, ...]

    @property
    def name(self) -> str:  # noqa: D102
        return "length"

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102
        return (len(self.edges) + 1,)


@dataclass(frozen=True, slots=True, eq=False)
class HeadGradientBlock(Block):
    """Sum of clipped per-record gradients of the cross-entropy of a linear head at R public checkpoints.

    The gradient of a record at one checkpoint is (softmax(W [h; 1]) - e_y) ⊗ [h; 1], of shape (K, d + 1); those at all
    checkpoints are one vector, clipped to `clip` in L2 as a whole. Released as (K, R, K, d + 1): one sum per class.
    """

    centre: FloatArray  # (D,)
    basis: FloatArray  # (D, d)
    feature_clip: float
    weights: FloatArray  # (R, K, d + 1)
    clip: float

    @property
    def name(self) -> str:  # noqa: D102
        return "gradient"

    @property
    def norm_bound(self) -> float:  # noqa: D102
        return self.clip

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102
        return tuple(int(n) for n in self.weights.shape)
