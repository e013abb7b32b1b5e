import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score

from privdistill.matching.quotas import EXPONENT, quotas, tempered
from privdistill.matching.target import ClassTarget, NoisyTarget
from privdistill.synthesis.selection import Candidates
from privdistill.synthesis.selection.rehearsal import _score, divided_rows


def _target(counts: list[float]) -> NoisyTarget:
    classes = tuple(ClassTarget(np.zeros(3), np.full(4, 0.2), np.array([0.5, 0.5])) for _ in counts)
    names = tuple(f"class {k}" for k in range(len(counts)))
    return NoisyTarget(names, np.array(counts), np.arange(4), classes, np.array([0.5, 0.5]), np.full(len(counts), 0.01))


def _candidates(sizes: list[int], rng: np.random.Generator, *, apart: float = 0.5) -> Candidates:
    """Classes that words and embeddings tell apart, neither of them perfectly."""
    owners = np.repeat(np.arange(len(sizes)), sizes)
    texts = [
        " ".join(f"kind{k}{rng.integers(20)}" if rng.random() < 0.15 else f"w{rng.integers(300)}" for _ in range(9))
        for k in owners
    ]
    probabilities = 0.9 * np.eye(len(sizes))[owners] + 0.1 / len(sizes)
    means = rng.standard_normal((len(owners), 3))
    means[:, 0] += apart * owners
    return Candidates(
        texts, owners, probabilities, 0.3 * means,
        rng.random((len(owners), 4)), np.eye(2)[rng.integers(2, size=len(owners))],
    )  # fmt: skip


def test_few_rows_of_a_lopsided_corpus_are_divided_more_evenly_than_usual() -> None:
    """With a handful of rows at the usual power, a regularised student would answer the majority class to everybody."""
    candidates = _candidates([300, 200], np.random.default_rng(0))
    division = divided_rows(candidates, _target([900.0, 100.0]), 40, np.array([True, True]))
    assert division.exponent < EXPONENT
    assert max(division.scores.values()) == division.scores[f"{division.exponent:g}"]
    assert sum(division.wanted) == 40


def test_classes_of_one_size_are_left_alone() -> None:
    candidates = _candidates([100, 100], np.random.default_rng(0))
    division = divided_rows(candidates, _target([505.0, 495.0]), 100, np.array([True, True]))
    assert (division.exponent, division.scores) == (EXPONENT, {})


def test_nothing_is_tried_where_nothing_would_be_left_to_ask() -> None:
    candidates = _candidates([60, 12], np.random.default_rng(0))
    division = divided_rows(candidates, _target([900.0, 100.0]), 60, np.array([True, True]))
    usual = quotas(60, tempered(np.array([0.9, 0.1]), np.array([True, True])))
    assert (division.wanted, division.scores) == (usual, {})


def test_no_power_asks_for_rows_that_nobody_wrote() -> None:
    """There are fifty of the rare class: only powers that leave ten of them to be asked are tried."""
    candidates = _candidates([400, 50], np.random.default_rng(0))
    division = divided_rows(candidates, _target([900.0, 100.0]), 110, np.array([True, True]))
    assert list(division.scores) == ["0.3", "0.4", "0.5", "0.6"]
    plan = quotas(110, tempered(np.array([0.9, 0.1]), np.array([True, True]), 0.3))
    assert plan[1] <= 40 < quotas(110, tempered(np.array([0.9, 0.1]), np.array([True, True]), 0.2))[1]


def test_a_class_that_lacks_candidates_anyway_does_not_stop_the_trial() -> None:
    candidates = _candidates([400, 300, 8], np.random.default_rng(0))
    target = _target([700.0, 250.0, 50.0])
    usual = quotas(150, tempered(target.shares, np.ones(3, dtype=bool)))
    division = divided_rows(candidates, target, 150, np.ones(3, dtype=bool))
    assert usual[2] > 8
    assert list(division.scores) == ["0.4", "0.5", "0.6"]


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.lists(st.integers(15, 60), min_size=1, max_size=4), st.integers(1, 40))
def test_every_division_adds_up(seed: int, sizes: list[int], rows: int) -> None:
    rng = np.random.default_rng(seed)
    believed = rng.random(len(sizes)) < 0.8
    target = _target(list(rng.exponential(200, len(sizes)) + 10))
    division = divided_rows(_candidates(sizes, rng), target, rows, believed)
    assert division.wanted == quotas(rows, tempered(target.shares, believed, division.exponent))


def test_words_that_are_no_words_leave_the_other_student() -> None:
    candidates = _candidates([200, 200], np.random.default_rng(0), apart=3.0)
    silent = Candidates(
        [f"{i:b}".replace("0", "? ").replace("1", "! ") for i in range(400)],
        candidates.aims, candidates.probabilities, candidates.means, candidates.tokens, candidates.lengths,
    )  # fmt: skip
    division = divided_rows(silent, _target([900.0, 100.0]), 60, np.array([True, True]))
    assert sum(division.wanted) == 60


@given(st.integers(0, 2**32 - 1))
def test_the_score_is_that_of_a_sample_in_the_noised_shares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    real = np.concatenate([np.arange(3), rng.integers(3, size=60)])
    answers = np.where(rng.random(63) < 0.6, real, rng.integers(3, size=63))
    shares = rng.dirichlet(np.ones(3))
    weights = (shares / (np.bincount(real) / len(real)))[real]
    expected = (
        accuracy_score(real, answers, sample_weight=weights)
        + f1_score(real, answers, average="macro", sample_weight=weights)
    ) / 2
    assert _score(real, answers, shares, np.arange(3)) == pytest.approx(expected)


def test_many_small_classes_are_tried_although_each_moves_by_few_rows() -> None:
    candidates = _candidates([40] * 30, np.random.default_rng(0), apart=0.2)
    counts = list(np.geomspace(20, 600, 30))
    target = _target(counts)
    division = divided_rows(candidates, target, 300, np.ones(30, dtype=bool))
    usual = quotas(300, tempered(target.shares, np.ones(30, dtype=bool)))
    far = quotas(300, tempered(target.shares, np.ones(30, dtype=bool), 0.1))
    assert max(abs(a - b) for a, b in zip(usual, far, strict=True)) < 20
    assert division.scores
