"""DP-SGD: Poisson-sample units, clip each unit's gradient, sum, add noise, step. The engine, for any module and loss.

Abadi et al. 2016 (arXiv:1607.00133), through Opacus: per-record gradients by GradSampleModule, steps by DPOptimizer;
norms and sums are taken more exactly than Opacus does (`clipping`, `ghost`). The sum is divided by the *expected* batch
size, a public number, never by how many were drawn; an empty batch is a step of noise alone. A unit of several records
is drawn as a whole and its summed gradient is clipped.

Sampling and noise each read the operating system's randomness, number by number: there is no generator, hence no
state to seed, to log or to keep in a checkpoint (torch.Generator would be seeded with 32 bits, few enough to try).
Noise is a sum of four Gaussians, as in Opacus' secure mode (Holohan & Braghin 2021, arXiv:2107.10138), added in
double precision. It remains floating-point noise, weaker than the integers of `mechanisms.noise`, and claims say so.

It does not know what is trained, epsilon, delta or who is charged: the caller charges before it calls.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from scipy.special import ndtri
from scipy.stats import chi2

from privdistill.errors import MechanismError
from privdistill.mechanisms.dpsgd.clipping import clipped_sums
from privdistill.mechanisms.dpsgd.ghost import Ghost
from privdistill.mechanisms.release import FloatArray, IntArray, MechanismRecord

__all__ = ["Clipping", "Schedule", "Spans", "clip_and_sum", "gaussians", "poisson_sample", "train_privately"]

# Opacus is imported where it is used: importing it configures logging.

Loss = Callable[[torch.nn.Module, IntArray], torch.Tensor]
Spans = Sequence[tuple[int, int]]
Clipping = Literal["per-unit", "ghost", "alone"]
"""How a pass is clipped. `per-unit`: by a gradient of each unit, from Opacus' hooks. `ghost`: from inputs and slopes of
linear maps (see `ghost`), for units of one record. `alone`: it holds one unit, whose gradient is autograd's own, of
whatever is trained."""

_CHUNK = 1 << 18
_MARGIN = 1 - 1e-5
"""Clip a little below the bound that the noise is made for: room for rounding, see `clipping` for how much is used."""
_FALSE_ALARM = 1e-15
"""Chance that honest noise of one step is taken for none, at either end."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Everything that the guarantee of a training run rests on; public numbers.

    Attributes:
        noise_multiplier: noise standard deviation over `max_grad_norm`, calibrated for `sample_rate` and `steps`.
        sample_rate: probability with which each unit is in a batch, independently.
        steps: number of batches.
        max_grad_norm: L2 bound of one unit's gradient.
        expected_batch_size: what sums are divided by: sample_rate times a declared or noised number of units.
        records_per_pass: how many records go through the module at once, and how many rows a loss may fill its batch
            to; speed and memory only.
    """

    noise_multiplier: float
    sample_rate: float
    steps: int
    max_grad_norm: float
    expected_batch_size: float
    records_per_pass: int = 1024

    def __post_init__(self) -> None:
        """Refuse what has no meaning; nothing is clamped."""
        positive = (self.noise_multiplier, self.max_grad_norm, self.expected_batch_size)
        if not all(np.isfinite(value) and value > 0 for value in positive):
            raise MechanismError("expected a positive finite noise multiplier, gradient norm and batch size")
        if not 0 < self.sample_rate <= 1 or self.steps < 1 or self.records_per_pass < 1:
            raise MechanismError("expected 0 < sample_rate <= 1, at least one step and one record a pass")

    def record(self, name: str, cells: int) -> MechanismRecord:
        """What the plan entry `name` is charged as, when every step noises so many cells."""
        return MechanismRecord(
            name=name,
            kind="sampled-gaussian",
            noise_multiplier=self.noise_multiplier,
            sample_rate=self.sample_rate,
            steps=self.steps,
            sensitivity=self.max_grad_norm,
            sensitivity_parts={"gradient": self.max_grad_norm},
            sampler="poisson",
            noise="float-gaussian",
            dimension=cells * self.steps,
            noise_grid_steps=None,
            delta_discretisation=0.0,
            delta_threshold=0.0,
        )


def gaussians(count: int) -> FloatArray:
    """Standard Gaussians, (count,), each from 32 fresh bytes of the operating system."""
    chunks = []
    for start in range(0, count, _CHUNK):
        size = min(_CHUNK, count - start)
        uniform = ((_bits(4 * size) >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53  # (4 size,)
        chunks.append(ndtri(uniform).reshape(4, size).sum(axis=0) / 2)
    return np.concatenate(chunks) if chunks else np.zeros(0)


def poisson_sample(units: int, sample_rate: float) -> IntArray:
    """Indices of the units in one batch: each with probability at most `sample_rate`, independently."""
    return np.flatnonzero((_bits(units) >> np.uint64(11)).astype(np.float64) < np.floor(sample_rate * 2.0**53))


def clip_and_sum(
    module: torch.nn.Module,
    loss: Loss,
    spans: Spans,
    max_grad_norm: float,
    filled: int | None = None,
    *,
    clipping: Clipping = "per-unit",
) -> list[torch.Tensor]:
    """The un-noised sum over units of clipped gradients, one tensor a parameter: private, for tests only.

    Unit: one span. Adjacency: add or remove one span.
    Sensitivity: changes by at most `max_grad_norm` in L2 over all parameters together.
    """
    watched = _WAYS[clipping](module)
    optimizer = _optimizer(torch.optim.SGD(_trained(watched.module), lr=1.0), max_grad_norm, noise_multiplier=1.0)
    watched.backward(loss, spans, filled, optimizer)
    optimizer.clip_and_accumulate()
    watched.remove_hooks()
    return [parameter.summed_grad for parameter in optimizer.params]


def train_privately(
    module: torch.nn.Module,
    loss: Loss,
    spans: Spans,
    schedule: Schedule,
    *,
    make_optimizer: Callable[[list[torch.nn.Parameter]], torch.optim.Optimizer],
    after_step: Callable[[int], None] = lambda step: None,
    passes: Callable[[Spans], Iterable[Spans]] | None = None,
    clipping: Clipping = "per-unit",
) -> None:
    """Train the parameters of `module` that require a gradient, in place. Every iterate may be released.

    Guarantee: all iterates together are one composition of `steps` Poisson-sampled Gaussians of `noise_multiplier`
        and `sample_rate` (float noise); epsilon is what an accountant makes of them.
    Unit: one span of records. Adjacency: add or remove one unit.
    Sensitivity: `max_grad_norm` for one step's sum, whatever the number of records of a unit.

    Args:
        module: layers without state between records; Opacus refuses batch normalisation.
        loss: of the module and record indices (B,), gives (B,) losses, each of its record and the module alone: its
            own or a constant denominator, one sequence a record, no packing, and to the last bit, so its kernels must
            meet one shape however many records there are: it fills its batch.
        spans: (first record, one past the last) of each unit.
        schedule: as reserved and charged.
        make_optimizer: of the trained parameters; what it does with noised gradients is post-processing.
        after_step: told how many steps are done; may copy the parameters.
        passes: cuts a batch into what goes through the module at once, for losses that need equal shapes; units whose
            loss is a constant may be left out. None: whole units in the order of the corpus.
        clipping: by which way; what comes out is the same but for rounding.

    Raises:
        MechanismError: a trained parameter saw no gradient, a sum exceeds what its units are clipped to, or the noise
            is not what it is said to be.
    """
    watched = _WAYS[clipping](module)
    try:
        optimizer = _optimizer(
            make_optimizer(_trained(watched.module)),
            schedule.max_grad_norm,
            noise_multiplier=schedule.noise_multiplier,
            expected_batch_size=schedule.expected_batch_size,
        )
        for step in range(schedule.steps):
            drawn = [spans[i] for i in poisson_sample(len(spans), schedule.sample_rate)]
            optimizer.most = schedule.max_grad_norm * len(drawn)
            parts = list(passes(drawn) if passes else _passes(drawn, schedule.records_per_pass)) or [[]]
            for part in parts:
                optimizer.zero_grad(set_to_none=True)
                watched.backward(loss, part, schedule.records_per_pass, optimizer)
                optimizer.signal_skip_step(do_skip=part is not parts[-1])
                optimizer.step()
            after_step(step + 1)
        optimizer.zero_grad(set_to_none=True)
    finally:
        watched.remove_hooks()


class _PerUnit:
    """One gradient per unit, by Opacus' hooks; the optimizer is handed their clipped sum."""

    def __init__(self, module: torch.nn.Module) -> None:
        from opacus import GradSampleModule

        self.module: Any = GradSampleModule(module, loss_reduction="sum")

    def backward(self, loss: Loss, spans: Spans, filled: int | None, optimizer: Any) -> None:
        _backward(self.module, loss, spans, filled)
        sums = clipped_sums(optimizer.grad_samples, optimizer.max_grad_norm)
        optimizer.clip_and_accumulate = partial(_accumulate, optimizer, sums)

    def remove_hooks(self) -> None:
        self.module.remove_hooks()


