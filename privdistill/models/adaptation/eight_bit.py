"""Frozen linear maps in eight bits: an integer for each weight, and one scale for each output row.

w is kept as round(w / s) with s = max|w| / 127 over its row, so no weight moves by more than s / 2. The integers are
exact in bfloat16 and float32; a product is taken with them and scaled afterwards, row by row.

Weights only, on purpose. Schemes that round activations too, or set outliers apart (LLM.int8, which bitsandbytes
does), look at the whole batch to choose scales or columns: what comes out for a record would then depend on its batch
mates, and a clipped gradient would no longer bound what one record does to a sum. Here a row of the output is a
function of its own row of the input and of public weights.

It does not know which model it is part of, adapters, or what is private.
"""

from typing import Any

import torch

__all__ = ["EightBit"]

_LARGEST = 127


class EightBit(torch.nn.Module):
    """A frozen linear map whose weights take one byte each."""

    integers: torch.Tensor  # (outside, inside) int8
    scale: torch.Tensor  # (outside,) float32
    bias: torch.Tensor | None  # (outside,)

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        """Round `weight` (outside, inside); `bias` stays as it is."""
        super().__init__()
        exact = weight.detach().float()
        scale = exact.abs().amax(dim=1) / _LARGEST  # (outside,)
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        integers = (exact / scale[:, None]).round_().clamp_(-_LARGEST, _LARGEST)
        self.register_buffer("integers", integers.to(torch.int8))
        self.register_buffer("scale", scale)
        self.register_buffer("bias", None if bias is None else bias.detach())
        self._kind = weight.dtype

    @property
    def weight(self) -> torch.Tensor:
        """The weights (outside, inside) that it stands for, in the type that they had."""
        return (self.integers.float() * self.scale[:, None]).to(self._kind)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., inside) to (..., outside) in the type of `x`."""
        product: torch.Tensor = _Product.apply(x, self.integers, self.scale)
        return product if self.bias is None else product + self.bias.to(product.dtype)

    def full(self) -> torch.nn.Linear:
        """A plain map with the same weights."""
        outside, inside = self.integers.shape
        plain = torch.nn.Linear(inside, outside, bias=self.bias is not None, dtype=self._kind, device="meta")
        plain.weight = torch.nn.Parameter(self.weight, requires_grad=False)
        if self.bias is not None:
            plain.bias = torch.nn.Parameter(self.bias, requires_grad=False)
        return plain


class _Product(torch.autograd.Function):
    """The integers are widened twice, so that the wide copy is not kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, integers: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(integers, scale)
        return (torch.nn.functional.linear(x, integers.to(x.dtype)) * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *slopes: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        integers, scale = ctx.saved_tensors
        (slope,) = slopes
        return (slope * scale).to(slope.dtype) @ integers.to(slope.dtype), None, None
