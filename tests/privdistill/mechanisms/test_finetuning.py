"""Training of adapters on records: whose gradient depends on what, what is charged and persisted, and planted bugs."""

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from privdistill.accounting.budget import Sampling
from privdistill.errors import MechanismError, RunError
from privdistill.features.encoded import Encoded
from privdistill.features.sequences import token_sequence
from privdistill.mechanisms import dpsgd, finetuning
from privdistill.mechanisms.checkpoints import Checkpoints
from privdistill.mechanisms.dpsgd import Clipping, clip_and_sum
from privdistill.mechanisms.finetuning import release_adapter
from privdistill.mechanisms.likelihood import Head
from privdistill.mechanisms.release import ClassRule, FinetuneRequest, MechanismRecord, PrivateUnits, Release
from privdistill.mechanisms.tail_loss import TailLoss, make_sequences
from privdistill.models.adaptation.tail import ROWS, Tail
from tests.privdistill.families import FAMILIES, VOCABULARY, ToyModel, make_network

# Activations below the cut need no gradient, and nothing here rests on theirs.
pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")

BOUND = 0.5
REQUEST = FinetuneRequest(
    name="generator",
    classes=ClassRule(("a", "b")),
    model="toy",
    layers=2,
    rank=2,
    prompts=(("good:", "so good"), ("bad:",)),
    end=1,
    max_tokens=20,
    shortlist=None,
    max_grad_norm=BOUND,
    expected_units=40.0,
    learning_rate=0.01,
)


def corpus(records: int = 40, per_unit: int = 1, seed: int = 0) -> tuple[PrivateUnits, Encoded]:
    rng = np.random.default_rng(seed)
    tokens = tuple(rng.integers(2, VOCABULARY, size=int(rng.integers(1, 26))).astype(np.int64) for _ in range(records))
    units = PrivateUnits(
        tuple(f"text {i} of {seed}" for i in range(records)),
        tuple("abz"[int(i)] for i in rng.choice(3, size=records, p=[0.5, 0.4, 0.1])),  # z has no class
        np.arange(records) // per_unit,
        "record" if per_unit == 1 else "person",
        per_unit,
    )
    return units, Encoded(np.zeros((records, 4), np.float32), tokens, np.zeros(records, dtype=bool))


def loss_of(
    family: str,
    units: PrivateUnits,
    encoded: Encoded,
    request: FinetuneRequest = REQUEST,
    network: object = None,
) -> TailLoss:
    model = ToyModel(network or make_network(family))
    tail = Tail(model.network, request.layers, request.rank, recompute=request.recompute, full=request.full)
    shortlist = None if request.shortlist is None else torch.from_numpy(request.shortlist)
    with torch.no_grad():
        for seed, matrix in enumerate(tail.matrices.values()):  # not at the start, where some gradients vanish
            matrix.copy_(torch.randn(matrix.shape, generator=torch.Generator().manual_seed(seed)) * 0.1)
    sequences = make_sequences(units, encoded, request, model)
    return TailLoss(tail, Head.of(tail.head, tail.head_bias, shortlist) if tail.cut else None, sequences)


def gradients(loss: Callable, module: torch.nn.Module, records: list[int]) -> np.ndarray:
    """Per-record gradients (B, P) of one pass, as Opacus sees them."""
    from opacus import GradSampleModule

    wrapped = GradSampleModule(module, loss_reduction="sum")
    try:
        loss(wrapped, np.array(records)).sum().backward()
        parts = [parameter.grad_sample.flatten(1) for parameter in wrapped.parameters()]
    finally:
        wrapped.remove_hooks()
    return torch.cat(parts, dim=1)[: len(records)].numpy()


def same_shape(loss: TailLoss, count: int) -> list[int]:
    """Records of one padded length, as a pass holds them."""
    spans = [(i, i + 1) for i in range(len(loss._lengths))]
    part = next(part for part in loss.passes(spans) if len(part) >= count)
    return [low for low, _ in part[:count]]


def gradient_is_its_own(
    family: str, of: Callable[[TailLoss], Callable] = lambda loss: loss, request: FinetuneRequest = REQUEST
) -> bool:
    """Whether a record's gradient is bitwise the same alone, in another row, and with other mates."""
    loss = loss_of(family, *corpus(60), request)
    records = same_shape(loss, 5)
    first = records[0]
    seen = [
        gradients(of(loss), loss.module, chosen)[chosen.index(first)]
        for chosen in (records, [first], records[::-1], [records[2], first])
    ]
    return bool(np.abs(seen[0]).max() > 0) and all(np.array_equal(seen[0], other) for other in seen[1:])


