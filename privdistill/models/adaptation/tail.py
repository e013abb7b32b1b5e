"""A causal language model cut in two: frozen lower layers, and the last layers with the head.

The lower part of a record is computed once and kept; only the tail runs again and again. The cut needs no knowledge of
the architecture: below the cut the model runs until it reaches the first layer of the tail; above it the same model
runs on the kept activations with the lower layers passed through and learned positions silent. Whether the two parts
together are the whole is checked on a probe of public tokens when the cut is made; a model for which it does not hold
is refused.

What is trained are adapters of the linear maps of the tail, or with `full` every number of it: its layers, what follows
them up to the head, and, where nothing is cut off, embeddings and head too (`adaptation.full`).

With `recompute`, a trained layer keeps its input only and is computed once more in the backward pass (gradient
checkpointing): less memory, more time, the same numbers. It is the re-entrant kind on purpose. Its first pass records
nothing, and hooks that capture activations for per-record gradients see a layer once, in the backward pass; the other
kind shows it to them twice, and the gradients of Opacus 1.6 are then never finished (a test plants it).

All batches have `ROWS` rows and a length on a public grid, so that a sequence meets the same kernels whatever its
batch mates (see `models.encoder`). It does not know losses, noise, or which sequences are private.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

from privdistill.errors import AssetError, PrivdistillError
from privdistill.models.adaptation.full import free
from privdistill.models.adaptation.low_rank import LowRank, attach, shared_copy
from privdistill.models.adaptation.placement import is_spread, settled

__all__ = ["GRID", "ROWS", "Tail", "explained", "padded_length"]

ROWS = 32
GRID = 8
_PROBE = 12
_TOLERANCE = 0.02
_LOOKED_AT = 512
"""Most positions of a probe for memory; what longer rows hold grows with their length, attention included."""
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
    """The last layers of a model, trained; shares every frozen weight with the model it was cut from.

    Attributes:
        full: whether every number of the tail is trained.
        cut: whether something lies below; otherwise what enters the tail are token ids, and its head is trained too.
        copied: bytes of frozen numbers that were copied into memory, of a model that is spread over devices.
    """

    def __init__(
        self, model: Any, layers: int | None, rank: int | None, *, recompute: bool = False, full: bool = False
    ) -> None:
        """Cut `model` below its last `layers` layers and attach adapters of `rank` (None: whole weights) to them.

        Args:
            model: a transformers causal language model.
            layers: how many are trained; None, with `full` only: the model is not cut.
            rank: of each adapter.
            recompute: whether trained layers are computed once more in the backward pass instead of being kept.
            full: train every number instead; there are no adapters then.

        Raises:
            AssetError: the model has fewer layers, cannot be cut, or the two parts do not make up the whole.
        """
        if (full and rank is not None) or (layers is None and not full):
            raise AssetError("expected full training without a rank, or adapters in a number of layers")
        spread = is_spread(model)
        if spread and full:
            raise AssetError("full training needs the whole model in the processor's memory; use --device-map cpu")
        whole = model if spread else shared_copy(model).eval()
        for parameter in whole.parameters():
            parameter.requires_grad_(False)
        with explained():
            path, stack = _layers(whole)
        trained = len(stack) if layers is None else layers
        if not 1 <= trained <= len(stack):
            raise AssetError(f"expected 1 to {len(stack)} layers to train, found {layers}; this model has no more")
        self._below, self._recompute = whole.base_model, recompute
        self.full, self.cut = full, layers is not None
        self._first = stack[len(stack) - trained]
        above = settled(whole, _upper(whole, path, trained)) if spread else shared_copy(whole)
        self.copied = sum(one.nbytes for one in above.parameters() if one.device.type == "cpu") if spread else 0
        upper = above.get_submodule(path)
        if self.cut:
            for i in range(len(upper) - trained):
                upper[i] = _Passed()
            _silence(above)
        self._above = above.base_model
        self._head = above.get_output_embeddings()
        self.adapters: dict[str, LowRank] = {}
        self._corrections: dict[str, torch.nn.Parameter] = {}
        with explained():
            self._check(whole)
        names = {f"{path}.{i}": upper[i] for i in range(len(upper) - trained, len(upper))}
        if full:
            with explained():
                parts = {**names, **_after(above, path)} if self.cut else {"": above}
                _require_own(whole, parts)
                self._corrections = free(parts)
                self._require_slopes()
        else:
            self.adapters = attach(names, rank)
        if recompute:
            for layer in names.values():
                layer.forward = partial(_recomputed, layer.forward)

    @property
    def matrices(self) -> dict[str, torch.Tensor]:
        """What is trained: the upper matrix of each adapter by dotted name of its linear map, or all corrections."""
        return {name: adapter.up.weight for name, adapter in self.adapters.items()} or dict(self._corrections)

    @property
    def module(self) -> torch.nn.Module:
        """What is trained, in the order of `matrices`."""
        if self.full:
            return torch.nn.ParameterList(self._corrections.values())
        return torch.nn.ModuleList([adapter.up for adapter in self.adapters.values()])

    @property
    def head(self) -> torch.Tensor:
        """The map to logits, (V, H); differentiable where it is trained."""
        weight: torch.Tensor = self._head.weight
        return weight

    @property
    def head_bias(self) -> torch.Tensor | None:
        """What is added to logits, (V,), or None."""
        return getattr(self._head, "bias", None)

    @torch.no_grad()
    def below(self, ids: torch.Tensor) -> torch.Tensor:
        """What enters the tail for token ids (rows, length) padded on the right: activations (rows, length, H).

        Where nothing is cut off they are the token ids themselves.
        """
        if not self.cut:
            return ids
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
        return reached[0].detach().to(ids.device)

    def above(self, hidden: torch.Tensor) -> torch.Tensor:
        """What the head sees, (rows, length, H), for what `below` gives; differentiable in what is trained."""
        if not self.cut:
            seen: torch.Tensor = self._above(input_ids=hidden, use_cache=False).last_hidden_state
            return seen
        for adapter in self.adapters.values():
            adapter.rows = len(hidden)
        if self._recompute and torch.is_grad_enabled():
            hidden = hidden.detach().requires_grad_()  # re-entrant: a layer none of whose inputs asks has no backward
        out: torch.Tensor = self._above(inputs_embeds=hidden, use_cache=False).last_hidden_state
        return out

    def held(self, positions: int) -> int:
        """Bytes that one row of so many positions holds from its forward to its backward pass."""
        looked_at = min(positions, _LOOKED_AT)
        one, two = (self._held(rows, looked_at) for rows in (1, 2))
        return -(-(two - one) * positions // looked_at)  # what both hold is no row's

    def _held(self, rows: int, positions: int) -> int:
        entering = self.below(self._tokens(positions).expand(rows, -1))
        sizes: dict[int, int] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            seen = self.above(entering)
        return sum(sizes.values()) + seen.nbytes  # storages are told apart by where they lie while the graph is there

    def _tokens(self, positions: int) -> torch.Tensor:
        """Public token ids, (1, positions)."""
        return torch.arange(positions)[None] % self.head.shape[0]

    def _require_slopes(self) -> None:
        """Refuse, on public tokens, what would be noised without being trained, or remembers what it read before."""
        entering = self.below(self._tokens(_PROBE))
        with torch.no_grad():
            first = self.above(entering)
            self.above(self.below(self._tokens(3 * _PROBE)))
            if not torch.equal(first, self.above(entering)):
                raise AssetError("what this model computes depends on what it read before; choose another --model")
        with torch.enable_grad():
            seen = self.above(entering)  # (1, P, H)
            scores = torch.nn.functional.linear(seen, self.head, self.head_bias).float()  # (1, P, V)
            scores.square().mean().backward()
        idle = sum(matrix.grad is None for matrix in self._corrections.values())
        for matrix in self._corrections.values():
            matrix.grad = None
        if idle:
            raise AssetError(
                f"{idle} of {len(self._corrections)} tensors of this model take no part in what it computes of text, "
                "so they cannot be trained; use --tuned-weights whole or low-rank, or choose another --model"
            )

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


def _require_own(model: Any, parts: Mapping[str, torch.nn.Module]) -> None:
    """Refuse tensors that trained and frozen parts share: trained, they would be two."""
    trained = {id(one) for part in parts.values() for one in part.parameters()}
    for name, module in model.named_modules():
        frozen = not any(f"{name}.".startswith(f"{part}.") for part in parts if part) and "" not in parts
        if frozen and any(id(one) in trained for one in module.parameters(recurse=False)):
            raise AssetError(
                "layers that would be trained share numbers with what stays frozen; leave out --tuned-layers to train "
                "the whole model, use --tuned-weights whole or low-rank, or choose another --model"
            )


def _upper(model: Any, path: str, trained: int) -> list[str]:
    """Names of the last layers, of what follows them, and of the head."""
    count = len(model.get_submodule(path))
    head = next(name for name, part in model.named_modules() if part is model.get_output_embeddings())
    return [*(f"{path}.{i}" for i in range(count - trained, count)), *_after(model, path), head]


def _after(model: Any, path: str) -> dict[str, torch.nn.Module]:
    """What follows the layers, up to the head: parts of the base model that are neither layers nor embeddings."""
    base = model.base_model
    prefix = next(name for name, part in model.named_modules() if part is base)
    skipped = (model.get_submodule(path), model.get_input_embeddings())
    around = {id(part) for part in base.modules() if any(one in part.modules() for one in skipped)}
    found: dict[str, torch.nn.Module] = {}
    for name, part in base.named_modules(prefix=prefix):
        inside = any(name.startswith(f"{one}.") for one in (*found, path))
        if id(part) not in around and not inside and name != path and next(part.parameters(), None) is not None:
            found[name] = part
    return found


def _silence(model: Any) -> None:
    """Take out what the lower part has added already: learned positions, and a projection of the embeddings."""
    tokens = model.get_input_embeddings()
    for name, part in list(model.named_modules()):
        parent, _, leaf = name.rpartition(".")
        if isinstance(part, torch.nn.Embedding) and part is not tokens:
            setattr(model.get_submodule(parent), leaf, _Silent())
        elif leaf == "project_in":
            setattr(model.get_submodule(parent), leaf, torch.nn.Identity())
