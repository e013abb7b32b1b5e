"""The guarantee of DP-SGD in halves (how far a unit moves a sum; noise and sampling), and bugs to be caught."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from privdistill.errors import MechanismError
from privdistill.mechanisms import dpsgd
from privdistill.mechanisms.dpsgd import Schedule, clip_and_sum, gaussians, poisson_sample, train_privately

WIDTH, CLASSES, BOUND = 4, 3, 0.7
values = st.sampled_from([0.0, 0.1, -1.0, 3.0, 1e4, 1e30, float("nan"), float("inf")])
records = st.tuples(st.lists(values, min_size=WIDTH, max_size=WIDTH), st.integers(0, CLASSES - 1))
groups_of = st.lists(st.lists(records, min_size=1, max_size=3), min_size=1, max_size=5)
Groups = list[list[tuple[list[float], int]]]


def network() -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return torch.nn.Sequential(torch.nn.Linear(WIDTH, 5), torch.nn.Tanh(), torch.nn.Linear(5, CLASSES))


def loss_of(groups: Groups):
    flat = [record for group in groups for record in group]
    features = torch.tensor([x for x, _ in flat]).reshape(-1, WIDTH)
    targets = torch.tensor([y for _, y in flat], dtype=torch.int64)

    def loss(module: torch.nn.Module, where: np.ndarray) -> torch.Tensor:
        picked = torch.from_numpy(where)
        return torch.nn.functional.cross_entropy(module(features[picked]), targets[picked], reduction="none")

    return loss


def spans_of(groups: Groups) -> list[tuple[int, int]]:
    ends = np.cumsum([0, *(len(group) for group in groups)]).tolist()
    return list(pairwise(ends))


def clean(groups: Groups) -> np.ndarray:
    parts = clip_and_sum(network(), loss_of(groups), spans_of(groups), BOUND)
    return np.concatenate([part.detach().double().numpy().ravel() for part in parts])


def moves_within_sensitivity(groups: Groups) -> bool:
    return bool(np.linalg.norm(clean(groups) - clean(groups[1:])) <= BOUND)


@settings(max_examples=40)
@given(groups_of)
def test_one_unit_moves_the_clipped_sum_by_at_most_the_bound(groups: Groups) -> None:
    assert moves_within_sensitivity(groups)


LARGE: Groups = [[([3.0, 1.0, 0.1, 3.0], 0)] * 3, [([0.1, -1.0, 0.0, 0.1], 1)]]


def test_the_bound_is_reached_so_the_noise_is_not_wasted() -> None:
    assert np.linalg.norm(clean(LARGE) - clean(LARGE[1:])) > 0.99 * BOUND


def test_the_sum_is_the_reference_one_unit_after_the_other() -> None:
    rng = np.random.default_rng(0)
    groups = [[(rng.normal(size=WIDTH).tolist(), int(rng.integers(CLASSES))) for _ in range(k)] for k in (1, 3, 2, 1)]
    module, loss, total = network(), loss_of(groups), 0.0
    for low, high in spans_of(groups):
        module.zero_grad()
        loss(module, np.arange(low, high)).sum().backward()
        gradient = np.concatenate([p.grad.double().numpy().ravel() for p in module.parameters()])
        total = total + gradient * min(1.0, BOUND / np.linalg.norm(gradient))
    assert np.allclose(clean(groups), total, rtol=1e-4, atol=1e-6)


# -------------------------------------------------------------------------------------------- noise, sampling, steps


def trained(
    groups: Groups, *, noise: float = 1.0, rate: float = 1.0, steps: int = 1, per_pass: int = 1024, batch: float = 2.0
) -> np.ndarray:
    """How far the parameters went, in units of one step's noised sum over the expected batch size."""
    module = network()
    before = torch.nn.utils.parameters_to_vector(module.parameters()).detach().double().numpy()
    train_privately(
        module,
        loss_of(groups),
        spans_of(groups),
        Schedule(noise, rate, steps, BOUND, batch, per_pass),
        make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
    )
    return before - torch.nn.utils.parameters_to_vector(module.parameters()).detach().double().numpy()


