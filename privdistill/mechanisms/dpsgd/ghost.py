"""Ghost clipping: the clipped sum over units of their gradients, without one gradient per unit in memory.

The gradient of a linear map for one record is GᵀA: A (T, in) are its inputs, G (T, out) the slopes of its outputs. Its
squared norm is the sum of all cells of (AAᵀ) ∘ (GGᵀ), and T is a few dozen where in times out is a million (Goodfellow
2015, arXiv:1510.01799; Li, Tramèr, Liang & Hashimoto 2022, arXiv:2110.05679, section 4). Inputs and slopes are kept, so
the clipped sum is one more product and the backward pass runs once (Bu, Wang, Zha & Karypis 2023, arXiv:2210.00038). A
second backward pass over scaled losses, as in Opacus' fast gradient clipping, would scale before bfloat16 rounds, and
what comes out could exceed the bound that was computed.

How much a record is clipped must not depend on who else is there, not even in the last bit: a bound on one record says
nothing where the others move too. A kernel may add up in another order at another shape, so norms are taken over all
rows of a pass, filled ones too, and only the results are cut.

The squared norm is a sum of terms that may cancel, so single precision can fall short of it. What it can fall short by
is added: the bound holds at the price of a gradient that is clipped a little more than it had to be. Sums are taken in
double precision: no record's positions reach further than a hundred times its estimated norm, so 100,000 records in
passes of 2,048 positions round by less than half of what the engine takes off the bound.

It does not know noise, sampling, what is trained, nor whether any other way would be cheaper: `is_cheaper` is asked by
the caller.
"""

from collections.abc import Iterable, Sequence
from functools import reduce
from typing import Any, NamedTuple

import torch

from privdistill.errors import MechanismError

__all__ = ["Ghost", "is_cheaper"]

_TINY = 1e-6
"""Added to norms before dividing, as Opacus does."""


class _Seen(NamedTuple):
    """One linear map in one pass."""

    inputs: torch.Tensor  # (B, T, in)
    slopes: torch.Tensor  # (B, T, out)


