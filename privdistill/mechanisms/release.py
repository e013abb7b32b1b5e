"""What crosses the door: requests going in (public specs), releases coming out (noised payloads).

Everything here is data. A request is declarative (numbers, arrays, names), never a callable, so a recipe cannot run
code on the private side. A `Release` is safe to hand to anybody: its payload is noised and its record says how.

It does not know how a statistic is computed, how noise is drawn or who is charged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from privdistill.errors import PrivacyError

__all__ = [
    "Block",
    "ClassRule",
    "CountBlock",
    "DisclosureRequest",
    "ExpertRequest",
    "FloatArray",
    "HeadGradientBlock",
    "IntArray",
    "LengthBlock",
    "MechanismRecord",
    "MechanismRequest",
    "MomentBlock",
    "OpeningBlock",
    "PrivateUnits",
    "Release",
    "Reservation",
    "SecondMomentBlock",
    "StatisticRequest",
    "TokenBlock",
    "VoteBlock",
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


@dataclass(frozen=True, slots=True, eq=False)
class VoteBlock(Block):
    """One vote a record, for the nearest public candidate of its class. Released as (K, most candidates of a class).

    Attributes:
        candidates: for each class, embeddings (M, D) of public texts; a class without any gets no vote.
    """

    candidates: tuple[FloatArray, ...]

    @property
    def name(self) -> str:  # noqa: D102
        return "votes"

    @property
    def shape(self) -> tuple[int, ...]:  # noqa: D102
        return (max(1, *map(len, self.candidates)),)


@dataclass(frozen=True, slots=True, eq=False)
class StatisticRequest:
    """Ask for one full-batch Gaussian statistic under the plan entry `name`."""

    name: str
    classes: ClassRule
    blocks: tuple[Block, ...]

    def __post_init__(self) -> None:
        """Refuse what has no stated sensitivity."""
        names = [block.name for block in self.blocks]
        if not names or len(set(names)) != len(names):
            raise PrivacyError(
                f"expected distinct blocks in statistic {self.name!r}, found {names}; give each kind once"
            )
        for block in self.blocks:
            for value, what in ((block.scale, "scale"), (block.norm_bound, "norm bound")):
                if not (np.isfinite(value) and value > 0):
                    raise PrivacyError(f"expected a positive finite {what} for block {block.name!r}, found {value}")

    @property
    def sensitivity_parts(self) -> dict[str, float]:
        """Scale times norm bound of each block, for one record."""
        return {block.name: block.scale * block.norm_bound for block in self.blocks}

    @property
    def dimension(self) -> int:
        """Number of cells, noised every one."""
        k = len(self.classes.names)
        return sum((k if block.per_class else 1) * int(np.prod(block.shape, dtype=np.int64)) for block in self.blocks)


@dataclass(frozen=True, slots=True)
class DisclosureRequest:
    """Ask for private records as they are. Only recipe `passthrough` may; the claim's epsilon becomes null."""

    name: str
    rows: int


@dataclass(frozen=True, slots=True, eq=False)
class ExpertRequest:
    """Ask for one DP-SGD run of a linear head on frozen features under the plan entry `name`; see `mechanisms.expert`.

    Noise multiplier, sample rate and steps are those of the plan.

    Attributes:
        centre: (D,) of the public map.
        basis: (D, d) of the public map.
        feature_clip: norm bound of the mapped embedding.
        start: (K, d + 1) public or released weights of the head, bias last.
        max_grad_norm: norm to which one unit's gradient is clipped.
        expected_units: number of units, declared or noised: what a batch size is expected from.
        learning_rate: of plain gradient descent.
        momentum: of the same; post-processing.
    """

    name: str
    classes: ClassRule
    centre: FloatArray
    basis: FloatArray
    feature_clip: float
    start: FloatArray
    max_grad_norm: float
    expected_units: float
    learning_rate: float
    momentum: float = 0.0


MechanismRequest = StatisticRequest | DisclosureRequest | ExpertRequest


class Reservation(NamedTuple):
    """One mechanism of a plan as the ledger charges it, before anything is drawn."""

    name: str
    kind: str
    noise_multiplier: float | None
    sample_rate: float = 1.0
    steps: int = 1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PrivateUnits:
    """The train side of the corpus, by privacy unit. Made by `corpus`, read by mechanisms, seen by nobody else.

    Attributes:
        texts: n texts.
        labels: n labels, or None when the corpus is unlabelled.
        unit_of: (n,) index of the unit of each record; records of one unit are adjacent.
        unit: `record`, or the name of the unit column.
        contribution_bound: at most so many records carry the same index.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    unit_of: IntArray
    unit: str
    contribution_bound: int

    def spans(self) -> list[tuple[int, int]]:
        """(first record, one past the last) of each unit."""
        starts = np.flatnonzero(np.diff(self.unit_of, prepend=-1)).tolist()
        return list(zip(starts, [*starts[1:], int(self.unit_of.size)], strict=True)) if starts else []

    def __repr__(self) -> str:
        """Say nothing: not even how many."""
        return "PrivateUnits(<private>)"


@dataclass(frozen=True, slots=True)
class MechanismRecord:
    """How a release was made; becomes one `mechanisms` entry of claim.json and one charge in the ledger."""

    name: str
    kind: Literal["gaussian", "sampled-gaussian", "gaussian-threshold", "none"]
    noise_multiplier: float | None
    sample_rate: float
    steps: int
    sensitivity: float | None
    sensitivity_parts: Mapping[str, float]
    sampler: Literal["full-batch", "poisson", "none"]
    noise: Literal["discrete-gaussian", "float-gaussian", "none"]
    dimension: int
    noise_grid_steps: float | None
    delta_discretisation: float
    delta_threshold: float


@dataclass(frozen=True, slots=True, eq=False)
class Release:
    """A noised payload and the record of the mechanism that made it.

    Attributes:
        payload: block name -> noisy sums in *unscaled* units (counts are counts of records), float64.
        noise: block name -> standard deviation of the noise in one cell, in the same units.
        record: how it was made.
        classes: class names, in block order.
        rows: disclosed records (text, label), for kind `none` only.
    """

    payload: Mapping[str, FloatArray]
    noise: Mapping[str, float]
    record: MechanismRecord
    classes: tuple[str, ...]
    rows: tuple[tuple[str, str], ...] = field(default=())

    def block(self, name: str) -> FloatArray:
        """Noisy unscaled sums of one block."""
        return self.payload[name]