def noise_is_as_stated() -> bool:
    """Whether an empty batch gives a step of Gaussian noise at the stated scale, on every cell, afresh each time."""
    z = np.concatenate([trained([], noise=2.0) for _ in range(40)]) * 2.0 / (2.0 * BOUND)
    return bool(stats.kstest(z, "norm").pvalue > 1e-6 and (z != 0).all() and np.unique(z).size > 0.99 * z.size)


def seeds_change_nothing() -> bool:
    """Whether two runs after the same torch and numpy seeds still draw different noise."""
    runs = []
    for _ in range(2):
        with torch.random.fork_rng():
            torch.manual_seed(5)
            runs.append(trained(LARGE, rate=0.5))
    return not np.allclose(*runs)


def sizes_are_poisson(sample=poisson_sample) -> bool:
    """Whether batch sizes vary, and members come and go, as independent coins do."""
    batches = [sample(200, 0.3) for _ in range(400)]
    sizes = np.array([len(batch) for batch in batches])
    pairs = np.mean([np.isin([3, 4], batch).all() for batch in batches])
    binomial = stats.binom(200, 0.3)
    return bool(
        abs(sizes.mean() - 60) < 5 * binomial.std() / 20
        and 0.75 < sizes.var() / binomial.var() < 1.3
        and abs(pairs - 0.09) < 5 * np.sqrt(0.09 * 0.91 / 400)
    )


def test_noise_is_gaussian_on_every_cell_at_the_stated_scale() -> None:
    assert noise_is_as_stated()
    assert stats.kstest(gaussians(20_000), "norm").pvalue > 1e-6


def test_no_seed_reaches_noise_or_sampling() -> None:
    assert seeds_change_nothing()


def test_batches_are_poisson() -> None:
    assert sizes_are_poisson()
    assert poisson_sample(0, 0.5).size == 0
    assert poisson_sample(5, 1.0).tolist() == [0, 1, 2, 3, 4]


def test_sums_are_divided_by_the_expected_size_however_many_were_drawn() -> None:
    for batch in (1.0, 10.0):
        assert np.allclose(trained(LARGE, noise=1e-9, batch=batch) * batch, clean(LARGE), atol=1e-5)


def test_small_passes_give_the_same_step() -> None:
    assert np.allclose(trained(LARGE * 3, noise=1e-9, per_pass=2), trained(LARGE * 3, noise=1e-9), atol=1e-6)


def test_frozen_parameters_stay() -> None:
    module = network()
    module[0].requires_grad_(False)
    before = module[0].weight.clone()
    train_privately(
        module,
        loss_of(LARGE),
        spans_of(LARGE),
        Schedule(1.0, 0.5, 3, BOUND, 1.0),
        make_optimizer=lambda parameters: torch.optim.Adam(parameters),
    )
    assert torch.equal(module[0].weight, before)


@pytest.mark.parametrize(
    "changes", [(0.0, 0.1, 1, 1.0, 1.0), (1.0, 0.0, 1, 1.0, 1.0), (1.0, 0.1, 0, 1.0, 1.0), (1.0, 0.1, 1, 1.0, 0.0)]
)
def test_schedules_without_meaning_are_refused(changes: tuple) -> None:
    with pytest.raises(MechanismError):
        Schedule(*changes)


def test_a_mean_over_the_batch_is_refused() -> None:
    with pytest.raises(MechanismError, match="one loss a record"):
        train_privately(
            network(),
            lambda module, where: loss_of(LARGE)(module, where).mean(),
            spans_of(LARGE),
            Schedule(1.0, 1.0, 1, BOUND, 1.0),
            make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        )


# ------------------------------------------------------------------------------------------------------- planted bugs