class Ghost:
    """Watches the trained linear maps of a module."""

    def __init__(self, module: torch.nn.Module) -> None:
        """Hook every trained map.

        Raises:
            MechanismError: something else than the weight of a linear map is trained.
        """
        self._maps = [part for part in module.modules() if isinstance(part, torch.nn.Linear)]
        self._maps = [part for part in self._maps if part.weight.requires_grad]
        known = {id(part.weight) for part in self._maps}
        if {id(one) for one in module.parameters() if one.requires_grad} != known or len(known) != len(self._maps):
            raise MechanismError("ghost clipping is for weights of linear maps alone; nothing is released")
        self._seen: dict[int, _Seen] = {}
        self._handles = [part.register_forward_hook(self._watch) for part in self._maps]

    @property
    def weights(self) -> list[torch.Tensor]:
        """What is trained, in the order of the module."""
        return [part.weight for part in self._maps]

    def forget(self) -> None:
        """Before each pass."""
        self._seen.clear()

    def remove_hooks(self) -> None:
        """Leave the module as it was."""
        for handle in self._handles:
            handle.remove()
        self._seen.clear()

    def clipped_sums(self, records: int, filled: int | None, max_grad_norm: float) -> list[torch.Tensor]:
        """Sum over the first `records` rows of the last pass of their clipped gradients, double, one (out, in) a map.

        Unit: one row. Adjacency: add or remove one row.
        Sensitivity: `max_grad_norm` in L2 over all maps together; a row with a number that is not finite adds nothing.

        Args:
            records: how many rows count.
            filled: how many rows the pass was filled up to, if any.
            max_grad_norm: L2 bound of one row's gradient.

        Raises:
            MechanismError: a map saw no slopes, or not one for each row.
        """
        if not records:
            return [torch.zeros_like(part.weight, dtype=torch.float64) for part in self._maps]
        seen = [self._of(part, records, filled) for part in self._maps]
        # One map after the other: a reduction over all of them adds up in an order that the number of rows decides.
        squares = reduce(torch.add, (_largest_square(*one) for one in seen))[:records]  # (records,)
        fine = torch.isfinite(squares)
        factors = torch.where(fine, max_grad_norm / (squares.sqrt() + _TINY), 0.0).clamp(max=1.0)  # (records,)
        return [_sum(_Seen(*(tensor[:records] for tensor in one)), factors, fine) for one in seen]

    def _watch(self, part: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if not torch.is_grad_enabled():  # the first pass of a layer that is computed twice
            return
        held = _in_rows(inputs[0].detach())

        def arrived(slopes: torch.Tensor) -> None:
            if id(part) in self._seen:
                raise MechanismError("a trained map was used twice in one pass; nothing is released")
            self._seen[id(part)] = _Seen(held, _in_rows(slopes.detach()))

        output.register_hook(arrived)  # type: ignore[no-untyped-call]

    def _of(self, part: torch.nn.Module, records: int, filled: int | None) -> _Seen:
        found = self._seen.get(id(part))
        if found is None or not len(found.inputs) == len(found.slopes) in (records, filled):
            raise MechanismError("a trained map saw no slopes of its own for each record; nothing is released")
        return _Seen(found.inputs.float(), found.slopes.float())


def is_cheaper(shapes: Iterable[Sequence[int]], positions: int) -> bool:
    """Whether inputs and slopes of one record take less room than its gradients.

    Args:
        shapes: (out, in) of each trained weight.
        positions: most positions of a record, a public number: the choice must not depend on records.
    """
    cells, sides = 0, 0
    for outside, inside in shapes:
        cells, sides = cells + outside * inside, sides + outside + inside
    return positions * sides < cells


def _in_rows(tensor: torch.Tensor) -> torch.Tensor:
    """(B, T, width) of (B, width) or (B, ..., width)."""
    return tensor.reshape(len(tensor), -1, tensor.shape[-1])


def _largest_square(inputs: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
    """Squared norms (B,), double, of the gradients of one map, as large as they could be, rounding considered.

    In single precision squares vanish below 1e-22, and a slope can make up for that: every position is first brought to
    size one, and what it counts is put back in double precision.
    """
    inputs, input_size = _of_size_one(inputs)
    slopes, slope_size = _of_size_one(slopes)
    size = input_size * slope_size  # (B, T)
    alike = inputs @ inputs.transpose(1, 2)  # (B, T, T)
    alike *= slopes @ slopes.transpose(1, 2)
    reach = (inputs.norm(dim=2) * slopes.norm(dim=2) * size).sum(dim=1)  # (B,)
    largest: torch.Tensor = torch.einsum("bt,btu,bu->b", size, alike.double(), size).clamp(min=0.0)
    largest += _rounding(inputs.shape[2], slopes.shape[2]) * reach.square()
    return largest


def _of_size_one(rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, T, width) over the largest absolute value of each position, and these, (B, T), in double precision."""
    size = rows.abs().amax(dim=2)  # (B, T)
    return rows / torch.where(size > 0, size, 1.0)[:, :, None], size.double()


def _rounding(inside: int, outside: int) -> float:
    """Most that rounding takes off a squared norm, over the square of what all positions could add up to.

    An inner product of n terms in single precision is off by at most n times half the machine epsilon, in whatever
    order (Higham 2002, section 3.1); twice that leaves room for products and the sum over positions.
    """
    return max(1e-4, float(torch.finfo(torch.float32).eps) * (inside + outside))


def _sum(seen: _Seen, factors: torch.Tensor, fine: torch.Tensor) -> torch.Tensor:
    """(out, in), double: in single precision the rows that stay would move by rounding when one comes or goes."""
    keep: Any = fine[:, None, None]
    slopes = torch.where(keep, seen.slopes, 0.0) * factors[:, None, None]  # double, as the factors are
    inputs = torch.where(keep, seen.inputs, 0.0).double()
    return slopes.flatten(0, 1).T @ inputs.flatten(0, 1)
