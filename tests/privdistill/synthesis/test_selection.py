import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.matching.target import ClassTarget, NoisyTarget
from privdistill.synthesis.near_duplicates import near_duplicate_share
from privdistill.synthesis.selection import Candidates, select

_NAMES = ("a", "b", "c")


def _target(tokens: int = 4) -> NoisyTarget:
    classes = tuple(ClassTarget(np.zeros(2), np.full(tokens, 0.2), np.array([0.5, 0.5])) for _ in _NAMES)
    return NoisyTarget(_NAMES, np.full(3, 100.0), np.arange(tokens), classes, np.array([0.5, 0.5]), np.full(3, 0.01))


def _candidates(n: int, rng: np.random.Generator, *, copies: int = 1) -> Candidates:
    texts = [" ".join(f"w{rng.integers(1000)}" for _ in range(9)) for _ in range(n)]
    texts = [text for text in texts for _ in range(copies)]
    probabilities = rng.dirichlet(np.ones(3), size=len(texts))
    return Candidates(
        texts, rng.integers(3, size=len(texts)), probabilities, rng.standard_normal((len(texts), 2)),
        rng.random((len(texts), 4)), np.eye(2)[rng.integers(2, size=len(texts))],
    )  # fmt: skip


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(0, 30), min_size=3, max_size=3))
def test_quotas_are_met_exactly_and_no_row_is_taken_twice(seed: int, wanted: list[int]) -> None:
    rng = np.random.default_rng(seed)
    candidates = _candidates(120, rng)
    chosen, labels = select(candidates, _target(), wanted)
    assert np.bincount(labels, minlength=3).tolist() == wanted
    assert len(set(chosen)) == len(chosen) == sum(wanted)


def test_copies_are_left_out_while_others_remain() -> None:
    candidates = _candidates(60, np.random.default_rng(0), copies=3)
    chosen, _ = select(candidates, _target(), [20, 20, 20])
    assert near_duplicate_share([candidates.texts[i] for i in chosen]) == 0.0


def test_copies_fill_up_when_nothing_else_is_left() -> None:
    candidates = _candidates(5, np.random.default_rng(0), copies=4)
    chosen, labels = select(candidates, _target(), [6, 5, 5])
    assert len(chosen) == 16
    assert np.bincount(labels).tolist() == [6, 5, 5]


def test_candidates_written_for_their_class_are_preferred() -> None:
    rng = np.random.default_rng(0)
    n = 200
    texts = [" ".join(f"w{rng.integers(10_000)}" for _ in range(9)) for _ in range(n)]
    aims = np.arange(n) % 2
    probabilities = np.tile([0.8, 0.1, 0.1], (n, 1))
    same = np.ones((n, 1))
    candidates = Candidates(
        texts, aims, probabilities, same @ np.zeros((1, 2)), same @ np.ones((1, 4)), same @ np.eye(2)[:1]
    )
    chosen, _ = select(candidates, _target(), [50, 0, 0])
    assert (aims[chosen] == 0).all()


def test_matched_selection_follows_the_target_lengths() -> None:
    rng = np.random.default_rng(0)
    candidates = _candidates(600, rng)
    chosen, _ = select(candidates, _target(), [40, 40, 40])
    assert abs(candidates.lengths[chosen].mean(axis=0)[0] - 0.5) < 0.1
