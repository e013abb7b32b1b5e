"""The unified full-batch Gaussian statistic: clip, round toward zero, sum, add noise once.

One record fills the blocks of one class only, so the squared sensitivity is the sum over blocks of (scale x norm
bound) squared, with no factor for the number of classes. A unit of several records contributes the sum of its
records, clipped as a whole to a public norm, and one count in a `units` block (clipped sums no longer count records).

Rounding happens per unit and before summing, so sums are integers: exact in any order. It does not know epsilon,
delta or who asked; the caller has reserved the charge, and `charge` is called before the noise is drawn.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from privdistill.accounting.budget import MAX_CELLS
from privdistill.errors import MechanismError, PrivacyError
from privdistill.features.blocks import Sparse, block_vector, class_of, shaped
from privdistill.features.encoded import Encoded
from privdistill.mechanisms.noise import add_discrete_gaussian
from privdistill.mechanisms.release import (
    FloatArray,
    IntArray,
    MechanismRecord,
    OpeningBlock,
    PrivateUnits,
    Release,
    StatisticRequest,
    unit_parts,
)

__all__ = ["Grid", "clean_sum", "grid_for", "release_statistic", "unit_vector"]

_MARGIN = 1 - 1e-9


class Grid(NamedTuple):
    """The integer grid of one statistic, fixed by public numbers.

    Attributes:
        step: real value of one grid step, in scaled units.
        bound: norm to which one unit's summed block vector is clipped, in scaled units.
        parts: what enters the sensitivity, by name; root sum of squares is `sensitivity`.
        sensitivity: L2 sensitivity of the sum under adding or removing one unit, in scaled units.
    """

    step: float
    bound: float
    parts: Mapping[str, float]
    sensitivity: float


def grid_for(request: StatisticRequest, *, contribution_bound: int, noise_multiplier: float, grid_steps: float) -> Grid:
    """Sensitivity and grid of a request.

    Sensitivity: one unit moves the scaled sum by at most the root sum of squares of `unit_parts`, in L2.
    """
    record = math.sqrt(math.fsum(part**2 for part in request.sensitivity_parts.values()))
    parts = unit_parts(request.sensitivity_parts, contribution_bound)
    sensitivity = math.sqrt(math.fsum(part**2 for part in parts.values()))
    bound = record * math.sqrt(contribution_bound)
    return Grid(noise_multiplier * sensitivity / grid_steps, bound, parts, sensitivity)


def unit_vector(
    request: StatisticRequest, grid: Grid, tokens: list[IntArray], embeddings: np.ndarray, labels: list[str | None]
) -> Sparse:
    """Clipped, scaled contribution of one unit with its records, in grid steps, already rounded toward zero.

    Sensitivity: the L2 norm of the result times `grid.step` is at most `grid.bound`.
    """
    cells, values = [], []
    for ids, embedding, label in zip(tokens, embeddings, labels, strict=True):
        y = class_of(request.classes, label, embedding)
        if y is None:
            continue
        start = 0
        for block in request.blocks:
            width = int(np.prod(block.shape, dtype=np.int64))
            found, value = block_vector(block, ids, embedding, y)
            cells.append(start + found + (y * width if block.per_class else 0))
            values.append(block.scale * value)
            start += width * (len(request.classes.names) if block.per_class else 1)
    if not cells:
        return Sparse(np.zeros(0, np.int64), np.zeros(0))
    distinct, total = np.concatenate(cells), np.concatenate(values)
    if len(cells) > len(request.blocks):  # several records: their cells may meet
        distinct, where = np.unique(distinct, return_inverse=True)
        total = np.bincount(where, weights=total, minlength=distinct.size).astype(np.float64)
    norm = float(np.linalg.norm(total))
    if norm > grid.bound * _MARGIN:
        total *= grid.bound * _MARGIN / norm
    rounded = np.trunc(total / grid.step)
    if float(np.linalg.norm(rounded)) * grid.step > grid.bound:
        raise MechanismError("a unit exceeds its stated sensitivity; nothing is released, please report this")
    return Sparse(distinct, rounded)


def clean_sum(units: PrivateUnits, encoded: Encoded, request: StatisticRequest, grid: Grid) -> IntArray:
    """The un-noised integer sum over all units: private, for `release_statistic` and tests only.

    Unit: the privacy unit of `units`. Adjacency: add or remove one unit.
    Sensitivity: changes by at most `grid.sensitivity / grid.step` in L2.

    Returns:
        (dimension,) int64, plus one last cell, the unit count, when the contribution bound exceeds 1.
    """
    person = units.contribution_bound > 1
    total = np.zeros(request.dimension + person, dtype=np.int64)
    for low, high in units.spans():
        if high - low > units.contribution_bound:
            raise MechanismError("a unit exceeds the contribution bound; nothing is released, please report this")
        labels: list[str | None] = list(units.labels[low:high]) if units.labels is not None else [None] * (high - low)
        cells, values = unit_vector(request, grid, list(encoded.tokens[low:high]), encoded.embeddings[low:high], labels)
        total[cells] += values.astype(np.int64)  # cells of one unit are distinct
        if person:
            total[-1] += math.trunc(grid.parts["units"] * _MARGIN / grid.step)
    return total


def release_statistic(
    units: PrivateUnits,
    encoded: Encoded,
    request: StatisticRequest,
    *,
    noise_multiplier: float,
    grid_steps: float,
    delta_discretisation: float,
    charge: Callable[[MechanismRecord], None],
) -> Release:
    """Noise the statistic once and let it out.

    Guarantee: (1 / noise_multiplier)-Gaussian-DP, plus `delta_discretisation`, which covers `MAX_CELLS` cells.
    Unit: the privacy unit of `units`. Adjacency: add or remove one unit.
    Sensitivity: `grid_for(...)`; every cell is noised, also those that no record touches.

    Args:
        units: the train side.
        encoded: the same records, encoded.
        request: what to sum.
        noise_multiplier: calibrated for this plan entry.
        grid_steps: noise standard deviation in grid steps.
        delta_discretisation: reserved by the budget.
        charge: marks the reservation as drawn; called before the noise is drawn, and refuses a second time.

    Raises:
        PrivacyError: more cells than were reserved for.
        MechanismError: an invariant was broken, or the charge is refused.
    """
    if request.dimension + 1 > MAX_CELLS:
        raise PrivacyError(f"expected at most {MAX_CELLS} cells, found {request.dimension}; use a smaller vocabulary")
    if len(encoded) != units.unit_of.size:
        raise MechanismError("encoded records and units differ in number; nothing is released")
    grid = grid_for(
        request,
        contribution_bound=units.contribution_bound,
        noise_multiplier=noise_multiplier,
        grid_steps=grid_steps,
    )
    person = units.contribution_bound > 1
    record = MechanismRecord(
        name=request.name,
        kind="gaussian",
        noise_multiplier=noise_multiplier,
        sample_rate=1.0,
        steps=1,
        sensitivity=grid.sensitivity,
        sensitivity_parts=dict(grid.parts),
        sampler="full-batch",
        noise="discrete-gaussian",
        dimension=request.dimension + person,
        noise_grid_steps=grid_steps,
        delta_discretisation=delta_discretisation,
        delta_threshold=0.0,
    )
    charge(record)
    total = add_discrete_gaussian(clean_sum(units, encoded, request, grid), grid_steps)
    noised: FloatArray = total.astype(np.float64) * grid.step
    k = len(request.classes.names)
    payload, noise, start = {}, {}, 0
    for block in request.blocks:
        width = (k if block.per_class else 1) * int(np.prod(block.shape, dtype=np.int64))
        payload[block.name] = shaped(block, noised[start : start + width] / block.scale, k)
        stretch = math.sqrt(block.positions) if isinstance(block, OpeningBlock) else 1.0
        noise[block.name] = noise_multiplier * grid.sensitivity / block.scale * stretch
        start += width
    if person:
        payload["units"] = noised[-1:] / grid.parts["units"]
        noise["units"] = noise_multiplier * grid.sensitivity / grid.parts["units"]
    return Release(payload=payload, noise=noise, record=record, classes=request.classes.names)