@pytest.mark.parametrize("family", FAMILIES)
def test_a_records_gradient_does_not_depend_on_its_batch_mates(family: str) -> None:
    assert gradient_is_its_own(family)


@pytest.mark.parametrize("family", FAMILIES)
def test_so_with_whole_weights_of_one_layer_or_of_all(family: str) -> None:
    for layers in (1, 3):
        assert gradient_is_its_own(family, request=replace(REQUEST, rank=None, layers=layers))


class _Coupled:
    """Planted: what Hugging Face's loss does, a mean over all tokens of the batch."""

    def __init__(self, loss: TailLoss) -> None:
        self._loss = loss

    def __call__(self, module: torch.nn.Module, records: np.ndarray) -> torch.Tensor:
        counts = torch.tensor([float(len(self._loss._kept[i].sequence.targets)) for i in records])
        return self._loss(module, records) * counts / counts.sum()


def test_a_loss_that_is_averaged_over_the_batch_is_caught() -> None:
    assert not gradient_is_its_own("llama", _Coupled)


@pytest.mark.parametrize("family", FAMILIES)
def test_opacus_gradients_are_those_of_each_record_by_itself(family: str) -> None:
    """Neither learned positions that are one row for all (Opacus #841) nor tied embeddings (#413) get in between."""
    loss = loss_of(family, *corpus(60))
    records = same_shape(loss, 4)
    found = gradients(loss, loss.module, records)
    for row, record in enumerate(records):
        module = loss.module
        wanted = torch.autograd.grad(loss(module, np.array([record])).sum(), list(module.parameters()))
        assert np.allclose(found[row], torch.cat([one.flatten() for one in wanted]).numpy(), atol=1e-6)


def how_far_a_unit_moves_the_sum(loss: TailLoss, units: PrivateUnits, clipping: Clipping = "per-unit") -> float:
    """The most that any one unit does; nearly the bound where the clip binds."""

    def total(spans: list[tuple[int, int]]) -> np.ndarray:
        sums = 0.0
        for part in loss.passes(spans):
            parts = clip_and_sum(loss.module, loss, part, BOUND, ROWS, clipping=clipping)
            sums = sums + np.concatenate([one.detach().double().numpy().ravel() for one in parts])
        return sums

    spans = units.spans()
    everybody = total(spans)
    return max(float(np.linalg.norm(everybody - total(spans[:i] + spans[i + 1 :]))) for i in range(len(spans)))


@pytest.mark.parametrize("per_unit", [1, 3])
@pytest.mark.parametrize("shortlist", [None, np.arange(30)])
def test_a_unit_moves_the_clipped_sum_by_at_most_the_bound(per_unit: int, shortlist: np.ndarray | None) -> None:
    units, encoded = corpus(24, per_unit)
    loss = loss_of("llama", units, encoded, replace(REQUEST, shortlist=shortlist))
    assert 0.9 * BOUND < how_far_a_unit_moves_the_sum(loss, units) <= BOUND


def test_every_pass_holds_whole_units_and_at_most_rows_records() -> None:
    units, encoded = corpus(120, 5)
    loss = loss_of("llama", units, encoded)
    parts = list(loss.passes(units.spans()))
    assert sorted(span for part in parts for span in part) == units.spans()
    assert max(sum(high - low for low, high in part) for part in parts) <= ROWS


def test_a_record_is_one_sequence_with_its_own_end() -> None:
    tokens = np.array([7, 8, 9])
    one = token_sequence("x", tokens, cut=False, wordings=[[5, 6]], end=1, max_tokens=20)
    assert (one.ids.tolist(), one.start, one.targets.tolist()) == ([5, 6, 7, 8, 9], 1, [7, 8, 9, 1])
    long = token_sequence("x", tokens, cut=False, wordings=[[5, 6]], end=1, max_tokens=3)
    assert (long.ids.tolist(), long.targets.tolist()) == ([5, 6, 7, 8], [7, 8, 9])
    assert token_sequence("x", tokens[:0], cut=False, wordings=[[5]], end=1, max_tokens=3) is None


