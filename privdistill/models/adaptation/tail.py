"""A causal language model cut in two: frozen lower layers, and the last layers with the head.

The lower part of a record is computed once and kept; only the tail runs again and again. The cut needs no knowledge of
the architecture: below the cut the model runs until it reaches the first layer of the tail; above it the same model
runs on the kept activations with the lower layers passed through and learned positions silent. Whether the two parts
together are the whole is checked on a probe of public tokens when the cut is made; a model for which it does not hold
is refused.

With `recompute`, an adapted layer keeps its input only and is computed once more in the backward pass (gradient
checkpointing): less memory, more time, the same numbers. It is the re-entrant kind on purpose. Its first pass records
nothing, and hooks that capture activations for per-record gradients see a layer once, in the backward pass; the other
kind shows it to them twice, and the gradients of Opacus 1.6 are then never finished (a test plants it).

All batches have `ROWS` rows and a length on a public grid, so that a sequence meets the same kernels whatever its
batch mates (see `models.encoder`). It does not know losses, noise, or which sequences are private.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from privdistill.errors import AssetError, PrivdistillError
from privdistill.models.adaptation.low_rank import LowRank, attach, shared_copy

__all__ = ["GRID", "ROWS", "Tail", "explained", "padded_length"]

ROWS = 32
GRID = 8
_PROBE = 12
_TOLERANCE = 0.02
_REENTRANT = True


def padded_length(length: int) -> int:
    """Length of the batch in which a sequence of `length` tokens is computed: a function of that sequence alone."""
    return -(-max(length, 1) // GRID) * GRID


@contextmanager
def explained() -> Iterator[None]:
    """Turn what an architecture says in its own way when it is cut into an error that says what to do.

    Raises:
        AssetError: instead of anything that the code of a model raises.
    """
    try:
        yield
    except PrivdistillError:
        raise
    except (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise AssetError(
            f"this model cannot be cut into lower and upper layers ({type(error).__name__} when it was tried on public "
            "tokens): its layers need more than activations; choose another --model, or another recipe"
        ) from error


class Tail:
    """The last layers of a model, adapted; shares every frozen weight with the model it was cut from."""

    def __init__(self, model: Any, layers: int, rank: int | None, *, recompute: bool = False) -> None:
        """Cut `model` below its last `layers` layers and attach adapters of `rank` (None: whole weights) to them.

        Args:
            model: a transformers causal language model.
            layers: how many are adapted.
            rank: of each adapter.
            recompute: whether adapted layers are computed once more in the backward pass instead of being kept.

        Raises:
            AssetError: the model has fewer layers, cannot be cut, or the two parts do not make up the whole.
        """
        whole = shared_copy(model).eval()
        for parameter in whole.parameters():
            parameter.requires_grad_(False)
        path, stack = _layers(whole)
        if not 1 <= layers <= len(stack):
            raise AssetError(f"expected 1 to {len(stack)} layers to train, found {layers}; this model has no more")
        self._below, self._recompute = whole.base_model, recompute
        self._first = stack[len(stack) - layers]
        above = shared_copy(whole)
        upper = above.get_submodule(path)
        for i in range(len(upper) - layers):
            upper[i] = _Passed()
        _silence(above)
        self._above = above.base_model
        head = above.get_output_embeddings()
        self.head: torch.Tensor = head.weight  # (V, H)
        self.head_bias: torch.Tensor | None = getattr(head, "bias", None)  # (V,)
        self.adapters: dict[str, LowRank] = {}
        with explained():
            self._check(whole)
        names = {f"{path}.{i}": upper[i] for i in range(len(upper) - layers, len(upper))}
        self.adapters = attach(names, rank)
        if recompute:
            for layer in names.values():
                layer.forward = partial(_recomputed, layer.forward)

    @property
    def matrices(self) -> dict[str, torch.Tensor]:
        """What is trained: the upper matrix of each adapter, by dotted name of its linear map."""
        return {name: adapter.up.weight for name, adapter in self.adapters.items()}

    @torch.no_grad()
    def below(self, ids: torch.Tensor) -> torch.Tensor:
        """Activations that enter the tail, (rows, length, H), for token ids (rows, length) padded on the right."""
        reached: list[torch.Tensor] = []

        def stop(module: Any, positional: tuple[Any, ...], named: dict[str, Any]) -> None:
            reached.append(positional[0] if positional else named["hidden_states"])
            raise _ReachedError

        handle = self._first.register_forward_pre_hook(stop, with_kwargs=True)
        try:
            self._below(input_ids=ids, use_cache=False)
        except _ReachedError:
            pass
        finally:
            handle.remove()
        return reached[0].detach()

    def above(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the head sees, (rows, length, H), for activations from `below`; differentiable in the adapters."""
        for adapter in self.adapters.values():
            adapter.rows = len(hidden)
        if self._recompute and torch.is_grad_enabled():
            hidden = hidden.detach().requires_grad_()  # re-entrant: a layer none of whose inputs asks has no backward
        out: torch.Tensor = self._above(inputs_embeds=hidden, use_cache=False).last_hidden_state
        return out

    @torch.no_grad()
    def _check(self, whole: Any) -> None:
        generator = torch.Generator().manual_seed(0)
        ids = torch.randint(self.head.shape[0], (2, _PROBE), generator=generator)  # (2, P)
        expected = whole(input_ids=ids, use_cache=False).logits.float()  # (2, P, V)
        found = torch.nn.functional.linear(self.above(self.below(ids)), self.head, self.head_bias).float()
        spread = float(expected.std()) + 1e-6
        if found.shape != expected.shape or float((found - expected).abs().max()) > _TOLERANCE * spread:
            raise AssetError(
                "the lower and the upper layers of this model do not make up the whole (an architecture with inputs "
                "that bypass its layers); choose another --model, or another recipe"
            )


def _recomputed(forward: Callable[..., Any], hidden_states: torch.Tensor, *rest: Any, **named: Any) -> Any:
    """One layer, nothing of which is kept but its input."""
    if not torch.is_grad_enabled():
        return forward(hidden_states, *rest, **named)
    # No layer of the tail draws random numbers: it is in evaluation mode.
    again = partial(forward, **named)
    return checkpoint(again, hidden_states, *rest, use_reentrant=_REENTRANT, preserve_rng_state=False)


class _ReachedError(Exception):
    """The first layer of the tail was reached; nothing above it is needed."""


class _Passed(torch.nn.Module):
    """A layer below the cut, whose work is done."""

    def forward(self, hidden_states: torch.Tensor, *rest: Any, **named: Any) -> torch.Tensor:
        return hidden_states


class _Silent(torch.nn.Module):
    """Learned positions above the cut: they were added below."""

    def forward(self, *ignored: Any, **named: Any) -> torch.Tensor:
        return torch.zeros(())


def _layers(model: Any) -> tuple[str, torch.nn.ModuleList]:
    """Dotted name and list of the decoder layers."""
    count = int(model.config.num_hidden_layers)
    for name, part in model.named_modules():
        if isinstance(part, torch.nn.ModuleList) and len(part) == count:
            return name, part
    raise AssetError("this model has no list of decoder layers that can be cut; choose another --model")


def _silence(model: Any) -> None:
    """Take out what the lower part has added already: learned positions, and a projection of the embeddings."""
    tokens = model.get_input_embeddings()
    for name, part in list(model.named_modules()):
        parent, _, leaf = name.rpartition(".")
        if isinstance(part, torch.nn.Embedding) and part is not tokens:
            setattr(model.get_submodule(parent), leaf, _Silent())
        elif leaf == "project_in":
            setattr(model.get_submodule(parent), leaf, torch.nn.Identity())
