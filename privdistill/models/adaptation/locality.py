"""Whether a tail computes each record by itself: tried on public tokens before any record is read.

Clipping bounds what one record moves only where the gradients of the others stay as they are when it comes or goes. A
mixture of experts breaks that: it gathers the tokens of all records by expert, so the shape in which one is computed,
and with it the last bits, depend on batch mates, and a bound on one record bounds nothing.

Probes of three lengths are computed twice, in other rows and with other mates, in the very type of the model. What the
engine makes gradients of (activations below the cut, inputs and slopes of every adapted map) must agree to the last
bit. Equal bits on one probe are not a proof, so two more things are required: both times the same operations on the
same shapes, and none that multiplies by groups whose sizes the tokens decide. In full training each unit passes alone
above the cut, so only what lies below is looked at.

It does not know records, losses or clipping.
"""

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from privdistill.errors import AssetError
from privdistill.models.adaptation.tail import GRID, ROWS, Tail, explained

__all__ = ["require_local"]

_LENGTHS = (GRID // 2, GRID + 1, 2 * GRID)
_MIXING = ("grouped_mm", "histc", "bincount", "nonzero", "masked_select", "_unique")
"""Parts of names of operations whose work is divided by what all tokens of a batch say."""


def require_local(tail: Tail) -> None:
    """Refuse a model under which a record's gradient could depend on its batch mates; adapters are left at zero.

    Args:
        tail: fresh from its cut.

    Raises:
        AssetError: it does, or the model cannot be computed in this way.
    """
    if tail.full and not tail.cut:
        return  # no two units are ever computed together
    generator = torch.Generator().manual_seed(0)
    vocabulary = tail.head.shape[0]

    def tokens(*shape: int) -> torch.Tensor:
        return torch.randint(vocabulary, shape, generator=generator)

    with torch.no_grad():
        for matrix in tail.matrices.values() if tail.adapters else ():  # at zero an adapter passes no slope on
            matrix.copy_(0.01 * torch.randn(matrix.shape, generator=generator))
    probes = [tokens(length) for length in _LENGTHS]
    alone, crowd = torch.zeros((ROWS, 2 * GRID), dtype=torch.long), tokens(ROWS, 2 * GRID)
    found = []
    try:
        for ids, rows in ((alone, [0, 1, 2]), (crowd, [ROWS - 1, 5, 0])):
            for row, probe in zip(rows, probes, strict=True):
                ids[row] = 0
                ids[row, : len(probe)] = probe
            with explained():
                found.append(_seen(tail, ids, rows))
    finally:
        with torch.no_grad():
            for matrix in tail.matrices.values():
                matrix.zero_()
    (operations, tensors), (others, same) = found
    mixing = any(part in name for name, _ in (*operations, *others) for part in _MIXING)
    equal = len(tensors) == len(same) and all(torch.equal(one, two) for one, two in zip(tensors, same, strict=True))
    if mixing or operations != others or not equal:
        raise AssetError(
            "under this model what is computed for one record depends on the records beside it (as in a mixture of "
            "experts), so no clip would bound what a record can do; choose a dense --model, or another recipe"
        )


def _seen(tail: Tail, ids: torch.Tensor, rows: list[int]) -> tuple[list[tuple[str, Any]], list[torch.Tensor]]:
    """Every operation with its shapes, and of the given rows what gradients are made of."""
    tensors: list[torch.Tensor] = []
    counts = dict.fromkeys(tail.adapters, 0)

    def watch(name: str, held: torch.Tensor, output: torch.Tensor) -> None:
        def arrived(slopes: torch.Tensor) -> None:
            counts[name] += 1
            tensors.extend((held, slopes.detach()[rows].clone()))

        if len(held) == len(rows) and torch.is_grad_enabled():
            output.register_hook(arrived)

    handles = [
        adapter.up.register_forward_hook(
            lambda part, given, output, name=name: watch(name, _of(given[0].detach(), rows), output)
        )
        for name, adapter in tail.adapters.items()
    ]
    trace = _Trace()
    try:
        with trace, torch.enable_grad():
            hidden = tail.below(ids)
            if tail.full:
                return trace.operations, [hidden[rows]]
            out = tail.above(hidden)
            weights = torch.linspace(-1.0, 1.0, out.shape[1] * out.shape[2], device=out.device)
            (out.float() * weights.view(out.shape[1:])).sum().backward()
    finally:
        for handle in handles:
            handle.remove()
        for matrix in tail.matrices.values():
            matrix.grad = None
    if set(counts.values()) != {1}:
        raise AssetError(
            "a trained map of this model is not computed once for each record (as in a mixture of experts); choose a "
            "dense --model, or another recipe"
        )
    return trace.operations, [hidden[rows], out.detach()[rows], *tensors]


def _of(batch: torch.Tensor, rows: list[int]) -> torch.Tensor:
    """The given rows, or none where rows and positions are folded or divided otherwise."""
    return batch[rows].clone() if len(batch) == ROWS and batch.dim() > 2 else batch[:0]


class _Trace(TorchDispatchMode):
    """Notes every operation and the shapes of what it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.operations: list[tuple[str, Any]] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        made = function(*args, **(kwargs or {}))
        several = made if isinstance(made, tuple | list) else (made,)
        shapes = tuple(tuple(one.shape) for one in several if isinstance(one, torch.Tensor))
        self.operations.append((str(function), shapes))
        return made