# ----------------------------------------------------------------------------------- what is released, charged, kept


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "private"
    made.mkdir(mode=0o700)
    return made


def train(
    folder: Path,
    *,
    steps: int = 4,
    units: tuple[PrivateUnits, Encoded] | None = None,
    charge: Callable[[MechanismRecord], None] = lambda record: None,
    kept: Callable[[MechanismRecord], None] = lambda record: None,
    request: FinetuneRequest = REQUEST,
    noise: float = 0.7,
    network: object = None,
    seen: list[int] | None = None,
) -> Release:
    def progress(stage: str, done: int, total: int) -> None:
        if seen is not None and stage == "training the generator":
            seen.append(done)

    return release_adapter(
        *(units or corpus()),
        request,
        ToyModel(network or make_network("llama")),
        noise_multiplier=noise,
        sampling=Sampling(0.3, steps),
        charge=charge,
        kept=kept,
        checkpoints=Checkpoints(folder),
        progress=progress,
    )


def test_what_comes_out_are_adapters_and_the_record_of_every_step(folder: Path) -> None:
    charged: list[MechanismRecord] = []
    release = train(folder, charge=charged.append)
    (record,) = charged
    assert (record.kind, record.sampler, record.noise) == ("sampled-gaussian", "poisson", "float-gaussian")
    assert (record.noise_multiplier, record.sample_rate, record.steps) == (0.7, 0.3, 4)
    assert record.sensitivity == BOUND
    assert all(np.abs(matrix).max() > 0 for matrix in release.payload.values())
    assert Checkpoints(folder).history("generator") == (0.7, 0.3, 4)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


def test_training_learns_what_the_records_say(folder: Path) -> None:
    """With next to no noise the likelihood of the records rises: the gradient goes the right way."""
    network = make_network("llama")
    units, encoded = corpus(60)
    loss = loss_of("llama", units, encoded)
    for matrix in loss._tail.matrices.values():
        torch.nn.init.zeros_(matrix)

    def mean_loss() -> float:
        spans = [(low, high) for low, high in units.spans() if loss._lengths[low]]
        with torch.no_grad():
            values = [loss(loss.module, np.array([low for low, _ in part])) for part in loss.passes(spans)]
        return float(torch.cat(values).mean())

    before = mean_loss()
    request = replace(REQUEST, learning_rate=0.05, expected_units=60.0)
    release = train(folder, steps=25, units=(units, encoded), request=request, noise=1e-6, network=network)
    with torch.no_grad():
        for name, matrix in loss._tail.matrices.items():
            matrix.copy_(torch.from_numpy(release.payload[name]))
    assert mean_loss() < before - 0.3


def test_the_charge_comes_before_the_first_step(folder: Path) -> None:
    def refuse(record: MechanismRecord) -> None:
        raise MechanismError("no reservation")

    with pytest.raises(MechanismError, match="no reservation"):
        train(folder, charge=refuse)
    assert not list(folder.iterdir())


def test_an_empty_corpus_gives_steps_of_noise(folder: Path) -> None:
    nobody = PrivateUnits((), (), np.zeros(0, dtype=np.int64), "record", 1)
    nothing = Encoded(np.zeros((0, 4), np.float32), (), np.zeros(0, dtype=bool))
    release = train(folder, units=(nobody, nothing))
    assert all(np.abs(matrix).min() > 0 for matrix in release.payload.values())


def test_training_that_is_silently_off_fails_loudly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = TailLoss.module.fget
    monkeypatch.setattr(TailLoss, "module", property(lambda self: real(self).eval()))  # Opacus captures nothing then
    with pytest.raises((MechanismError, ValueError), match=r"saw no gradient|No activations detected"):
        train(folder)


