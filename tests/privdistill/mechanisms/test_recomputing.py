"""Adapted layers that are computed twice instead of kept: the same gradient of each record, and less is held."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from privdistill.errors import MechanismError
from privdistill.mechanisms.dpsgd import clip_and_sum
from privdistill.mechanisms.tail_loss import TailLoss
from privdistill.models.adaptation import tail as tail_module
from privdistill.models.adaptation.low_rank import round_maps
from privdistill.models.adaptation.tail import ROWS
from tests.privdistill.families import FAMILIES, make_network
from tests.privdistill.mechanisms import test_finetuning
from tests.privdistill.mechanisms.test_finetuning import (
    BOUND,
    REQUEST,
    corpus,
    gradient_is_its_own,
    gradients,
    loss_of,
    same_shape,
    train,
)

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")

TWICE = replace(REQUEST, recompute=True)


@pytest.mark.parametrize("rank", [2, None])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_record_has_bitwise_the_gradient_that_it_has_without(family: str, rank: int | None) -> None:
    kept, twice = (loss_of(family, *corpus(60), replace(one, rank=rank)) for one in (REQUEST, TWICE))
    records = same_shape(kept, 5)
    first, second = (gradients(loss, loss.module, records) for loss in (kept, twice))
    assert np.abs(first).max() > 0
    assert np.array_equal(first, second)


@pytest.mark.parametrize("rounded", [False, True])
def test_so_in_bfloat16_and_on_rounded_maps(rounded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    def network(family: str) -> object:
        made = make_network(family).to(torch.bfloat16)
        if rounded:
            round_maps(made)
        return made

    monkeypatch.setattr(test_finetuning, "make_network", network)
    kept, twice = (loss_of("llama", *corpus(60), one) for one in (REQUEST, TWICE))
    records = same_shape(kept, 5)
    first, second = (gradients(loss, loss.module, records) for loss in (kept, twice))
    assert np.abs(first).max() > 0
    assert np.array_equal(first, second)
    assert gradient_is_its_own("llama", request=TWICE)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_records_gradient_does_not_depend_on_its_batch_mates(family: str) -> None:
    assert gradient_is_its_own(family, request=TWICE)


def _clipped(loss: TailLoss) -> list[torch.Tensor]:
    return clip_and_sum(loss.module, loss, [(i, i + 1) for i in same_shape(loss, 5)], BOUND, ROWS)


def test_the_clipped_sum_is_the_same_too() -> None:
    kept, twice = (_clipped(loss_of("gpt2", *corpus(60), one)) for one in (REQUEST, TWICE))
    assert all(torch.equal(one, other) for one, other in zip(kept, twice, strict=True))


def test_the_kind_that_shows_a_layer_to_opacus_twice_fails_loudly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: checkpointing that is not re-entrant."""
    loss = loss_of("llama", *corpus(60), TWICE)
    assert _clipped(loss)
    monkeypatch.setattr(tail_module, "_REENTRANT", False)
    with pytest.raises(MechanismError, match="no gradient of its own"):
        _clipped(loss)


def test_a_training_run_ends_and_moves_every_cell(tmp_path: Path) -> None:
    release = train(tmp_path, request=TWICE)
    assert all(np.abs(matrix).min() > 0 for matrix in release.payload.values())


def test_what_the_backward_pass_needs_is_not_held_in_between() -> None:
    """Bytes that autograd saves between the forward and the backward pass, for the same losses."""
    held = []
    for request in (REQUEST, TWICE):
        loss = loss_of("llama", *corpus(60), replace(request, layers=3))
        records, seen = same_shape(loss, 5), dict[int, int]()

        def keep(tensor: torch.Tensor, seen: dict[int, int] = seen) -> torch.Tensor:
            if not isinstance(tensor, torch.nn.Parameter):
                seen[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss(loss.module, np.array(records))
        held.append(sum(seen.values()))
    assert held[1] < 0.5 * held[0]