def test_planted_missing_clipping_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = dpsgd._optimizer
    monkeypatch.setattr(dpsgd, "_optimizer", lambda inner, bound, **given: real(inner, 1e9, **given))
    assert not moves_within_sensitivity(LARGE)


def test_planted_clipping_by_record_instead_of_by_unit_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = dpsgd._backward
    monkeypatch.setattr(
        dpsgd,
        "_backward",
        lambda m, loss, spans, filled: real(m, loss, [(i, i + 1) for low, high in spans for i in range(low, high)]),
    )
    assert not moves_within_sensitivity(LARGE)


def test_planted_gradients_left_unfinished_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpsgd.torch, "nan_to_num", lambda tensor, **_: tensor)
    assert not moves_within_sensitivity([[([float("nan")] * WIDTH, 0)], *LARGE])


@pytest.mark.parametrize("factor", [0.0, 0.5, 2.0])
def test_planted_noise_at_another_scale_is_caught(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    monkeypatch.setattr(dpsgd, "gaussians", lambda count: factor * gaussians(count))
    try:
        caught = not noise_is_as_stated()
    except MechanismError:  # the engine looks at its noise itself: see test_noise_that_is_off_stops_the_run
        caught = True
    assert caught


def test_planted_noise_from_the_global_generator_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dpsgd, "gaussians", lambda count: torch.randn(count, dtype=torch.float64).numpy())
    monkeypatch.setattr(dpsgd, "poisson_sample", lambda units, rate: np.arange(units))
    assert not seeds_change_nothing()


def test_planted_shuffled_batches_of_one_size_are_caught() -> None:
    assert not sizes_are_poisson(lambda n, rate: np.random.default_rng().permutation(n)[: int(rate * n)])


@pytest.mark.parametrize("factor", [0.0, 3.0])
def test_noise_that_is_off_stops_the_run(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    monkeypatch.setattr(dpsgd, "gaussians", lambda count: factor * gaussians(count))
    with pytest.raises(MechanismError, match="not the noise that was planned"):
        trained(LARGE)


@pytest.mark.parametrize("ghost", [False, True])
@pytest.mark.parametrize("bug", ["no clipping", "a unit counts thrice", "a number that is none"])
def test_a_sum_longer_than_its_units_stops_the_run_before_noise(
    monkeypatch: pytest.MonkeyPatch, bug: str, ghost: bool
) -> None:
    """Nothing is drawn and nothing is handed to who persists steps."""
    real = dpsgd._accumulate
    factor = {"no clipping": 1e4, "a unit counts thrice": 3.0, "a number that is none": float("nan")}[bug]
    monkeypatch.setattr(dpsgd, "_accumulate", lambda opt, sums: real(opt, [factor * one for one in sums]))
    monkeypatch.setattr(dpsgd, "gaussians", lambda count: pytest.fail("noise was drawn"))
    with pytest.raises(MechanismError, match="exceeds what its units are clipped to"):
        train_privately(
            torch.nn.Linear(WIDTH, 1, bias=False),
            lambda module, where: 100 * module(torch.ones(len(where), 1, WIDTH)).sum(dim=(1, 2)),
            [(0, 1), (1, 2)],
            Schedule(1.0, 1.0, 1, BOUND, 2.0),
            make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
            after_step=lambda step: pytest.fail("a step was persisted"),
            clipping="ghost" if ghost else "per-unit",
        )


def test_a_gradient_that_is_not_one_for_each_record_stops_the_run() -> None:
    """A layer that folds records and positions into one dimension: Opacus would take each position for a record."""

    class Folded(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = torch.nn.Linear(1, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x.reshape(-1, 1)).reshape(x.shape).sum(dim=1)

    with pytest.raises(MechanismError, match="no gradient of its own for each record"):
        train_privately(
            Folded(),
            lambda module, where: module(torch.ones(len(where), WIDTH)),
            spans_of(LARGE),
            Schedule(1.0, 1.0, 1, BOUND, 2.0),
            make_optimizer=lambda parameters: torch.optim.SGD(parameters, lr=1.0),
        )
