"""A language model, trained on the records by DP-SGD: adapters or every number, of the last layers or of all of it.

Below the cut a record passes once and its activations are kept in memory; above it the engine (`mechanisms.dpsgd`)
trains adapters, low-rank or of whole weights. Every pass has the same number of rows and a padded length that its own
units decide, so that a unit's gradient is bitwise a function of the unit and the iterate: never of its batch mates.
In full training a pass is one unit, whatever is trained: norms, biases, embeddings and head have no mates either.

Each step is persisted before the next one begins. A killed run goes on from the last persisted step; a step that was
not persisted was seen by nobody and is drawn anew, under the same charge (see `mechanisms.checkpoints`). Random state
is never stored.

It does not know epsilon, delta, who asked, or what is written with the adapted model.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from privdistill.accounting.budget import Sampling
from privdistill.errors import ConfigError, MechanismError, PrivacyError
from privdistill.features.encoded import Encoded
from privdistill.machine import memory
from privdistill.mechanisms.checkpoints import Checkpoint, Checkpoints
from privdistill.mechanisms.dpsgd import Clipping, Schedule, Spans, train_privately
from privdistill.mechanisms.dpsgd.ghost import is_cheaper
from privdistill.mechanisms.likelihood import Head
from privdistill.mechanisms.release import FinetuneRequest, MechanismRecord, PrivateUnits, Release
from privdistill.mechanisms.tail_loss import TailLoss, make_sequences
from privdistill.models.adaptation.locality import require_local
from privdistill.models.adaptation.placement import in_memory
from privdistill.models.adaptation.tail import GRID, ROWS, Tail, padded_length
from privdistill.models.interface import TunableModel

__all__ = ["release_adapter", "require_trainable"]


_COPIES = 1.4
"""Gradients of all parameters, room for those of one to be gathered by unit, and a sum in double precision."""
_GHOSTLY_COPIES = 14
"""Trained numbers, a copy of them, their sums in double precision, noise, and what Adam and a checkpoint keep."""
_COPIES_ALONE = 22
"""The same, one gradient, the tensors that compute, and what a resumed run reads."""
_LOGITS = 3
"""Logits, their slopes and the probabilities in between."""


def release_adapter(
    units: PrivateUnits,
    encoded: Encoded,
    request: FinetuneRequest,
    model: TunableModel,
    *,
    noise_multiplier: float,
    sampling: Sampling,
    charge: Callable[[MechanismRecord], None],
    kept: Callable[[MechanismRecord], None],
    checkpoints: Checkpoints,
    progress: Callable[[str, int, int], None] = lambda stage, done, total: None,
) -> Release:
    """Train once with DP-SGD and let the last iterate out.

    Guarantee: a composition of `sampling.steps` Poisson-sampled Gaussians of `noise_multiplier` and
        `sampling.sample_rate` (float noise); the release is a function of its last iterate.
    Unit: the privacy unit of `units`. Adjacency: add or remove one unit.
    Sensitivity: request.max_grad_norm, for the sum of one step.

    Args:
        units: the train side.
        encoded: the same records, tokenised by the model's own tokenizer.
        request: what to train.
        model: the public model.
        noise_multiplier: calibrated for this plan entry.
        sampling: of the plan.
        charge: marks the whole schedule as drawn; called before the first step.
        kept: told once the first step is persisted: from then on the run goes on from a checkpoint, or not at all.
        checkpoints: where every step is persisted, and found again.
        progress: (stage, done, total).

    Returns:
        payload: dotted name of each adapted map -> (outside, rank) matrix, or of each parameter -> correction; noise
        `step`: standard deviation of the noise in one cell of one averaged gradient.

    Raises:
        PrivacyError: another model than the declared one, units too large for one pass, or a shortlist of no meaning.
        AssetError: the model cannot be cut, or computes records together.
        ConfigError: gradients of one pass do not fit into memory.
        MechanismError: weights did not move, an invariant was broken, or the charge is refused.
    """
    tail, clipping = require_trainable(request, model, units.contribution_bound)
    spans = units.spans()
    if any(high - low > units.contribution_bound for low, high in spans):
        raise MechanismError("a unit exceeds the contribution bound; nothing is released, please report this")
    schedule = Schedule(
        noise_multiplier=noise_multiplier,
        sample_rate=sampling.sample_rate,
        steps=sampling.steps,
        max_grad_norm=request.max_grad_norm,
        expected_batch_size=max(1.0, sampling.sample_rate * request.expected_units),
        records_per_pass=ROWS,
    )
    matrices = tail.matrices
    shortlist = None if request.shortlist is None else torch.from_numpy(request.shortlist)
    head = Head.of(tail.head, tail.head_bias, shortlist) if tail.cut else None
    record = schedule.record(request.name, sum(matrix.numel() for matrix in matrices.values()))
    found = checkpoints.load(request, schedule)
    if found is None:
        charge(record)
    else:
        kept(record)
        _restore(matrices, found)
    if found is None or found.steps < schedule.steps:
        loss = TailLoss(tail, head, make_sequences(units, encoded, request, model), progress)
        _train(loss, matrices, spans, schedule, request, checkpoints, lambda: kept(record), found, progress, clipping)
    if checkpoints.history(request.name) != (record.noise_multiplier, record.sample_rate, record.steps):
        raise MechanismError("the steps that are persisted are not those that were charged; nothing is released")
    return Release(
        payload={name: matrix.detach().numpy().astype(np.float64) for name, matrix in matrices.items()},
        noise={"step": noise_multiplier * request.max_grad_norm / schedule.expected_batch_size},
        record=record,
        classes=request.classes.names,
    )


def require_trainable(
    request: FinetuneRequest, model: TunableModel, contribution_bound: int, records: float | None = None
) -> tuple[Tail, Clipping]:
    """What can be refused by public facts, so that it is refused before anything is charged.

    Args:
        request: its classes and counts do not matter here.
        model: that would be trained.
        contribution_bound: most records of a unit.
        records: about how many were declared to be read, never how many there are; None: not looked at.

    Returns:
        The layers that are trained, and how sums are clipped: what takes least room.

    Raises:
        PrivacyError: another model than the declared one, units too large for one pass, or texts that may be longer
            than the model has positions for.
        AssetError: the model cannot be cut into lower and upper layers, or computes records together.
        ConfigError: gradients of one pass, or activations of all records, may not fit into memory.
    """
    if request.model != model.id:
        raise PrivacyError(f"the plan names model {request.model!r}, found {model.id!r}; train the declared one")
    if contribution_bound > ROWS:
        raise PrivacyError(
            f"a unit's gradient is clipped as a whole, so its records pass together: expected a contribution bound of "
            f"at most {ROWS}, found {contribution_bound}; lower --contribution-bound"
        )
    positions, there = _positions(request, model), getattr(model.body.config, "max_position_embeddings", None)
    if there is not None and positions > there:  # or whether a run ends would depend on how long records are
        raise PrivacyError(
            f"a prompt and {request.max_tokens} tokens of a record may take {positions} positions, and this model has "
            f"{there}; lower --max-tokens, or choose another --model"
        )
    tail = Tail(model.body, request.layers, request.rank, recompute=request.recompute, full=request.full)
    if request.shortlist is not None and not tail.cut:
        raise PrivacyError(
            "a shortlist is for a frozen head, and here the head is trained; drop --vocabulary-shortlist"
        )
    require_local(tail)
    matrices = tail.matrices
    cells = sum(matrix.numel() for matrix in matrices.values())
    held, logits = tail.held(positions), 4 * _LOGITS * positions * len(tail.head)
    clipping: Clipping = "per-unit"
    if tail.full:
        clipping = "alone"  # where the head sees slopes, logits of all records of a unit are there at once
        held = contribution_bound * (held + (0 if tail.cut else logits))
    # A unit of several records is clipped as a whole, which needs its gradient.
    elif contribution_bound == 1 and is_cheaper([one.shape for one in matrices.values()], positions):
        clipping = "ghost"
        held = ROWS * (held + 4 * positions * sum(sum(matrix.shape) for matrix in matrices.values()))
    else:
        held = ROWS * held
    taken = _require_memory(cells, clipping, held + logits + in_memory(model.body) + tail.copied)
    if records is not None:
        _require_room(tail, records, positions, taken)
    return tail, clipping


def _train(
    loss: TailLoss,
    matrices: dict[str, torch.Tensor],
    spans: Spans,
    schedule: Schedule,
    request: FinetuneRequest,
    checkpoints: Checkpoints,
    kept: Callable[[], None],
    found: Checkpoint | None,
    progress: Callable[[str, int, int], None],
    clipping: Clipping,
) -> None:
    done = 0 if found is None else found.steps
    adam: list[torch.optim.Adam] = []
    before = {name: matrix.detach().clone() for name, matrix in matrices.items()}

    def make_optimizer(trained: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
        if [id(one) for one in trained] != [id(one) for one in matrices.values()]:
            raise MechanismError("the parameters that are trained are not those of the plan; nothing is released")
        adam.append(torch.optim.Adam(trained, lr=request.learning_rate))
        if found is not None:
            found.restore(adam[0], matrices)
        return adam[0]

    def after_step(step: int) -> None:
        # Every cell is noised at every step, so a matrix that stands still was neither trained nor noised.
        for name, matrix in matrices.items():
            still = torch.equal(matrix, before[name])
            if still or not bool(torch.isfinite(matrix).all()):
                raise MechanismError("a step left an adapter as it was, or not finite; nothing is released")
            before[name].copy_(matrix.detach())
        checkpoints.save(request, schedule, Checkpoint.of(done + step, matrices, adam[0]))
        if done + step == 1:
            kept()
        progress("training the generator", done + step, schedule.steps)

    train_privately(
        loss.module,
        loss,
        spans,
        replace(schedule, steps=schedule.steps - done),
        make_optimizer=make_optimizer,
        after_step=after_step,
        passes=loss.passes,
        clipping=clipping,
    )


def _positions(request: FinetuneRequest, model: TunableModel) -> int:
    """Most positions of a record, by public limits."""
    prompt = max((len(model.token_ids(text)) for one in request.prompts for text in one), default=0)
    return padded_length(prompt + padded_length(request.max_tokens + 1))


def _require_memory(cells: int, clipping: Clipping, held: int = 0) -> float:
    """Refuse before anything is charged what would be killed half-way; returns the bytes that training takes.

    Each row of a pass has gradients of its own; with ghost clipping there is one sum, noised in double precision; a
    unit alone has one gradient beside that sum. Beside them there are `held` bytes: the model, and what the pass with
    the longest records holds.
    """
    copies = {"per-unit": ROWS * _COPIES, "ghost": _GHOSTLY_COPIES, "alone": _COPIES_ALONE}
    needed = 4 * cells * copies[clipping] + held
    there = memory()
    if there is not None and needed > there:
        raise ConfigError(
            f"{cells:,} trained numbers take about {needed / 1e9:.3g} GB with the model and one pass, and this "
            f"machine or container has {there / 1e9:.3g}; train fewer layers with --tuned-layers, or --tuned-weights "
            "low-rank"
        )
    return needed


def _require_room(tail: Tail, records: float, positions: int, taken: float) -> None:
    """Refuse what does not fit should every record be as long as it may: else a run would end by how long they are."""
    entering = tail.below(torch.zeros((1, GRID), dtype=torch.long))  # (1, GRID, H), or (1, GRID) token ids
    needed = records * positions * entering.element_size() * entering.numel() / GRID
    there = memory()
    if there is not None and needed + taken > there:
        raise ConfigError(
            f"about {records:,.0f} declared records of up to {positions} positions may need {needed / 1e9:.3g} GB for "
            f"activations beside {taken / 1e9:.3g} for training, and this machine or container has {there / 1e9:.3g}; "
            "lower --max-tokens, or choose another --recipe"
        )


def _restore(matrices: dict[str, torch.Tensor], found: Checkpoint) -> None:
    if set(found.weights) != set(matrices):
        raise MechanismError("the checkpoint holds other adapters than the plan; start a new run")
    with torch.no_grad():
        for name, matrix in matrices.items():
            matrix.copy_(found.weights[name])