class _Ghostly:
    """The same clipped sum without one gradient per unit; the optimizer is handed the sum."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module
        self._ghost = Ghost(module)

    def backward(self, loss: Loss, spans: Spans, filled: int | None, optimizer: Any) -> None:
        if any(high - low != 1 for low, high in spans):
            raise MechanismError("ghost clipping is for units of one record; nothing is released, please report this")
        records = np.array([low for low, _ in spans], dtype=np.int64)
        self._ghost.forget()
        if records.size:
            _losses(self.module, loss, records).sum().backward()  # type: ignore[no-untyped-call]
        sums = self._ghost.clipped_sums(records.size, filled, optimizer.max_grad_norm)
        self._ghost.forget()
        if [id(one) for one in optimizer.params] != [id(one) for one in self._ghost.weights]:
            raise MechanismError("what is clipped is not what is trained; nothing is released, please report this")
        _hand_over(optimizer, sums)

    def remove_hooks(self) -> None:
        self._ghost.remove_hooks()


class _Alone:
    """One unit a pass: what autograd sums is its gradient, of any parameter, and nothing has to be told apart."""

    def __init__(self, module: torch.nn.Module) -> None:
        self.module = module

    def backward(self, loss: Loss, spans: Spans, filled: int | None, optimizer: Any) -> None:
        if len(spans) > 1:
            raise MechanismError("a pass holds more than the one unit that it is for; nothing is released")
        for parameter in optimizer.params:
            parameter.grad = None
        if spans:
            (losses,) = (_losses(self.module, loss, np.arange(low, high)) for low, high in spans)
            losses.sum().backward()  # type: ignore[no-untyped-call]
            if all(parameter.grad is None for parameter in optimizer.params):
                raise MechanismError("no trained parameter saw a gradient; nothing is released, please report this")
        # What a unit does not touch has no gradient of it.
        rows = [
            parameter.new_zeros((len(spans), *parameter.shape)) if parameter.grad is None else _finite(parameter.grad)
            for parameter in optimizer.params
        ]
        _hand_over(optimizer, clipped_sums(rows, optimizer.max_grad_norm, at_once=1))

    def remove_hooks(self) -> None:
        """There are none."""


_WAYS: Mapping[Clipping, type[_PerUnit] | type[_Ghostly] | type[_Alone]] = {
    "per-unit": _PerUnit,
    "ghost": _Ghostly,
    "alone": _Alone,
}


def _finite(gradient: torch.Tensor) -> torch.Tensor:
    """One row, (1, ...), without what is no number."""
    return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)[None]


def _hand_over(optimizer: Any, sums: Sequence[torch.Tensor]) -> None:
    """Let the optimizer take clipped sums in place of gradients: what autograd summed was not clipped."""
    for parameter in optimizer.params:
        parameter.grad = None
        parameter.grad_sample = parameter.new_zeros((0, *parameter.shape))  # Opacus asks that there is one
    optimizer.clip_and_accumulate = partial(_accumulate, optimizer, sums)


def _accumulate(optimizer: Any, sums: Sequence[torch.Tensor]) -> None:
    """Add the clipped sum of one pass to those of the passes before."""
    for parameter, clipped in zip(optimizer.params, sums, strict=True):
        if parameter.summed_grad is None:
            parameter.summed_grad = clipped
        else:
            parameter.summed_grad += clipped


def _losses(module: torch.nn.Module, loss: Loss, records: IntArray) -> torch.Tensor:
    losses = loss(module, records)
    if losses.shape != (records.size,):
        raise MechanismError("expected one loss a record; nothing is released, please report this")
    return losses


def _optimizer(
    inner: torch.optim.Optimizer, max_grad_norm: float, *, noise_multiplier: float, expected_batch_size: float = 1.0
) -> Any:
    """Opacus' optimizer, its noise replaced by one without a generator."""
    from opacus.optimizers import DPOptimizer

    optimizer = DPOptimizer(
        inner,
        noise_multiplier=noise_multiplier,
        max_grad_norm=max_grad_norm * _MARGIN,
        expected_batch_size=expected_batch_size,
        loss_reduction="mean",  # divides the noised sum by the expected batch size
    )
    optimizer.add_noise = partial(_add_noise, optimizer, noise_multiplier * max_grad_norm)
    return optimizer