def test_noise_that_is_off_or_too_small_fails_loudly(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = dpsgd.gaussians
    for factor in (0.0, 0.5):
        monkeypatch.setattr(dpsgd, "gaussians", lambda count, factor=factor: factor * honest(count))
        with pytest.raises(MechanismError, match="not the noise that was planned"):
            train(folder)
    assert not list(folder.iterdir())


def test_weights_that_do_not_move_fail_loudly(folder: Path) -> None:
    with pytest.raises(MechanismError, match="left an adapter as it was"):
        train(folder, request=replace(REQUEST, learning_rate=0.0))


def test_whole_weights_are_trained_charged_and_released(folder: Path) -> None:
    charged: list[MechanismRecord] = []
    network = make_network("llama")
    release = train(folder, charge=charged.append, request=replace(REQUEST, rank=None), network=network)
    shapes = {name: network.get_submodule(name).weight.shape for name in release.payload}
    assert {name: matrix.shape for name, matrix in release.payload.items()} == shapes
    assert charged[0].dimension == charged[0].steps * sum(shape.numel() for shape in shapes.values())
    assert all(np.abs(matrix).min() > 0 for matrix in release.payload.values()), "every cell is noised"


# ------------------------------------------------------------------------------------------------- kill and continue


def test_a_run_killed_at_random_points_goes_on_where_it_was_persisted(folder: Path) -> None:
    """Twenty kill -9: what was persisted never exceeds the plan, never falls back, and ends where it ought to."""
    draw, steps, network, units = random.Random(), 8, make_network("llama"), corpus(12)
    start = time.monotonic()
    train(folder, steps=steps, units=units, network=network)
    usual = time.monotonic() - start
    reached = [0]  # steps persisted by the run at hand, kill after kill
    midway = 0
    for kill in range(20):
        place = folder / str(sum(done == steps for done in reached))
        place.mkdir(exist_ok=True)
        child = os.fork()
        if child == 0:
            try:
                train(place, steps=steps, units=units, network=network)
            finally:
                os._exit(0)
        time.sleep(draw.uniform(0.3, 1.0) * usual)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        history = Checkpoints(place).history("generator")
        done = history[2] if history else 0
        assert (0 if reached[-1] == steps else reached[-1]) <= done <= steps, kill
        midway += 0 < done < steps
        reached.append(done)
    assert midway  # at least one kill fell between the first and the last step
    left = 0 if reached[-1] == steps else reached[-1]
    place = folder / str(sum(done == steps for done in reached))
    place.mkdir(exist_ok=True)
    seen: list[int] = []
    train(place, steps=steps, units=units, network=network, seen=seen)
    assert seen == list(range(left + 1, steps + 1))
    assert Checkpoints(place).history("generator") == (0.7, 0.3, steps)


def halves_make_the_whole(folder: Path, monkeypatch: pytest.MonkeyPatch, **given: Any) -> bool:
    """Without noise and sampling in the way: whether a run stopped before its fourth save ends like another."""
    monkeypatch.setattr(dpsgd, "poisson_sample", lambda units, rate: np.arange(units))
    quiet = {"noise": 1e-12, "steps": 6, **given}
    whole = train(folder, **quiet)
    half = folder / "half"
    half.mkdir()
    real, count = Checkpoints.save, 0

    def stop(self: Checkpoints, *given: Any) -> None:
        nonlocal count
        count += 1
        if count == 4:
            raise KeyboardInterrupt
        real(self, *given)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            train(half, **quiet)
    assert Checkpoints(half).history("generator") == (1e-12, 0.3, 3)
    again = train(half, **quiet, charge=lambda record: pytest.fail("charged twice"))
    return all(np.allclose(again.payload[name], matrix, atol=1e-4) for name, matrix in whole.payload.items())


def test_the_optimizer_goes_on_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert halves_make_the_whole(folder, monkeypatch)


def test_a_checkpoint_of_other_terms_or_a_damaged_one_is_refused(folder: Path) -> None:
    train(folder, steps=2)
    with pytest.raises(RunError, match="other terms"):
        train(folder, steps=3)
    with pytest.raises(RunError, match="other terms"):
        train(folder, steps=2, noise=0.6)
    (folder / "generator.checkpoint").write_bytes(b"\x08\0\0\0\0\0\0\0{}")
    with pytest.raises(RunError, match="damaged"):
        train(folder, steps=2)


def test_no_random_state_is_persisted(folder: Path) -> None:
    from safetensors import safe_open

    train(folder)
    with safe_open(folder / "generator.checkpoint", framework="pt") as file:
        kinds = {key.partition(":")[0] for key in file.keys()}
        assert set(file.metadata()) == {"steps", "schedule"}
    assert kinds == {"weights", "exp_avg", "exp_avg_sq"}
    assert finetuning.ROWS == ROWS
