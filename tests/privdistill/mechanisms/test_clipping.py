"""How far one unit moves a sum of clipped gradients, in numbers that single precision gets wrong."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.mechanisms.dpsgd import clip_and_sum, clipping
from privdistill.mechanisms.dpsgd.clipping import clipped_sums
from tests.privdistill.mutation import plant

BOUND = 0.7
ALLOWED = BOUND * (1 + 4.3e-6)
OUTSIDE, INSIDE = 1536, 576  # a map of the embedded model: 900 thousand cells


def norm(parts: list[torch.Tensor]) -> float:
    return float(torch.stack([part.double().norm() for part in parts]).norm())


def moved(gradients: list[torch.Tensor]) -> float:
    """How far the first unit moves the sum."""
    everybody, others = clipped_sums(gradients, BOUND), clipped_sums([one[1:] for one in gradients], BOUND)
    return norm([one - other for one, other in zip(everybody, others, strict=True)])


def constant(value: float, units: int = 1) -> list[torch.Tensor]:
    return [torch.full((units, OUTSIDE, INSIDE), value)]


sizes = st.floats(-25, 30).map(lambda exponent: 10.0**exponent)
rows = st.lists(st.tuples(sizes, sizes, st.integers(0, 2**32 - 1)), min_size=1, max_size=5)


@settings(max_examples=25, deadline=None)
@given(rows)
def test_one_unit_moves_a_sum_by_at_most_the_bound_whatever_the_magnitudes(
    given_rows: list[tuple[float, float, int]],
) -> None:
    """Each row has cells of two sizes, in places of its own, over a parameter that blocks do not divide and a bias."""
    weights, biases = [], []
    for large, small, seed in given_rows:
        where = np.random.default_rng(seed).random(30_011) < 0.5
        weights.append(torch.from_numpy(np.where(where, large, small).astype(np.float32)))
        biases.append(torch.full((7,), small))
    assert moved([torch.stack(weights), torch.stack(biases)]) <= ALLOWED


@pytest.mark.parametrize("value", [1e-22, 1e-12, 1e-4, 1e-3, 0.1, 1.0, 3.3, 1e10, 1e18])
def test_equal_cells_are_not_taken_for_a_smaller_gradient(value: float) -> None:
    found = norm(clipped_sums(constant(value), BOUND))
    assert found <= ALLOWED
    if value >= 1e-3:
        assert found > 0.999 * BOUND, "the bound is reached, so the noise is not wasted"


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float64])
def test_nor_are_gradients_of_another_type(kind: torch.dtype) -> None:
    """None is handed in today; a norm that is rounded to eight bits would end two parts in a thousand too low."""
    for value in (0.1, 1.0, 3.3):
        found = norm(clipped_sums([one.to(kind) for one in constant(value)], BOUND))
        assert 0.999 * BOUND < found <= ALLOWED


def test_gradients_whose_norm_overflows_add_nothing() -> None:
    assert norm(clipped_sums(constant(3e38), BOUND)) == 0.0


def test_the_engine_clips_a_map_of_the_embedded_model_within_its_bound() -> None:
    """Equal cells of 3.3: under norms of single precision the clipped gradient was 5.2e-4 above its bound."""
    module = torch.nn.Linear(INSIDE, OUTSIDE, bias=False)
    spans = [(0, 1), (1, 2)]

    def loss(watched: torch.nn.Module, where: np.ndarray) -> torch.Tensor:
        return 3.3 * watched(torch.ones(len(where), 1, INSIDE)).sum(dim=(1, 2))

    for ghost in (False, True):
        both, one = (
            clip_and_sum(module, loss, some, BOUND, clipping="ghost" if ghost else "per-unit")
            for some in (spans, spans[:1])
        )
        assert norm(one) <= BOUND
        assert norm([a - b for a, b in zip(both, one, strict=True)]) <= BOUND
        assert norm(one) > (0.99 if ghost else 0.9999) * BOUND


def of_a_crowd() -> float:
    """How far one of a thousand alike moves the sum: the rounding of everybody's cells adds up in one direction."""
    return max(moved([torch.full((1000, 4096), value)]) for value in np.geomspace(0.1, 0.2, 12))


def test_one_of_a_thousand_moves_a_sum_by_at_most_the_bound() -> None:
    assert of_a_crowd() <= ALLOWED


def test_sums_are_those_of_double_precision_throughout() -> None:
    gradients = [torch.randn((9, 40, 33)), torch.randn((9, 5))]
    flat = torch.cat([one.reshape(9, -1) for one in gradients], dim=1).double()
    clipped = flat * (BOUND / flat.norm(dim=1)).clamp(max=1.0)[:, None]
    wanted = clipped.sum(dim=0)
    found = torch.cat([one.reshape(-1) for one in clipped_sums(gradients, BOUND)])
    # Beside what was added up, not beside what is left of it: units may cancel.
    assert ((found - wanted).abs() <= 1e-6 * clipped.abs().sum(dim=0)).all()
    assert [one.shape for one in clipped_sums([one[:0] for one in gradients], BOUND)] == [(40, 33), (5,)]


# ------------------------------------------------------------------------------------------------------- planted bugs


def test_planted_norms_of_single_precision_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """What Opacus does."""
    monkeypatch.setattr(clipping, "_squares", lambda rows, at_once: rows.norm(2, dim=-1).double().square())
    assert max(norm(clipped_sums(constant(value), BOUND)) for value in (0.1, 1.0, 3.3)) > ALLOWED


def test_planted_sums_of_single_precision_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(
        monkeypatch,
        clipping,
        "_sum",
        "factors.to(rows.device) @ rows[:, part].double()",
        "factors.float() @ rows[:, part]",
    )
    assert of_a_crowd() > ALLOWED


def test_planted_blocks_that_forget_the_rest_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, clipping, "_squares_of_part", "rows[:, whole:]", "rows[:, :0]")
    assert norm(clipped_sums([torch.ones(1, 63)], BOUND)) > ALLOWED
