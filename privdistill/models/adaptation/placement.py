"""A model whose parts lie in several places: on accelerators, in memory, on disk (by accelerate's `device_map`).

What is trained has to be in the processor's memory, what only computes has not: `settled` makes a model of the same
structure of which the named parts are in memory and nothing else is. `corrected` lets the spread model compute with
trained corrections without touching a weight, wherever it lies.

It does not know what is trained, or where a part would best lie.
"""

import copy
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from privdistill.errors import ConfigError
from privdistill.models.adaptation.low_rank import LowRank, correction_of

__all__ = ["corrected", "in_memory", "is_spread", "settled"]

_CPU = torch.device("cpu")


def is_spread(model: torch.nn.Module) -> bool:
    """Whether some of its numbers are elsewhere than in the processor's memory."""
    return any(part.device.type != "cpu" for part in model.parameters())


def in_memory(model: Any) -> int:
    """Bytes of its numbers that lie in the processor's memory, those that wait there for an accelerator included."""
    places: Mapping[str, Any] = getattr(model, "hf_device_map", {})
    if not is_spread(model) or not places:
        return sum(one.nbytes for one in model.parameters() if one.device.type == "cpu")
    found = 0
    for name, one in model.named_parameters():
        part = max((part for part in places if not part or f"{name}.".startswith(f"{part}.")), key=len, default=None)
        found += one.nbytes if part is not None and str(places[part]) == "cpu" else 0
    return found


def settled(model: Any, parts: Collection[str]) -> Any:
    """A model of the same structure: `parts` (dotted names) and what they hold in memory, all other numbers nowhere.

    Args:
        model: a transformers model, spread or not; left as it is.
        parts: names of modules.
    """
    from accelerate.utils.modeling import align_module_device, has_offloaded_params

    config = copy.deepcopy(model.config)
    with torch.device("meta"):
        made = type(model)(config)
    for name, module in model.named_modules():
        own = made.get_submodule(name)
        offloaded = has_offloaded_params(module)
        with align_module_device(module, _CPU) if offloaded else nullcontext():
            for leaf, buffer in module.named_buffers(recurse=False):  # angles of positions and the like: small
                setattr(own, leaf, buffer.detach().to(_CPU, copy=True))
            if any(name == part or name.startswith(f"{part}.") for part in parts):
                for leaf, one in module.named_parameters(recurse=False):
                    setattr(own, leaf, torch.nn.Parameter(one.detach().to(_CPU, copy=True), requires_grad=False))
    return made.eval()


@contextmanager
def corrected(model: torch.nn.Module, corrections: Mapping[str, npt.NDArray[np.float64]]) -> Iterator[None]:
    """Let linear maps of a spread model compute with corrections of theirs (dotted name -> `up`) for a while.

    Raises:
        ConfigError: they do not fit this model, or change nothing.
    """
    if not any(np.any(up) for up in corrections.values()):
        raise ConfigError("the adapter leaves every weight of the model as it was; it was not trained")
    made = {name: correction_of(model, name, up) for name, up in corrections.items()}
    with ExitStack() as stack:
        for name, one in made.items():
            handle = model.get_submodule(name).register_forward_hook(_Added(one), with_kwargs=True)
            stack.callback(handle.remove)
        yield


class _Added:
    """Adds a correction to what a map has computed, where it was computed."""

    def __init__(self, wrapped: LowRank) -> None:
        self._wrapped = wrapped

    def __call__(
        self, module: torch.nn.Module, given: tuple[torch.Tensor, ...], named: dict[str, Any], output: torch.Tensor
    ) -> torch.Tensor:
        entered = given[0] if given else next(iter(named.values()))
        for part in (self._wrapped.up, self._wrapped.down):
            part.to(output.device)
        return output + self._wrapped.correction(entered.to(output.device)).reshape(output.shape).to(output.dtype)
