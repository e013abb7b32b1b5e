"""A DP-SGD run of a linear head on frozen, record-local embeddings; every iterate comes out.

The features are those of the statistic (`features.blocks.project`), the engine is `mechanisms.dpsgd`. Releasing all
iterates costs nothing beyond the last one: the accountant counts every step as seen.

Every pass has `ROWS` rows that begin at whole cache lines: the product with the head adds up in another order for
another number of rows, or for a row that begins elsewhere, and a record's gradient would depend on its batch mates.

It does not know epsilon, delta or who asked.
"""

from collections.abc import Callable

import numpy as np
import torch

from privdistill.accounting.budget import Sampling
from privdistill.errors import MechanismError
from privdistill.features.blocks import class_of, project
from privdistill.features.encoded import Encoded
from privdistill.mechanisms.dpsgd import Schedule, train_privately
from privdistill.mechanisms.release import ExpertRequest, FloatArray, IntArray, MechanismRecord, PrivateUnits, Release

__all__ = ["ROWS", "head_loss", "make_head", "release_expert"]

ROWS = 256
_LINE = 8
"""Doubles of a cache line."""


def make_head(start: FloatArray) -> torch.nn.Linear:
    """A linear head (K, d) in double precision with the given weights, bias last."""
    classes, columns = start.shape
    head = torch.nn.Linear(columns - 1, classes, dtype=torch.float64)
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(start[:, :-1]))
        head.bias.copy_(torch.from_numpy(start[:, -1]))
    return head


def head_loss(
    units: PrivateUnits, encoded: Encoded, request: ExpertRequest
) -> Callable[[torch.nn.Module, IntArray], torch.Tensor]:
    """Cross-entropy of each record by itself; a record without a class has loss 0, hence gradient 0.

    Batches are filled up to `ROWS` rows; one unit of more records has a pass of its own.
    """
    found = units.labels if units.labels is not None else [None] * len(units.texts)
    classes = [class_of(request.classes, label, one) for label, one in zip(found, encoded.embeddings, strict=True)]
    rows = [project(one, request.centre, request.basis, request.feature_clip) for one in encoded.embeddings]
    features = torch.from_numpy(np.array(rows, dtype=np.float64).reshape(len(rows), request.basis.shape[1]))
    targets = torch.tensor([-1 if y is None else y for y in classes], dtype=torch.int64)

    def loss(head: torch.nn.Module, records: IntArray) -> torch.Tensor:
        where = torch.from_numpy(records)
        columns = features.shape[1]
        batch = features.new_zeros((max(ROWS, len(where)), -(-columns // _LINE) * _LINE))[:, :columns]  # (ROWS, d)
        batch[: len(where)] = features[where]
        logits = head(batch)[: len(where)]
        return torch.nn.functional.cross_entropy(logits, targets[where], ignore_index=-1, reduction="none")

    return loss


def release_expert(
    units: PrivateUnits,
    encoded: Encoded,
    request: ExpertRequest,
    *,
    noise_multiplier: float,
    sampling: Sampling,
    charge: Callable[[MechanismRecord], None],
) -> Release:
    """Train the head once with DP-SGD and let every iterate out.

    Guarantee: a composition of `sampling.steps` Poisson-sampled Gaussians of `noise_multiplier` and
        `sampling.sample_rate` (float noise).
    Unit: the privacy unit of `units`. Adjacency: add or remove one unit.
    Sensitivity: request.max_grad_norm, for the sum of one step.

    Returns:
        payload `iterates`: (steps + 1, K, d + 1), the start first; noise `iterates`: standard deviation of what one
        step adds to one cell.

    Raises:
        MechanismError: a parameter without meaning, a unit above the contribution bound, or a refused charge.
    """
    schedule = Schedule(
        noise_multiplier=noise_multiplier,
        sample_rate=sampling.sample_rate,
        steps=sampling.steps,
        max_grad_norm=request.max_grad_norm,
        expected_batch_size=max(1.0, sampling.sample_rate * request.expected_units),
        records_per_pass=ROWS,
    )
    spans = units.spans()
    if any(high - low > units.contribution_bound for low, high in spans):
        raise MechanismError("a unit exceeds the contribution bound; nothing is released, please report this")
    if request.start.shape != (len(request.classes.names), request.basis.shape[1] + 1):
        raise MechanismError("expected a head of one row per class and one column per feature and bias")
    record = schedule.record(request.name, request.start.size)
    charge(record)
    head = make_head(request.start)
    iterates = [request.start.astype(np.float64)]

    def keep(step: int) -> None:
        del step
        with torch.no_grad():
            iterates.append(np.hstack([head.weight.numpy(), head.bias.numpy()[:, None]]).copy())

    train_privately(
        head,
        head_loss(units, encoded, request),
        spans,
        schedule,
        make_optimizer=lambda trained: torch.optim.SGD(trained, lr=request.learning_rate, momentum=request.momentum),
        after_step=keep,
    )
    deviation = request.learning_rate * noise_multiplier * request.max_grad_norm / schedule.expected_batch_size
    return Release(
        payload={"iterates": np.stack(iterates)},
        noise={"iterates": deviation},
        record=record,
        classes=request.classes.names,
    )
