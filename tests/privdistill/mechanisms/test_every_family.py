"""What holds of training on one architecture, on each of them: the loss, the bound, a run, and what a run leaves.

Others have been bitten where an architecture differs: Opacus #841 (learned positions are one row for the whole batch),
#413 (one matrix is head and embedding), #792 (padding in the denominator of a loss), #820 (weights that look trained,
and a model that is not).
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from privdistill.features.encoded import Encoded
from privdistill.mechanisms import tail_loss
from privdistill.mechanisms.release import MechanismRecord, PrivateUnits
from privdistill.mechanisms.tail_loss import TailLoss, make_sequences
from privdistill.models.adaptation.low_rank import merged
from tests.privdistill.families import FAMILIES, ToyModel, make_network
from tests.privdistill.mechanisms.test_finetuning import (
    BOUND,
    REQUEST,
    corpus,
    folder,
    how_far_a_unit_moves_the_sum,
    loss_of,
    train,
)

__all__ = ["folder"]

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")

WHOLE = replace(REQUEST, rank=None)
LENGTH = 40


def plain_losses(network: Any, units: PrivateUnits, encoded: Encoded) -> dict[int, float]:
    """What the architecture itself says of each record: padded, and masked as its own loss asks for it."""
    found = {}
    for i, one in enumerate(make_sequences(units, encoded, REQUEST, ToyModel(network))):
        if one is not None:
            ids, labels = torch.zeros((1, LENGTH), dtype=torch.long), torch.full((1, LENGTH), -100)
            said = torch.from_numpy(np.append(one.ids, one.targets[-1]))
            ids[0, : len(said)] = said
            labels[0, one.start + 1 : len(said)] = torch.from_numpy(one.targets)
            with torch.no_grad():
                found[i] = float(network(input_ids=ids, labels=labels, use_cache=False).loss)
    return found


def matrices_of(loss: TailLoss) -> dict[str, np.ndarray]:
    return {name: matrix.detach().double().numpy() for name, matrix in loss._tail.matrices.items()}


def losses_are_the_plain_ones(family: str, *, tied: bool = True) -> bool:
    """Whether the loss of every record is what the architecture says of it alone."""
    network, (units, encoded) = make_network(family, tied=tied), corpus(20)
    assert (network.get_output_embeddings().weight is network.get_input_embeddings().weight) == tied
    loss = loss_of(family, units, encoded, WHOLE, network)
    wanted = plain_losses(merged(network, matrices_of(loss)), units, encoded)
    found: dict[int, float] = {}
    for part in loss.passes(units.spans()):
        records = [low for low, _ in part]
        found.update(zip(records, loss(loss.module, np.array(records)).tolist(), strict=True))
    return bool(found == pytest.approx(wanted, rel=1e-4))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_records_loss_is_that_of_the_whole_model_and_padding_counts_nothing(family: str, tied: bool) -> None:
    """Opacus #792: a mean over masked positions too is another loss, and another one for each length of the batch."""
    assert losses_are_the_plain_ones(family, tied=tied)


def test_planted_padding_in_the_denominator_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = tail_loss.record_loss
    monkeypatch.setattr(tail_loss, "record_loss", lambda w, targets, h: real(w, targets, h) * len(targets) / len(w))
    assert not losses_are_the_plain_ones("llama")


@pytest.mark.parametrize(("ghost", "per_unit"), [(False, 3), (True, 1)])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_unit_moves_the_clipped_sum_by_at_most_the_bound(family: str, ghost: bool, per_unit: int) -> None:
    """Opacus #841: a gradient that is one for all records would not be bounded by any one of them."""
    units, encoded = corpus(9 * per_unit, per_unit)
    loss = loss_of(family, units, encoded, WHOLE if ghost else REQUEST, make_network(family, tied=ghost))
    assert 0.9 * BOUND < how_far_a_unit_moves_the_sum(loss, units, "ghost" if ghost else "per-unit") <= BOUND


@pytest.mark.parametrize("rank", [2, None])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_moves_every_cell_and_nothing_else(folder: Path, family: str, rank: int | None) -> None:
    """Head and embeddings stay as they are, tied (Opacus #413) or not."""
    network = make_network(family, tied=rank is None)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    charged: list[MechanismRecord] = []
    request = replace(REQUEST, rank=rank)
    release = train(folder, steps=2, units=corpus(12), charge=charged.append, request=request, network=network)
    assert all(np.abs(matrix).min() > 0 for matrix in release.payload.values()), "every cell is noised"
    assert charged[0].dimension == 2 * sum(matrix.size for matrix in release.payload.values())
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_an_empty_corpus_gives_steps_of_noise(folder: Path, family: str) -> None:
    nobody = PrivateUnits((), (), np.zeros(0, dtype=np.int64), "record", 1)
    nothing = Encoded(np.zeros((0, 4), np.float32), (), np.zeros(0, dtype=bool))
    release = train(folder, steps=2, units=(nobody, nothing), network=make_network(family))
    assert all(np.abs(matrix).min() > 0 for matrix in release.payload.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_that_is_released_has_learnt_what_the_records_say(folder: Path, family: str) -> None:
    """Opacus #820: the loss of training fell, and the model that came out was of no use. So the latter is measured."""
    network, (units, encoded) = make_network(family), corpus(30)
    request = replace(WHOLE, learning_rate=0.05, expected_units=30.0)
    release = train(folder, steps=8, units=(units, encoded), request=request, noise=1e-6, network=network)
    before, after = (
        np.mean(list(plain_losses(one, units, encoded).values())) for one in (network, merged(network, release.payload))
    )
    # What this one says of words is next to flat, whatever its layers do.
    assert after < before - (0.01 if family == "opt-projected" else 0.3)
