"""What crosses the door: requests going in (public specs), releases coming out (noised payloads).

Everything here is data. A request is declarative (numbers, arrays, names), never a callable, so a recipe cannot run
code on the private side. A `Release` is safe to hand to anybody: its payload is noised and its record says how.

It does not know how a statistic is computed, how noise is drawn or who is charged.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np

from privdistill.errors import PrivacyError
from privdistill.mechanisms.release.blocks import (
    Block,
    ClassRule,
    CountBlock,
    FloatArray,
    HeadGradientBlock,
    IntArray,
    LengthBlock,
    MomentBlock,
    OpeningBlock,
    SecondMomentBlock,
    TokenBlock,
)

__all__ = [
    "Block",
    "ClassRule",
    "CountBlock",
    "DisclosureRequest",
    "ExpertRequest",
    "FinetuneRequest",
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
    "unit_parts",
]

_UNIT_SCALE = 0.25
"""Weight of the `units` count, as a share of one record's sensitivity."""


def unit_parts(record_parts: Mapping[str, float], contribution_bound: int) -> Mapping[str, float]:
    """What enters the L2 sensitivity of a full-batch sum, by name: its root sum of squares is the sensitivity.

    Sensitivity: a unit of one record moves the sum by at most S, the root sum of squares of `record_parts`. With a
        contribution bound K > 1, a unit's summed vector is clipped to sqrt(K) S, and its `units` cell weighs S / 4.

    Args:
        record_parts: scale times norm bound of every block that one record fills.
        contribution_bound: K, the most records of one unit.
    """
    if contribution_bound == 1:
        return record_parts
    record = math.sqrt(math.fsum(part**2 for part in record_parts.values()))
    return {"clipped-sum": record * math.sqrt(contribution_bound), "units": record * _UNIT_SCALE}


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


@dataclass(frozen=True, slots=True, eq=False)
class FinetuneRequest:
    """Ask for one DP-SGD run of a public language model under the plan entry `name`.

    Noise multiplier, sample rate and steps are those of the plan; see `mechanisms.finetuning`.

    Attributes:
        model: id of the model, which must be the one that the door was given.
        layers: how many of the last layers are trained; None, with `full` only: all, with embeddings and head.
        rank: of each adapter; None: whole weights are trained.
        full: whether every number of these layers is trained, norms and biases too, and not linear maps alone.
        prompts: for each class, wordings of the text before a record.
        end: token id that ends a record.
        max_tokens: records are read up to this many tokens.
        shortlist: (S,) public token ids over which the softmax runs, or None for all of them.
        max_grad_norm: norm to which one unit's gradient is clipped.
        expected_units: number of units, declared or noised: what a batch size is expected from.
        learning_rate: of Adam on the noised gradients; post-processing.
        recompute: whether adapted layers are computed once more in the backward pass; memory and time only.
    """

    name: str
    classes: ClassRule
    model: str
    layers: int | None
    rank: int | None
    prompts: tuple[tuple[str, ...], ...]
    end: int
    max_tokens: int
    shortlist: IntArray | None
    max_grad_norm: float
    expected_units: float
    learning_rate: float
    recompute: bool = False
    full: bool = False


MechanismRequest = StatisticRequest | DisclosureRequest | ExpertRequest | FinetuneRequest


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
