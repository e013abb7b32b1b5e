"""Training of every number, norms, biases, embeddings and head included: on each architecture, tied and untied."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from privdistill.errors import MechanismError
from privdistill.mechanisms.dpsgd import clip_and_sum
from privdistill.mechanisms.release import FinetuneRequest, MechanismRecord
from privdistill.mechanisms.tail_loss import TailLoss
from privdistill.models.adaptation.low_rank import merged
from privdistill.models.adaptation.tail import Tail
from tests.privdistill.families import FAMILIES, make_network
from tests.privdistill.mechanisms.test_every_family import matrices_of, plain_losses
from tests.privdistill.mechanisms.test_finetuning import (
    BOUND,
    REQUEST,
    corpus,
    folder,
    halves_make_the_whole,
    how_far_a_unit_moves_the_sum,
    loss_of,
    train,
)

__all__ = ["folder"]

FULL = replace(REQUEST, layers=None, rank=None, full=True)
UPPER = replace(FULL, layers=2)


def cells(weights: dict[str, np.ndarray]) -> int:
    return sum(one.size for one in weights.values())


def plain_gradient(loss: TailLoss, records: list[int]) -> np.ndarray:
    module = loss.module
    found = torch.autograd.grad(loss(module, np.array(records)).sum(), list(module.parameters()))
    return torch.cat([one.flatten() for one in found]).double().numpy()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_number_of_the_model_is_trained_and_a_shared_one_once(family: str, tied: bool) -> None:
    network = make_network(family, tied=tied)
    wanted = dict(network.named_parameters())
    found = Tail(network, None, None, full=True).matrices
    assert {name: one.shape for name, one in found.items()} == {name: one.shape for name, one in wanted.items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_above_a_cut_it_is_every_number_of_the_layers_and_of_what_follows_but_the_head(family: str) -> None:
    network = make_network(family)
    everything, found = dict(network.named_parameters()), Tail(network, 2, None, full=True).matrices
    left = set(everything) - set(found)
    assert all(name.split(".")[-1] in ("weight", "bias") for name in found)
    assert any("norm" in name or "ln" in name for name in found)
    layers = {name for name in everything if ".0." in name}
    embeddings = {name for name in everything if "embed" in name or "wte" in name or "wpe" in name}
    assert left == layers | embeddings | {name for name in everything if "project_in" in name or "lm_head" in name}


@pytest.mark.parametrize("request_", [FULL, UPPER], ids=["all", "upper"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_records_loss_is_that_of_the_whole_model(family: str, tied: bool, request_: FinetuneRequest) -> None:
    network, (units, encoded) = make_network(family, tied=tied), corpus(12)
    loss = loss_of(family, units, encoded, request_, network)
    wanted = plain_losses(merged(network, matrices_of(loss)), units, encoded)
    found = {low: loss(loss.module, np.array([low])).item() for [(low, _)] in loss.passes(units.spans())}
    assert found == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_its_gradient_is_that_of_the_model_whose_numbers_they_are(family: str, tied: bool) -> None:
    """Tied embeddings (Opacus #413) have the sum of both uses; learned positions (#841) are those of the record."""
    network, (units, encoded) = make_network(family, tied=tied), corpus(8)
    loss = loss_of(family, units, encoded, FULL, network)
    plain = merged(network, matrices_of(loss)).requires_grad_(True)
    first = next(iter(loss.passes(units.spans())))[0][0]
    kept = loss._kept[first]
    assert kept is not None
    one = kept.sequence
    ids = torch.from_numpy(np.append(one.ids, one.targets[-1]))[None]
    labels = torch.full_like(ids, -100)
    labels[0, one.start + 1 :] = torch.from_numpy(one.targets)
    plain(input_ids=ids, labels=labels, use_cache=False).loss.backward()
    wanted = np.concatenate([p.grad.double().numpy().ravel() for p in plain.parameters()])
    assert np.abs(wanted).max() > 0
    assert np.allclose(plain_gradient(loss, [first]), wanted, atol=1e-5 * np.abs(wanted).max())


@pytest.mark.parametrize("per_unit", [1, 3])
@pytest.mark.parametrize("request_", [FULL, UPPER], ids=["all", "upper"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_unit_moves_the_clipped_sum_by_at_most_the_bound(
    family: str, request_: FinetuneRequest, per_unit: int
) -> None:
    units, encoded = corpus(6 * per_unit, per_unit)
    loss = loss_of(family, units, encoded, request_, make_network(family))
    assert 0.9 * BOUND < how_far_a_unit_moves_the_sum(loss, units, "alone") <= BOUND


@pytest.mark.parametrize("request_", [FULL, UPPER], ids=["all", "upper"])
def test_the_clipped_sum_is_that_of_gradients_clipped_one_by_one(request_: FinetuneRequest) -> None:
    units, encoded = corpus(9, 3)
    loss = loss_of("gpt2", units, encoded, request_)
    total = 0.0
    for part in loss.passes(units.spans()):
        sums = clip_and_sum(loss.module, loss, part, BOUND, clipping="alone")
        total = total + np.concatenate([one.numpy().ravel() for one in sums])
    wanted = 0.0
    for low, high in units.spans():
        gradient = plain_gradient(loss, list(range(low, high)))
        wanted = wanted + gradient * min(1.0, BOUND / np.linalg.norm(gradient))
    assert np.abs(wanted).max() > 0
    assert np.allclose(total, wanted, atol=2e-5 * BOUND)


def test_by_all_three_ways_the_same_weights_get_the_same_sum() -> None:
    """Linear maps alone, so that the other two can tell records apart."""
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(6, 5, bias=False), torch.nn.Tanh(), torch.nn.Linear(5, 1, bias=False))
    rows = torch.randn(9, 4, 6)
    spans = [(i, i + 1) for i in range(len(rows))]

    def loss(module: torch.nn.Module, where: np.ndarray) -> torch.Tensor:
        return module(rows[torch.from_numpy(where)]).square().sum(dim=(1, 2))

    per_unit, ghost = (clip_and_sum(module, loss, spans, BOUND, clipping=way) for way in ("per-unit", "ghost"))
    parts = [clip_and_sum(module, loss, [span], BOUND, clipping="alone") for span in spans]
    alone = [sum(one) for one in zip(*parts, strict=True)]
    assert all(torch.allclose(one, other, atol=1e-9) for one, other in zip(per_unit, alone, strict=True))
    slack = 1e-4 * len(spans) * BOUND  # ghosts clip a little more than they had to
    assert all(torch.allclose(one, other, atol=slack) for one, other in zip(ghost, alone, strict=True))


def test_a_pass_of_two_units_stops_the_run() -> None:
    loss = loss_of("llama", *corpus(8), FULL)
    with pytest.raises(MechanismError, match="more than the one unit"):
        clip_and_sum(loss.module, loss, [(0, 1), (1, 2)], BOUND, clipping="alone")


def test_a_loss_that_reaches_nothing_stops_the_run() -> None:
    """Opacus #820: DP silently off."""
    loss = loss_of("llama", *corpus(8), FULL)
    idle = torch.nn.Linear(2, 2)
    with pytest.raises(MechanismError, match="no trained parameter saw a gradient"):
        clip_and_sum(idle, lambda module, where: loss(loss.module, where), [(0, 1)], BOUND, clipping="alone")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_unit_whose_gradient_is_no_number_moves_nothing_past_the_bound(bad: float) -> None:
    module = torch.nn.Linear(3, 1)
    sums = clip_and_sum(
        module, lambda m, where: m(torch.full((len(where), 3), bad)).sum(dim=1), [(0, 1)], BOUND, clipping="alone"
    )
    norm = float(torch.cat([one.flatten() for one in sums]).norm())
    assert norm <= BOUND


# ------------------------------------------------------------------------------------------------------ a whole run


@pytest.mark.parametrize("request_", [FULL, UPPER], ids=["all", "upper"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_run_moves_every_cell_and_leaves_the_public_model_alone(
    folder: Path, family: str, request_: FinetuneRequest
) -> None:
    network = make_network(family, tied=request_ is FULL)
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    charged: list[MechanismRecord] = []
    release = train(folder, steps=2, units=corpus(12), charge=charged.append, request=request_, network=network)
    assert all(np.abs(one).min() > 0 for one in release.payload.values()), "every cell is noised"
    assert charged[0].dimension == 2 * cells(release.payload)
    assert all(torch.equal(weight, before[name]) for name, weight in network.state_dict().items())
    if request_ is FULL:
        assert cells(release.payload) == sum(one.numel() for one in network.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_model_that_is_released_has_learnt_what_the_records_say(folder: Path, family: str) -> None:
    network, (units, encoded) = make_network(family), corpus(30)
    request = replace(FULL, learning_rate=0.02, expected_units=30.0)
    release = train(folder, steps=8, units=(units, encoded), request=request, noise=1e-6, network=network)
    tuned = merged(network, release.payload)
    before, after = (np.mean(list(plain_losses(one, units, encoded).values())) for one in (network, tuned))
    assert after < before - (0.1 if family == "opt-projected" else 0.3)
    same = network.get_output_embeddings().weight is network.get_input_embeddings().weight
    assert (tuned.get_output_embeddings().weight is tuned.get_input_embeddings().weight) == same


def test_persons_with_several_records_are_trained_on_too(folder: Path) -> None:
    release = train(folder, units=corpus(12, 3), request=FULL)
    assert all(np.abs(one).min() > 0 for one in release.payload.values())


def test_computing_layers_twice_changes_no_bit_of_a_gradient() -> None:
    for request in (FULL, UPPER):
        kept, twice = (loss_of("gpt2", *corpus(8), replace(request, recompute=again)) for again in (False, True))
        records = list(next(iter(kept.passes([(0, 1)])))[0][:1])
        assert np.abs(plain_gradient(kept, records)).max() > 0
        sums = [clip_and_sum(loss.module, loss, [(0, 1)], BOUND, clipping="alone") for loss in (kept, twice)]
        assert all(torch.equal(one, other) for one, other in zip(*sums, strict=True))


def test_halves_make_the_whole(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert halves_make_the_whole(folder, monkeypatch, units=corpus(8), request=FULL)


def test_weights_of_two_bytes_have_corrections_of_four(folder: Path) -> None:
    network = make_network("llama").to(torch.bfloat16)
    loss = loss_of("llama", *corpus(8), FULL, network)
    assert {one.dtype for one in loss._tail.matrices.values()} == {torch.float32}
    release = train(folder, units=corpus(8), request=FULL, network=network)
    tuned = merged(network, release.payload)
    assert {one.dtype for one in tuned.parameters()} == {torch.bfloat16}


# -------------------------------------------------------------------------------------------- the head, and shapes


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_a_bias_of_the_head_is_trained_and_not_only_noised(family: str) -> None:
    network = make_network(family, tied=False)
    head = network.get_output_embeddings()
    head.bias = torch.nn.Parameter(torch.randn(head.out_features, generator=torch.Generator().manual_seed(3)))
    units, encoded = corpus(8)
    loss = loss_of(family, units, encoded, FULL, network)
    name = next(name for name, one in network.named_parameters() if one is head.bias)
    wanted = plain_losses(merged(network, matrices_of(loss)), units, encoded)
    found = {low: loss(loss.module, np.array([low])) for [(low, _)] in loss.passes(units.spans())}
    assert {low: one.item() for low, one in found.items()} == pytest.approx(wanted, rel=1e-4)
    sum(found.values(), torch.zeros(())).backward()
    gradient = loss._tail.matrices[name].grad
    assert gradient is not None
    assert float(gradient.abs().max()) > 0


@pytest.mark.parametrize("request_", [FULL, UPPER], ids=["all", "upper"])
def test_a_pass_has_the_rows_of_its_unit_and_no_more(
    request_: FinetuneRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    units, encoded = corpus(12, 3)
    loss = loss_of("llama", units, encoded, request_)
    rows: list[int] = []
    real = Tail.above
    monkeypatch.setattr(Tail, "above", lambda self, entering: rows.append(len(entering)) or real(self, entering))
    for [(low, high)] in loss.passes(units.spans()):
        loss(loss.module, np.arange(low, high))
        assert rows.pop() == high - low == 3


@pytest.mark.parametrize("request_", [FULL, UPPER], ids=["all", "upper"])
def test_layers_that_are_computed_twice_are(request_: FinetuneRequest) -> None:
    counts = []
    for again in (False, True):
        loss = loss_of("llama", *corpus(4), replace(request_, recompute=again))
        seen = [0]
        layer = loss._tail._above.layers[-1]
        layer.mlp.register_forward_hook(lambda *given, seen=seen: seen.__setitem__(0, seen[0] + 1))
        loss(loss.module, np.array([next(iter(loss.passes([(0, 1), (1, 2)])))[0][0]])).sum().backward()
        counts.append(seen[0])
    assert counts == [1, 2]
