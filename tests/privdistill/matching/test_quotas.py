import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privdistill.matching.quotas import quotas


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
