"""Low-rank adapters: small trainable matrices beside the frozen linear maps of a causal language model.

`LowRank` computes base(x) + scale · up(down(x)) with `down` and `up` in float32 whatever the type of the base, so that
gradients, clipping and updates happen in float32. `up` starts at zero: an untrained adapter changes nothing. `down` is
a fixed projection, a public function of its name and shape, and is not trained: half the numbers to noise, and no
product of two noised matrices (Sun, Li, Li & Ding 2024, arXiv:2403.12313). Without a rank there is no projection: `up`
is a correction of the whole weight, which is trained in float32 all the same.

It does not know losses, private text, or how an adapter is trained.
"""

import copy
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from privdistill.errors import ConfigError
from privdistill.models.adaptation.eight_bit import EightBit

__all__ = ["LowRank", "adapters", "attach", "correction_of", "linear_maps", "merged", "round_maps", "shared_copy"]

FloatArray = npt.NDArray[np.float64]


class LowRank(torch.nn.Module):
    """A frozen linear map with a trainable low-rank correction.

    Attributes:
        rows: how many sequences are in the batch that is being computed, once known.
    """

    def __init__(self, base: torch.nn.Module, name: str, rank: int | None) -> None:
        """Wrap `base`.

        Args:
            base: an `nn.Linear`, transformers' `Conv1D`, or an `EightBit` of either.
            name: dotted name of the map in the model; decides the projection.
            rank: rows of the projection; None, or as many as the map has inputs: no projection.
        """
        super().__init__()
        inside, outside = _widths(base)
        self.base = base
        self.down: torch.nn.Module = torch.nn.Identity()
        if rank is not None and rank != inside:
            self.down = torch.nn.Linear(inside, rank, bias=False, dtype=torch.float32)
            with torch.no_grad():
                self.down.weight.copy_(_projection(name, rank, inside))
        self.up = torch.nn.Linear(inside if rank is None else rank, outside, bias=False, dtype=torch.float32)
        with torch.no_grad():
            self.up.weight.zero_()
        self.rows: int | None = None
        self.base.requires_grad_(False)
        self.down.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map (..., inside) to (..., outside) in the type of the base."""
        y: torch.Tensor = self.base(x)
        # Some layers fold rows and positions into one dimension. Per-record gradients need to know whose is whose.
        unfolded = x if self.rows is None or x.dim() > 2 else x.reshape(self.rows, -1, x.shape[-1])
        return y + self.correction(unfolded).reshape(y.shape).to(y.dtype)

    def correction(self, x: torch.Tensor) -> torch.Tensor:
        """What is added to the base's answer to (..., inside), (..., outside) in float32."""
        added: torch.Tensor = self.up(self.down(x.float()))
        return added

    @torch.no_grad()
    def merge(self) -> torch.nn.Module:
        """The base with the correction added to its weight; in full precision also where the base is rounded."""
        correction = self.up.weight  # (outside, inside)
        if isinstance(self.down, torch.nn.Linear):
            correction = correction @ self.down.weight
        frozen = _weight(self.base)
        weight = frozen.float() + (correction.T if _is_transposed(self.base) else correction)
        plain = self.base.full() if isinstance(self.base, EightBit) else copy.deepcopy(self.base)
        plain.weight = torch.nn.Parameter(weight.to(frozen.dtype), requires_grad=False)
        return plain


