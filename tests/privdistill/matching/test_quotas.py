import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privdistill.matching.quotas import quotas, tempered


@given(st.integers(1, 500), st.lists(st.floats(0, 1e6), min_size=1, max_size=12))
def test_quotas_add_up_to_the_rows_whatever_the_shares(rows: int, shares: list[float]) -> None:
    out = quotas(rows, np.array(shares))
    assert sum(out) == rows
    assert min(out) >= (1 if rows >= len(shares) else 0)


@given(st.integers(100, 500), st.lists(st.floats(1, 10), min_size=2, max_size=6))
def test_quotas_stay_within_one_of_the_ideal(rows: int, shares: list[float]) -> None:
    ideal = rows * np.array(shares) / sum(shares)
    assert np.all(np.abs(np.array(quotas(rows, np.array(shares))) - ideal) < 1 + 1e-9)


@pytest.mark.parametrize("shares", [[0.0, 0.0], [-3.0, -1.0]])
def test_shares_of_nothing_but_noise_are_taken_as_equal(shares: list[float]) -> None:
    assert quotas(10, np.array(shares)) == [5, 5]


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_tempered_shares_keep_the_order_and_leave_unbelieved_classes_alone(sizes: list[float], seed: int) -> None:
    shares = np.array(sizes) / np.sum(sizes)
    believed = np.random.default_rng(seed).random(len(shares)) < 0.7
    out = tempered(shares, believed)
    assert out.sum() == pytest.approx(1)
    assert out[~believed] == pytest.approx(shares[~believed])
    of = shares[believed]
    # Nearer to equal shares, never past them.
    assert np.all(np.diff(out[believed][np.argsort(of)]) >= -1e-12)
    if believed.any():
        assert out[believed].max() <= of.max() + 1e-12


def test_tempered_shares_are_powers() -> None:
    assert tempered(np.array([32 / 33, 1 / 33]), np.array([True, True])) == pytest.approx([0.8, 0.2])
