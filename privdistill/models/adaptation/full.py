"""Every number of a module, trained: each tensor becomes itself plus a correction in float32.

A tensor that two modules share (embeddings that are the head) gets one correction, which both see, so that its gradient
is the sum of both and it is noised once. The frozen tensor keeps its type and what computes has that type too, so
gradients arrive in it and are summed, clipped and applied in float32.

It does not know losses, clipping, or which numbers of a model take part in what is computed.
"""

from collections.abc import Mapping

import torch
from torch.nn.utils.parametrize import register_parametrization

from privdistill.errors import AssetError
from privdistill.models.adaptation.eight_bit import EightBit

__all__ = ["free"]


class _Corrected(torch.nn.Module):
    """What a frozen tensor has become."""

    def __init__(self, correction: torch.nn.Parameter) -> None:
        super().__init__()
        self.correction = correction

    def forward(self, frozen: torch.Tensor) -> torch.Tensor:
        return (frozen.float() + self.correction).to(frozen.dtype)


def free(parts: Mapping[str, torch.nn.Module]) -> dict[str, torch.nn.Parameter]:
    """Give every parameter of `parts` (dotted name -> module) a correction of zero, in place.

    Returns:
        Corrections by dotted name of their parameter; of one that several modules share, the first of its names.

    Raises:
        AssetError: numbers of a part are no parameters, as they are kept in eight bits.
    """
    made: dict[int, torch.nn.Parameter] = {}
    found: dict[str, torch.nn.Parameter] = {}
    for prefix, part in parts.items():
        for name, module in list(part.named_modules(prefix=prefix)):
            if isinstance(module, EightBit):
                raise AssetError("numbers that are kept in eight bits cannot be trained; use --base-weights full")
            for leaf, frozen in list(module.named_parameters(recurse=False)):
                if id(frozen) not in made:
                    made[id(frozen)] = torch.nn.Parameter(torch.zeros_like(frozen, dtype=torch.float32))
                    found[f"{name}.{leaf}".lstrip(".")] = made[id(frozen)]
                register_parametrization(module, leaf, _Corrected(made[id(frozen)]), unsafe=True)
    return found
