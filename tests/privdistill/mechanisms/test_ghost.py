"""Ghost clipping: the same sums as one gradient per record gives, the same bound, and bugs to be caught."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.errors import ConfigError, MechanismError
from privdistill.mechanisms import dpsgd, finetuning
from privdistill.mechanisms.dpsgd import Schedule, clip_and_sum, ghost, train_privately
from privdistill.mechanisms.dpsgd.ghost import Ghost, is_cheaper
from privdistill.mechanisms.release import FinetuneRequest
from privdistill.models.adaptation.tail import ROWS
from tests.privdistill.families import FAMILIES
from tests.privdistill.mechanisms.test_finetuning import BOUND, REQUEST, corpus, folder, loss_of, same_shape, train

__all__ = ["folder"]

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")

WHOLE = replace(REQUEST, rank=None)
WIDTH, POSITIONS = 4, 3
values = st.sampled_from([0.0, 2e-23, 0.1, -1.0, 3.0, 1e4, 1e20, 1e30, float("nan"), float("inf")])
record = st.lists(st.lists(values, min_size=WIDTH, max_size=WIDTH), min_size=POSITIONS, max_size=POSITIONS)
Records = list[list[list[float]]]


def network() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        first, second = torch.nn.Linear(WIDTH, 5, bias=False), torch.nn.Linear(5, 2, bias=False)
    return torch.nn.Sequential(first, torch.nn.Tanh(), second)


def loss_on(records: Records):
    features = torch.tensor(records, dtype=torch.float32).reshape(-1, POSITIONS, WIDTH)

    def loss(module: torch.nn.Module, where: np.ndarray) -> torch.Tensor:
        out = module(features[torch.from_numpy(where)])  # (B, T, 2)
        return torch.nn.functional.softplus(out[..., 0] - out[..., 1]).sum(dim=1)

    return loss


def clean(records: Records, *, ghost: bool = True) -> np.ndarray:
    spans = [(i, i + 1) for i in range(len(records))]
    parts = clip_and_sum(network(), loss_on(records), spans, BOUND, clipping="ghost" if ghost else "per-unit")
    return np.concatenate([part.detach().double().numpy().ravel() for part in parts])


def moves_within_sensitivity(records: Records) -> bool:
    return bool(np.linalg.norm(clean(records) - clean(records[1:])) <= BOUND)


LARGE: Records = [[[3.0, 1.0, 0.1, 3.0], [1e4, 3.0, 0.0, 0.1], [0.1] * 4], [[0.1, -1.0, 0.0, 0.1]] * 3]


@settings(max_examples=200)
@given(st.lists(record, min_size=1, max_size=5))
def test_one_unit_moves_the_ghostly_sum_by_at_most_the_bound(records: Records) -> None:
    assert moves_within_sensitivity(records)


def test_the_bound_is_reached_so_the_noise_is_not_wasted() -> None:
    assert np.linalg.norm(clean(LARGE) - clean(LARGE[1:])) > 0.99 * BOUND


@pytest.mark.parametrize("rank", [None, 2])
@pytest.mark.parametrize("family", FAMILIES)
def test_sums_are_those_of_one_gradient_per_record(family: str, rank: int | None) -> None:
    loss = loss_of(family, *corpus(60), replace(REQUEST, rank=rank))
    spans = [(i, i + 1) for i in same_shape(loss, 5)]
    for bound in (1e-3, 1e6):  # every record is clipped, none is
        one, other = (
            clip_and_sum(loss.module, loss, spans, bound, ROWS, clipping="ghost" if way else "per-unit")
            for way in (True, False)
        )
        for found, wanted in zip(one, other, strict=True):
            assert float((found - wanted).norm()) <= 2e-3 * float(wanted.norm()) + 1e-9


def test_layers_that_are_computed_twice_are_seen_once() -> None:
    plain, again = (loss_of("llama", *corpus(60), replace(WHOLE, recompute=twice)) for twice in (False, True))
    spans = [(i, i + 1) for i in same_shape(plain, 5)]
    sums = [clip_and_sum(loss.module, loss, spans, BOUND, ROWS, clipping="ghost") for loss in (plain, again)]
    assert all(torch.equal(one, other) for one, other in zip(*sums, strict=True))


def of_cancelling_positions(seed: int) -> float:
    """Norm of a clipped gradient whose positions all but cancel, over the bound; more than one breaks the guarantee."""
    draw = torch.Generator().manual_seed(seed)
    inputs, slopes = (torch.randn((1, 1, n), generator=draw).repeat(1, 40, 1) for n in (64, 128))
    slopes[0, ::2] *= -1
    slopes[0, 0] *= 1 + 1e-3
    exact = (slopes[0].double().T @ inputs[0].double()).norm()
    return float(exact / ghost._largest_square(inputs, slopes).sqrt())


def test_the_norm_is_never_taken_for_less_than_it_is_where_positions_cancel() -> None:
    assert max(of_cancelling_positions(seed) for seed in range(50)) <= 1.0
    assert ghost._rounding(4096, 11008) > 1e-3, "wide maps round more"


def test_planted_a_norm_without_room_for_rounding_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ghost, "_rounding", lambda inside, outside: 0.0)
    assert max(of_cancelling_positions(seed) for seed in range(50)) > 1.0


@pytest.mark.parametrize("bug", ["no clipping", "twice the bound", "first position only"])
def test_planted_bugs_of_clipping_are_caught(monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    real = ghost._sum
    if bug == "no clipping":
        monkeypatch.setattr(ghost, "_sum", lambda seen, factors, fine: real(seen, torch.ones_like(factors), fine))
    elif bug == "twice the bound":
        monkeypatch.setattr(ghost, "_sum", lambda seen, factors, fine: real(seen, 2 * factors, fine))
    else:
        square = ghost._largest_square
        monkeypatch.setattr(ghost, "_largest_square", lambda a, g: square(a[:, :1], g[:, :1]))
    many = [[[1.0, 0.5, 0.3, 3.0]] * POSITIONS, *LARGE]
    assert not moves_within_sensitivity(many)


def test_planted_numbers_left_unfinished_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    odd = [[[float("nan")] * WIDTH] * POSITIONS, *LARGE]
    assert moves_within_sensitivity(odd)
    monkeypatch.setattr(ghost.torch, "where", lambda condition, one, other: one)
    assert not moves_within_sensitivity(odd)


def test_noise_is_added_to_every_cell_and_an_empty_batch_is_noise_alone() -> None:
    for records in (LARGE, []):
        module = network()
        before = [one.detach().clone() for one in module.parameters()]
        train_privately(
            module,
            loss_on(records),
            [(i, i + 1) for i in range(len(records))],
            Schedule(1.0, 1.0, 1, BOUND, 1.0),
            make_optimizer=lambda trained: torch.optim.SGD(trained, lr=1.0),
            clipping="ghost",
        )
        assert all(bool((one != old).all()) for one, old in zip(module.parameters(), before, strict=True))


def test_several_passes_add_up() -> None:
    records = LARGE * 3
    moved = []
    for per_pass in (1024, 2):
        module = network()
        start = torch.nn.utils.parameters_to_vector(module.parameters()).detach().clone()
        train_privately(
            module,
            loss_on(records),
            [(i, i + 1) for i in range(len(records))],
            Schedule(1e-9, 1.0, 1, BOUND, 1.0, per_pass),
            make_optimizer=lambda trained: torch.optim.SGD(trained, lr=1.0),
            clipping="ghost",
        )
        moved.append(start - torch.nn.utils.parameters_to_vector(module.parameters()).detach())
    assert torch.allclose(*moved, atol=1e-5)
    assert np.allclose(moved[0].numpy(), clean(records), atol=1e-5)


# ------------------------------------------------------------------------------------------------------------ refusals


def test_what_it_cannot_clip_is_refused() -> None:
    with pytest.raises(MechanismError, match="linear maps alone"):
        Ghost(torch.nn.Sequential(torch.nn.Linear(2, 2)))  # a bias is trained too
    with pytest.raises(MechanismError, match="linear maps alone"):
        Ghost(torch.nn.Sequential(torch.nn.Embedding(2, 2), torch.nn.Linear(2, 2, bias=False)))
    with pytest.raises(MechanismError, match="units of one record"):
        clip_and_sum(network(), loss_on(LARGE), [(0, 2)], BOUND, clipping="ghost")


def test_a_map_that_is_used_twice_or_not_at_all_stops_the_run() -> None:
    spans = [(0, 1), (1, 2)]
    with pytest.raises(MechanismError, match="used twice"):
        clip_and_sum(
            network(), lambda m, at: loss_on(LARGE)(m, at) + loss_on(LARGE)(m, at), spans, BOUND, clipping="ghost"
        )
    with pytest.raises(MechanismError, match="no slopes of its own"):
        clip_and_sum(network(), lambda m, at: loss_on(LARGE)(m[0], at), spans, BOUND, clipping="ghost")


def test_a_map_that_folds_rows_and_positions_stops_the_run() -> None:
    def folded(module: torch.nn.Module, where: np.ndarray) -> torch.Tensor:
        return module(torch.ones(len(where) * POSITIONS, WIDTH)).reshape(len(where), -1).sum(dim=1)

    with pytest.raises(MechanismError, match="no slopes of its own"):
        clip_and_sum(network(), folded, [(0, 1), (1, 2)], BOUND, clipping="ghost")


# ---------------------------------------------------------------------------------------------------------- the choice


def test_the_cheaper_way_is_a_function_of_public_numbers() -> None:
    assert is_cheaper([(1536, 576)], 64)
    assert not is_cheaper([(1536, 8)], 64)
    assert not is_cheaper([(1536, 576)], 4096)


@pytest.mark.parametrize(
    ("rank", "per_unit", "expected"), [(None, 1, "ghost"), (2, 1, "per-unit"), (None, 2, "per-unit")]
)
def test_whole_weights_of_single_records_are_clipped_by_ghosts(
    folder: Path, monkeypatch: pytest.MonkeyPatch, rank: int | None, per_unit: int, expected: str
) -> None:
    asked: list[str] = []
    real = finetuning.train_privately
    monkeypatch.setattr(
        finetuning, "train_privately", lambda *given, **named: (asked.append(named["clipping"]), real(*given, **named))
    )
    monkeypatch.setattr(finetuning, "is_cheaper", lambda shapes, positions: rank is None)
    request: FinetuneRequest = replace(REQUEST, rank=rank)
    train(folder, request=request, units=corpus(40, per_unit))
    assert asked == [expected]


def test_what_does_not_fit_one_by_one_may_fit_as_a_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = 10_000_000
    there = 4 * cells * finetuning._GHOSTLY_COPIES
    monkeypatch.setattr(finetuning, "memory", lambda: there)
    finetuning._require_memory(cells, "ghost")
    with pytest.raises(ConfigError, match="--tuned-layers"):
        finetuning._require_memory(cells, "ghost", held=1)
    with pytest.raises(ConfigError, match="--tuned-layers"):
        finetuning._require_memory(cells, "per-unit")


def test_what_is_clipped_is_what_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    real = dpsgd._trained
    monkeypatch.setattr(dpsgd, "_trained", lambda module: real(module)[::-1])
    with pytest.raises(MechanismError, match="not what is trained"):
        clean(LARGE)


def test_squares_that_vanish_in_single_precision_are_still_bounded() -> None:
    """Inputs of 2e-23 have a square of zero, and slopes of 1e18 make of them a gradient far beyond the bound."""
    part = torch.nn.Sequential(torch.nn.Linear(1024, 64, bias=False))
    ghost = Ghost(part)
    found = part(torch.full((1, 50, 1024), 2e-23))
    found.backward(torch.full_like(found, 1e18))
    assert part[0].weight.grad.double().norm() > 0.2
    (total,) = ghost.clipped_sums(1, None, 0.1)
    assert 0.09 < total.double().norm() <= 0.1