def _require_clipped(optimizer: Any, bound: float) -> None:
    """Stop before noise is added to a sum that is longer than its units may make it: they were not clipped, or more."""
    squares = sum(float(parameter.summed_grad.double().square().sum()) for parameter in optimizer.params)
    if not math.sqrt(squares) <= bound:  # a NaN is no bound either
        raise MechanismError("a sum of gradients exceeds what its units are clipped to; nothing is released")


def _add_noise(optimizer: Any, deviation: float) -> None:
    """Noise every cell of every summed gradient; the clean sum is dropped as soon as it is noised."""
    _require_clipped(optimizer, optimizer.most)
    squares, cells = 0.0, 0
    for parameter in optimizer.params:
        clean = parameter.summed_grad.double()
        noise = torch.from_numpy(gaussians(clean.numel())).view_as(clean).to(clean.device)
        noised = clean + deviation * noise
        squares, cells = squares + float(((noised - clean) / deviation).square().sum()), cells + clean.numel()
        parameter.grad = noised.to(parameter.dtype).view_as(parameter)
        parameter.summed_grad = None
    # What was added is looked at, every time: noise that is off or too small must never pass in silence.
    if not chi2.ppf(_FALSE_ALARM, cells) <= squares <= chi2.isf(_FALSE_ALARM, cells):
        raise MechanismError("the noise that was added is not the noise that was planned; nothing is released")