def linear_maps(layer: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The linear maps inside one layer, by dotted name."""
    return {name: part for name, part in layer.named_modules() if _is_linear(part)}


def attach(layers: Mapping[str, torch.nn.Module], rank: int | None) -> dict[str, LowRank]:
    """Replace every linear map of `layers` (name -> layer) by a `LowRank` around it, in place; returns them by name."""
    attached = {}
    for prefix, layer in layers.items():
        for name, base in linear_maps(layer).items():
            wrapped = LowRank(base, f"{prefix}.{name}", rank)
            _replace(layer, name, wrapped)
            attached[f"{prefix}.{name}"] = wrapped
    return attached


def adapters(model: torch.nn.Module) -> Iterator[tuple[str, LowRank]]:
    """Every `LowRank` of a model with its dotted name."""
    for name, part in model.named_modules():
        if isinstance(part, LowRank):
            yield name, part


def merged(model: Any, corrections: Mapping[str, FloatArray]) -> Any:
    """A copy of a model with trained corrections added to its weights; everything else is shared with the original.

    Args:
        model: a transformers model.
        corrections: dotted name of a linear map -> `up` matrix (outside, rank); or of a parameter -> what is added.

    Raises:
        ConfigError: a name or a shape does not fit the model, or nothing moved.
    """
    plain = shared_copy(model)
    parameters = dict(model.named_parameters())
    for name, up in corrections.items():
        if name in parameters:
            _add(plain, name, parameters[name], up)
            continue
        _replace(plain, name, correction_of(plain, name, up).merge())
    if all(torch.equal(_called(plain, name), _called(model, name)) for name in corrections):
        raise ConfigError("the adapter leaves every weight of the model as it was; it was not trained")
    return plain


def correction_of(model: torch.nn.Module, name: str, up: FloatArray) -> LowRank:
    """The linear map of that name with its trained correction (outside, rank); the model is left as it is.

    Raises:
        ConfigError: the model has no such map, or one of another shape.
    """
    try:
        base = model.get_submodule(name)
    except AttributeError:
        raise ConfigError(f"the adapter corrects {name!r}, which this model does not have; use its own") from None
    if not _is_linear(base) or up.shape[0] != _widths(base)[1]:
        raise ConfigError(f"the adapter does not fit {name!r} of this model; use the model it was trained for")
    wrapped = LowRank(base, name, up.shape[1])
    with torch.no_grad():
        wrapped.up.weight.copy_(torch.as_tensor(up))
    return wrapped


def _add(plain: torch.nn.Module, name: str, before: torch.nn.Parameter, correction: FloatArray) -> None:
    """Put the corrected tensor wherever the model has the frozen one, which may be in several places."""
    if correction.shape != before.shape:
        raise ConfigError(f"the correction does not fit {name!r} of this model; use the model it was trained for")
    with torch.no_grad():
        after = (before.float() + torch.as_tensor(correction, dtype=torch.float32)).to(before.dtype)
    made = torch.nn.Parameter(after, requires_grad=False)
    for part in plain.modules():
        for leaf, one in list(part.named_parameters(recurse=False)):
            if one is before:
                setattr(part, leaf, made)


def _called(model: torch.nn.Module, name: str) -> torch.Tensor:
    """The weight of a linear map, or a parameter, by dotted name."""
    try:
        return model.get_parameter(name)
    except AttributeError:
        return _weight(model.get_submodule(name))


def round_maps(model: Any) -> None:
    """Keep every linear map of a transformers model but its head in eight bits, in place; see `eight_bit`."""
    head = model.get_output_embeddings()
    for name, base in linear_maps(model).items():
        if base is not head:
            weight = _weight(base)
            bias = getattr(base, "bias", None)
            _replace(model, name, EightBit(weight.T if _is_transposed(base) else weight, bias))


def shared_copy(model: Any) -> Any:
    """A model of the same structure whose modules can be replaced, sharing every tensor with the original."""
    memo = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, memo)


def _projection(name: str, rank: int, inside: int) -> torch.Tensor:
    """Rows of norm one in random directions: public, the same for everybody (it is no secret and no noise)."""
    rng = np.random.default_rng([zlib.crc32(name.encode()), rank, inside])
    rows = rng.standard_normal((rank, inside))
    return torch.as_tensor(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=torch.float32)


def _is_transposed(module: torch.nn.Module) -> bool:
    return type(module).__name__ == "Conv1D"


def _is_linear(module: torch.nn.Module) -> bool:
    return isinstance(module, torch.nn.Linear | EightBit) or _is_transposed(module)


def _widths(base: torch.nn.Module) -> tuple[int, int]:
    rows, columns = _weight(base).shape
    return (rows, columns) if _is_transposed(base) else (columns, rows)


def _weight(base: torch.nn.Module) -> torch.Tensor:
    weight = base.weight
    if not isinstance(weight, torch.Tensor):
        raise ConfigError(f"expected a linear map with a weight matrix, found {type(base).__name__}")
    return weight


def _replace(root: torch.nn.Module, name: str, part: torch.nn.Module) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(root.get_submodule(parent), leaf, part)
