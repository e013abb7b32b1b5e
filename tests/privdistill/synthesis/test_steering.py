import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.synthesis.steering import (
    DEVIATIONS,
    corrected,
    emphasised,
    lexical_bias,
    make_steering,
    opening_shares,
)


@settings(max_examples=50)
@given(st.integers(0, 2**32 - 1), st.floats(0.1, 20.0))
def test_only_cells_beyond_the_noise_are_biased(seed: int, noise: float) -> None:
    rng = np.random.default_rng(seed)
    sums, usual = rng.normal(0, 3 * noise, size=300), rng.random(300) / 50
    bias = lexical_bias(sums, 100.0, noise, usual)
    within = np.abs(sums - 100 * usual) <= DEVIATIONS * noise
    assert np.all(bias[within] == 0)
    assert np.all(np.abs(bias) <= 2.5)


def test_pure_noise_steers_next_to_nothing() -> None:
    rng = np.random.default_rng(0)
    noise = 3.0
    sums = rng.normal(0, noise, size=(5, 50_000))
    steering = make_steering(
        sums[0], sums[1:], 500.0, token_noise=noise, opening_noise=noise,
        pool_tokens=np.zeros(50_000), pool_opening=np.zeros((4, 50_000)),
        telling=np.zeros(0, np.int64),
    )  # fmt: skip
    assert np.count_nonzero(steering.lexical) < 20
    assert steering.first.shares.sum() < 0.2


def test_opening_shares_are_shares_of_the_class() -> None:
    seen = opening_shares(np.array([300.0, 100.0, 2.0, -5.0]), 500.0, 2.0)
    assert seen.columns.tolist() == [0, 1]
    assert np.allclose(seen.shares, [0.6, 0.2])
    assert opening_shares(np.array([400.0, 400.0]), 500.0, 2.0).shares.sum() <= 1 + 1e-12


def _steering(tokens: np.ndarray, telling: tuple[int, ...] = ()) -> object:
    return make_steering(
        tokens, np.zeros((2, tokens.size)), 100.0, token_noise=1.0, opening_noise=1.0,
        pool_tokens=np.zeros(tokens.size), pool_opening=np.zeros((2, tokens.size)),
        telling=np.array(telling, dtype=np.int64),
    )  # fmt: skip


def test_every_row_gets_an_emphasis_of_its_own_among_allowed_words() -> None:
    tokens = np.zeros(200)
    tokens[:10] = 50.0
    steering = _steering(tokens)
    rows = emphasised(steering, [np.arange(100, 200)], np.random.default_rng(0), 6)
    lifted = [set(np.flatnonzero(row - steering.lexical > 0.1)) for row in rows]
    assert all(one <= set(range(10)) | set(range(100, 200)) for one in lifted)
    assert len({frozenset(one) for one in lifted}) == 6


def test_corrections_stay_bounded() -> None:
    tokens = np.zeros(20)
    tokens[:3] = 90.0
    steering = _steering(tokens)
    for _ in range(20):
        steering = corrected(steering, _steering(tokens))
    assert np.abs(steering.lexical).max() <= 4.0


def test_telling_words_of_the_class_are_emphasised_too() -> None:
    rows = emphasised(_steering(np.zeros(300), tuple(range(200, 260))), [], np.random.default_rng(0), 5)
    assert (rows[:, 200:260].max(axis=1) > 0).all()
    assert not rows[:, :200].any()
    assert len({tuple(row) for row in rows.tolist()}) == 5
