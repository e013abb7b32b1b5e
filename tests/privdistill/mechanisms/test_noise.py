"""The exact integer noise itself."""

import numpy as np
import pytest
from scipy import stats

from privdistill.errors import MechanismError
from privdistill.mechanisms.noise import add_discrete_gaussian


def test_noise_is_a_centred_gaussian_of_the_stated_scale() -> None:
    z = add_discrete_gaussian(np.zeros(20_000, np.int64), 2.0**28) / 2.0**28
    assert stats.kstest(z, "norm").pvalue > 1e-6
    assert abs(np.corrcoef(z[:-1], z[1:])[0, 1]) < 0.04


def test_noise_is_added_to_the_sum() -> None:
    total = np.array([10**15, -(10**15), 0], dtype=np.int64)
    assert np.abs(add_discrete_gaussian(total, 2.0**24) - total).max() < 10 * 2**24


def test_noise_does_not_follow_any_seed() -> None:
    import random

    import torch

    draws = []
    for _ in range(2):
        np.random.seed(0)  # noqa: NPY002  # the point: legacy global state must not matter
        random.seed(0)
        torch.manual_seed(0)
        draws.append(add_discrete_gaussian(np.zeros(50, np.int64), 2.0**28))
    assert (draws[0] != draws[1]).all()


def test_empty_sums_stay_empty() -> None:
    assert add_discrete_gaussian(np.zeros(0, np.int64), 2.0**24).shape == (0,)


@pytest.mark.parametrize("steps", [1.0, 2.0**20, 2.0**60, float("nan")])
def test_a_grid_outside_its_range_is_refused(steps: float) -> None:
    with pytest.raises(MechanismError):
        add_discrete_gaussian(np.zeros(2, np.int64), steps)


def test_what_could_overflow_is_refused() -> None:
    with pytest.raises(MechanismError, match="overflow"):
        add_discrete_gaussian(np.array([2**62], dtype=np.int64), 2.0**24)
    with pytest.raises(MechanismError, match="int64"):
        add_discrete_gaussian(np.zeros(2), 2.0**24)  # type: ignore[arg-type]