def _backward(module: torch.nn.Module, loss: Loss, spans: Spans, filled: int | None = None) -> None:
    """Leave one finite gradient per unit in `grad_sample` of every trained parameter, (units, ...)."""
    records = np.concatenate([np.arange(low, high) for low, high in spans]) if spans else np.zeros(0, np.int64)
    if records.size:
        losses = _losses(module, loss, records)
        with warnings.catch_warnings():  # features need no gradient, and nothing here rests on theirs
            warnings.filterwarnings("ignore", message="Full backward hook is firing", category=UserWarning)
            losses.sum().backward()  # type: ignore[no-untyped-call]
    owner = torch.from_numpy(np.repeat(np.arange(len(spans)), [high - low for low, high in spans]).astype(np.int64))
    for parameter in _trained(module):
        found = getattr(parameter, "grad_sample", None) if records.size else None
        if records.size and (found is None or len(found) not in (records.size, filled)):
            raise MechanismError("a trained parameter saw no gradient of its own for each record; nothing is released")
        per_unit = torch.zeros((len(spans), *parameter.shape), dtype=parameter.dtype, device=parameter.device)
        if found is not None:
            own = found[: records.size]  # a loss may fill its batch with empty rows after the records
            finite = torch.nan_to_num(own.to(parameter.dtype), nan=0.0, posinf=0.0, neginf=0.0)
            per_unit.index_add_(0, owner.to(parameter.device), finite)
            per_unit = torch.nan_to_num(per_unit, nan=0.0, posinf=0.0, neginf=0.0)  # a sum may overflow again
        parameter.grad_sample = per_unit  # type: ignore[attr-defined]


def _passes(spans: Spans, records: int) -> Iterator[list[tuple[int, int]]]:
    """Whole units, together at most `records` records, or one unit that is larger."""
    part: list[tuple[int, int]] = []
    size = 0
    for low, high in spans:
        if part and size + high - low > records:
            yield part
            part, size = [], 0
        part.append((low, high))
        size += high - low
    if part:
        yield part


def _trained(module: torch.nn.Module) -> list[torch.nn.Parameter]:
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def _bits(count: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
    return np.frombuffer(os.urandom(8 * count), dtype=np.uint64)
