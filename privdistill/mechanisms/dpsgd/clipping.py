"""Clipping of gradients that are there one by one: norms that are not too small, sums that lose next to nothing.

A norm taken in single precision over a million cells comes out too small, by one part in two thousand and by more the
wider the map, and what is clipped to it exceeds the bound. Here single precision adds up `_BLOCK` cells at most, and
blocks, records and passes are added in double precision.

What holds: with `max_grad_norm` = C (1 - 1e-5), as the engine hands it in, a unit moves the sum of a step by at most
C. A sum of `_BLOCK` products in single precision, in whatever order, is off by at most 64 * 2^-24 (Higham 2002, section
3.1), so a norm by half of that, 2e-6; what vanishes below 1e-22 is less than the `_TINY` that is added. Adding n
clipped gradients in double precision is off by at most n^2 * 2^-53 C, so two sums by twice that: 2.3e-6 C for 100,000
units in one step. Both together are less than half of what is taken off the bound.

How much a unit is clipped does not depend on the other units, not even in the last bit: a kernel may add up in another
order at another shape, so every norm is taken among `_ROWS` rows, whether there are units for them or not.

It does not know what the bound is for, noise, or whose gradients these are.
"""

from collections.abc import Sequence
from functools import reduce

import torch

__all__ = ["clipped_sums"]

_BLOCK = 64
_ROWS = 8
"""Units whose norms are taken at a time."""
_CHUNK = 1 << 14
"""Columns that are in double precision at a time."""
_TINY = 1e-6
"""Added to norms before dividing, as Opacus does."""


def clipped_sums(
    gradients: Sequence[torch.Tensor], max_grad_norm: float, *, at_once: int = _ROWS
) -> list[torch.Tensor]:
    """Sum over units of their clipped gradients, in double precision, one tensor a parameter.

    Unit: one row. Adjacency: add or remove one row.
    Sensitivity: `max_grad_norm` (1 + 4.3e-6) in L2 over all parameters together, for up to 100,000 rows; a row whose
        norm overflows adds nothing.

    Args:
        gradients: (units, ...) of each parameter, finite.
        max_grad_norm: L2 bound of one row.
        at_once: rows among which each norm is taken, the same in every pass.
    """
    if not len(gradients[0]):
        return [one.new_zeros(one.shape[1:], dtype=torch.float64) for one in gradients]
    flat = [one.reshape(len(one), -1) for one in gradients]
    # One parameter after the other: a reduction over all of them adds up in an order that the number of units decides.
    squares = reduce(torch.add, (_squares(one, at_once).to(flat[0].device) for one in flat))  # (units,)
    factors = (max_grad_norm / (squares.sqrt() + _TINY)).clamp(max=1.0)  # (units,), 0 for an infinite norm
    return [_sum(one, factors).view(full.shape[1:]) for one, full in zip(flat, gradients, strict=True)]


def _squares(rows: torch.Tensor, at_once: int) -> torch.Tensor:
    """Squared norms (units,), double, of (units, cells)."""
    found = []
    for start in range(0, len(rows), at_once):
        part = rows[start : start + at_once]
        if len(part) < at_once:
            part = torch.cat([part, part.new_zeros(at_once - len(part), part.shape[1])])
        found.append(_squares_of_part(part))
    return torch.cat(found)[: len(rows)]


def _squares_of_part(rows: torch.Tensor) -> torch.Tensor:
    """Squared norms (rows,), double, of (rows, cells)."""
    whole = rows.shape[1] // _BLOCK * _BLOCK
    blocks = rows[:, :whole].reshape(len(rows), whole // _BLOCK, _BLOCK)
    blocks = blocks if blocks.dtype == torch.float64 else blocks.float()  # in halves, norms would round down too far
    squares: torch.Tensor = blocks.norm(dim=2).double().square().sum(dim=1)
    return squares + rows[:, whole:].double().square().sum(dim=1)


def _sum(rows: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """(cells,), double: the rows times their factors, a few columns at a time."""
    total = torch.empty(rows.shape[1], dtype=torch.float64, device=rows.device)
    for start in range(0, rows.shape[1], _CHUNK):
        part = slice(start, start + _CHUNK)
        total[part] = factors.to(rows.device) @ rows[:, part].double()
    return total
