"""The blocks of the unified statistic as public maps: one encoded text -> a sparse, clipped, unscaled vector.

Norms are bounded by `Block.norm_bound` by construction: vectors are clipped in float64 to (1 - 1e-9) of the bound, a
margin a million times the rounding error of the clipping itself. The same maps serve private text (through
`mechanisms`) and synthetic text (through `statistic_of`).

It does not know noise, scales, units, or which texts are private.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from privdistill.errors import PrivacyError
from privdistill.features.encoded import Encoded
from privdistill.mechanisms.release import (
    Block,
    ClassRule,
    CountBlock,
    FloatArray,
    HeadGradientBlock,
    LengthBlock,
    MomentBlock,
    OpeningBlock,
    SecondMomentBlock,
    TokenBlock,
    VoteBlock,
)

__all__ = [
    "Sparse",
    "block_vector",
    "class_of",
    "clip",
    "head_gradient",
    "project",
    "shaped",
    "statistic_of",
    "unpack_symmetric",
]

_MARGIN = 1 - 1e-9


class Sparse(NamedTuple):
    """Cells and values of one record in one block (cells are distinct)."""

    cells: npt.NDArray[np.int64]
    values: FloatArray


def clip(vector: FloatArray, bound: float) -> FloatArray:
    """Scale `vector` down to L2 norm at most `bound` (just below it); non-finite entries become 0 first."""
    finite = np.where(np.isfinite(vector), vector, 0.0)
    largest = float(np.max(np.abs(finite), initial=0.0))
    if largest == 0.0:
        return finite
    norm = largest * float(np.linalg.norm(finite / largest))  # no overflow in the squares
    return finite if norm <= bound * _MARGIN else finite / largest * (bound * _MARGIN / (norm / largest))


def project(embedding: npt.NDArray[np.float32], centre: FloatArray, basis: FloatArray, bound: float) -> FloatArray:
    """H = clip(basisᵀ(embedding - centre), bound), of shape (d,), computed for this embedding alone."""
    # One vector-matrix product per record: a matrix-matrix product may round differently with other batch mates.
    return clip((embedding.astype(np.float64) - centre) @ basis, bound)


def class_of(rule: ClassRule, label: str | None, embedding: npt.NDArray[np.float32]) -> int | None:
    """Class block of one record, from that record alone; None when it has no class."""
    if rule.centres is not None:
        return int(np.argmin(((rule.centres - embedding.astype(np.float64)) ** 2).sum(axis=1)))
    if label in rule.names:
        return rule.names.index(label)
    return rule.other


def block_vector(block: Block, tokens: npt.NDArray[np.int64], embedding: npt.NDArray[np.float32], y: int) -> Sparse:
    """The unscaled vector of one record in one block (within its class, where the block is per class).

    Sensitivity: the L2 norm is at most `block.norm_bound`.
    """
    one = np.ones(1)
    match block:
        case CountBlock():
            return Sparse(np.zeros(1, np.int64), one)
        case MomentBlock():
            h = project(embedding, block.centre, block.basis, block.clip)
            return Sparse(np.arange(h.size), h)
        case SecondMomentBlock():
            h = project(embedding, block.centre, block.basis, block.clip)
            rows, columns = _triangle(h.size)
            return Sparse(
                np.arange(rows.size), h[rows] * h[columns] * np.where(rows == columns, 1.0, np.sqrt(2.0)) * _MARGIN
            )
        case TokenBlock():
            found = np.unique(block.columns[tokens[tokens < block.columns.size]])
            found = found[found >= 0]
            return Sparse(found, np.full(found.size, _MARGIN / np.sqrt(max(found.size, 1))))
        case OpeningBlock():
            first = tokens[: block.positions]
            first = np.where(first < block.columns.size, block.columns[np.minimum(first, block.columns.size - 1)], -1)
            seen = np.flatnonzero(first >= 0)
            return Sparse(seen * block.width + first[seen], np.full(seen.size, _MARGIN / np.sqrt(block.positions)))
        case LengthBlock():
            return Sparse(np.array([np.searchsorted(block.edges, tokens.size, side="right")], np.int64), one)
        case HeadGradientBlock():
            h = np.append(project(embedding, block.centre, block.basis, block.feature_clip), 1.0)  # (d + 1,)
            gradient = clip(head_gradient(h, y, block.weights), block.clip)
            return Sparse(np.arange(gradient.size), gradient)
        case VoteBlock():
            own = block.candidates[y]
            if not len(own):
                return Sparse(np.zeros(0, np.int64), np.zeros(0))
            gap = (own**2).sum(axis=1) - 2 * (
                own @ embedding.astype(np.float64)
            )  # (M,) squared distance, less a constant
            return Sparse(np.array([np.argmin(gap)], np.int64), one)
        case _:
            raise PrivacyError(f"block {type(block).__name__} has no stated sensitivity; use one of mechanisms.release")


def head_gradient(h: FloatArray, y: int, weights: FloatArray) -> FloatArray:
    """Gradient of the cross-entropy of linear heads (R, K, d + 1) at one record [h; 1] of class y, flat."""
    logits = weights @ h  # (R, K)
    residual = np.exp(logits - logits.max(axis=1, keepdims=True))
    residual /= residual.sum(axis=1, keepdims=True)
    residual[:, y] -= 1.0
    return np.asarray(residual[:, :, None] * h).ravel()


def statistic_of(
    blocks: Sequence[Block], classes: int, texts: Encoded, assignment: Sequence[int | None]
) -> dict[str, FloatArray]:
    """The same statistic, un-noised and unscaled, of PUBLIC texts: what a noisy payload is compared with.

    Args:
        blocks: the blocks of the request.
        classes: number of classes K.
        texts: n encoded public or synthetic texts.
        assignment: class of each text, or None.

    Returns:
        Block name -> sums, shaped like `Release.payload`.
    """
    payload = {}
    for block in blocks:
        width = int(np.prod(block.shape, dtype=np.int64))
        total = np.zeros((classes if block.per_class else 1) * width)
        for i, y in enumerate(assignment):
            if y is not None:
                cells, values = block_vector(block, texts.tokens[i], texts.embeddings[i], y)
                np.add.at(total, cells + (y * width if block.per_class else 0), values)
        payload[block.name] = shaped(block, total, classes)
    return payload


def shaped(block: Block, total: FloatArray, classes: int) -> FloatArray:
    """Flat sums of one block in the shape and units of `Release.payload`."""
    if isinstance(block, SecondMomentBlock):
        return unpack_symmetric(total, int(block.basis.shape[1]))
    if isinstance(block, OpeningBlock):
        total = total * np.sqrt(block.positions)
    return total.reshape((classes, *block.shape) if block.per_class else block.shape)


@lru_cache(maxsize=8)
def _triangle(d: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    rows, columns = np.triu_indices(d)
    return rows, columns


def unpack_symmetric(packed: FloatArray, d: int) -> FloatArray:
    """Symmetric (d, d) from its packed upper triangle, whose off-diagonals weigh sqrt 2."""
    rows, columns = _triangle(d)
    full = np.zeros((d, d))
    full[rows, columns] = packed / np.where(rows == columns, 1.0, np.sqrt(2.0))
    full[columns, rows] = full[rows, columns]
    return full
