"""Whether a request has a meaning, looked at in full before a record is touched or anything is charged.

A request is public, but not every one that can be built makes sense: shapes that do not fit, cells outside their
block, numbers that overflow. Found out half-way, over the records, such a fault could depend on a record; so it is
found out here. It does not know records, noise or who asked.
"""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from privdistill.accounting.budget import MAX_CELLS
from privdistill.errors import PrivacyError
from privdistill.mechanisms.release import (
    Block,
    ClassRule,
    CountBlock,
    ExpertRequest,
    HeadGradientBlock,
    LengthBlock,
    MechanismRequest,
    MomentBlock,
    OpeningBlock,
    SecondMomentBlock,
    StatisticRequest,
    TokenBlock,
    VoteBlock,
)

__all__ = ["require_sound"]

_LEAST, _MOST = 1e-9, 1e9
"""Norms, scales and rates outside of this range mean nothing, and their squares may overflow."""
_LARGEST = 1e6
"""Of an entry of a public array: embeddings, maps and weights are of the order of 1."""


def require_sound(request: MechanismRequest, *, width: int) -> None:
    """Refuse a statistic or an expert that could fail over a record.

    Args:
        request: of any kind; the others are looked at by their mechanism.
        width: dimension D of an embedding.

    Raises:
        PrivacyError: it has no meaning; the message names the fault.
    """
    match request:
        case StatisticRequest():
            faults = [*_of_rule(request.classes, width), *_of_statistic(request, width)]
        case ExpertRequest():
            faults = [*_of_rule(request.classes, width), *_of_expert(request, width)]
        case _:
            faults = []
    if faults:
        raise PrivacyError(f"request {request.name!r} has no meaning: {faults[0]}; nothing is drawn for it")


def _of_rule(rule: ClassRule, width: int) -> Iterator[str]:
    count = len(rule.names)
    if not count or len(set(rule.names)) != count:
        yield "expected distinct class names, at least one"
    if rule.other is not None and not 0 <= rule.other < count:
        yield "the class of unknown labels is not one of the classes"
    if rule.centres is not None:
        yield from _of_array("centres", rule.centres, (count, width))


def _of_statistic(request: StatisticRequest, width: int) -> Iterator[str]:
    for block in request.blocks:
        yield from _of_number("scale", block.scale)
        yield from _of_block(block, len(request.classes.names), width)


def _of_block(block: Block, classes: int, width: int) -> Iterator[str]:
    match block:
        case CountBlock():
            pass
        case MomentBlock() | SecondMomentBlock():
            yield from _of_map(block.centre, block.basis, width)
            yield from _of_number("clip", block.clip)
        case HeadGradientBlock():
            yield from _of_map(block.centre, block.basis, width)
            yield from _of_number("feature clip", block.feature_clip)
            yield from _of_number("clip", block.clip)
            shape = (*block.weights.shape[:1], classes, *(size + 1 for size in block.basis.shape[1:]))
            yield from _of_array("weights", block.weights, shape)
        case TokenBlock():
            yield from _of_columns(block.columns, block.width)
        case OpeningBlock():
            yield from _of_columns(block.columns, block.width)
            if not 1 <= block.positions <= MAX_CELLS // max(1, block.width):
                yield "expected a number of positions that leaves no more cells than are reserved for"
        case LengthBlock():
            if not all(low < high for low, high in pairwise(block.edges)) or len(block.edges) > MAX_CELLS:
                yield "expected increasing edges of lengths"
        case VoteBlock():
            if len(block.candidates) != classes:
                yield f"expected candidates of {classes} classes, found {len(block.candidates)}"
            for candidates in block.candidates:
                yield from _of_array("candidates", candidates, (len(candidates), width) if len(candidates) else None)
        case _:
            yield f"block {type(block).__name__} has no stated sensitivity"


def _of_expert(request: ExpertRequest, width: int) -> Iterator[str]:
    yield from _of_map(request.centre, request.basis, width)
    shape = (len(request.classes.names), *(size + 1 for size in request.basis.shape[1:]))
    yield from _of_array("start", request.start, shape)
    for name in ("feature_clip", "max_grad_norm", "expected_units", "learning_rate"):
        yield from _of_number(name, getattr(request, name))
    if not 0 <= request.momentum < 1:
        yield "expected a momentum from 0 to below 1"


def _of_map(centre: np.ndarray, basis: np.ndarray, width: int) -> Iterator[str]:
    yield from _of_array("centre", centre, (width,))
    yield from _of_array("basis", basis, (width, *basis.shape[1:2]))
    if basis.ndim != 2 or not basis.size:
        yield "expected a basis of at least one column"


def _of_array(name: str, array: np.ndarray, shape: tuple[int, ...] | None) -> Iterator[str]:
    if shape is not None and array.shape != shape:
        yield f"expected {name} of shape {shape}, found {array.shape}"
    elif not np.isfinite(array).all() or np.abs(array).max(initial=0.0) > _LARGEST:
        yield f"expected finite {name} of at most {_LARGEST:g}"


def _of_columns(columns: np.ndarray, width: int) -> Iterator[str]:
    if not 1 <= width <= MAX_CELLS:
        yield f"expected 1 to {MAX_CELLS} columns, found {width}"
    if columns.ndim != 1 or not columns.size or columns.dtype.kind != "i":
        yield "expected one column number for each token id"
    elif columns.min() < -1 or columns.max() >= width:
        yield f"expected column numbers from -1 to {width - 1}"


def _of_number(name: str, value: float) -> Iterator[str]:
    if not _LEAST <= value <= _MOST:
        yield f"expected a {name} from {_LEAST:g} to {_MOST:g}, found {value:g}"
