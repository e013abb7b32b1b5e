"""Scores against scikit-learn, and what a label outside the run's classes does to them."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, f1_score, recall_score

from privdistill.evaluation.scores import (
    accuracy,
    balanced_accuracy,
    class_scores,
    confusion,
    macro_f1,
    right,
    truth,
)

ANSWERS = st.integers(2, 5).flatmap(
    lambda k: st.tuples(
        st.just(k), st.lists(st.tuples(st.integers(0, k - 1), st.integers(0, k - 1)), min_size=1, max_size=60)
    )
)


@settings(max_examples=40)
@given(ANSWERS)
def test_scores_are_those_of_scikit_learn(drawn: tuple[int, list[tuple[int, int]]]) -> None:
    k, pairs = drawn
    real, answers = np.array([a for a, _ in pairs]), np.array([b for _, b in pairs])
    present = sorted(set(real.tolist()))
    table = confusion(real, answers, k)
    assert np.isclose(accuracy(table[None])[0], accuracy_score(real, answers))
    assert np.isclose(
        balanced_accuracy(table[None])[0],
        recall_score(real, answers, average="macro", labels=present, zero_division=0),
    )
    assert np.isclose(
        macro_f1(table[None])[0], f1_score(real, answers, average="macro", labels=present, zero_division=0)
    )
    assert right(real, answers).mean() == accuracy_score(real, answers)


def test_balanced_accuracy_is_that_of_scikit_learn_on_a_lopsided_table() -> None:
    real, answers = np.array([0] * 90 + [1] * 10), np.array([0] * 95 + [1] * 5)
    table = confusion(real, answers, 2)
    assert np.isclose(balanced_accuracy(table[None])[0], balanced_accuracy_score(real, answers))
    assert accuracy(table[None])[0] == 0.95
    assert [score.recall for score in class_scores(table)] == [1.0, 0.5]
    assert [score.precision for score in class_scores(table)] == [90 / 95, 1.0]


def test_a_label_that_no_row_can_have_counts_as_wrong() -> None:
    real = truth(["a", "b", "zzz"], ["a", "b"])
    table = confusion(real, np.array([0, 1, 0]), 2)
    assert np.isclose(accuracy(table[None])[0], 2 / 3)
    assert np.isclose(balanced_accuracy(table[None])[0], 2 / 3)
    assert macro_f1(table[None])[0] < 2 / 3


def test_other_takes_what_is_outside_the_list() -> None:
    assert truth(["a", "zzz"], ["a", "other"]).tolist() == [0, 1]


def test_a_class_without_test_records_does_not_count() -> None:
    table = confusion(np.array([0, 0]), np.array([0, 0]), 2)
    assert macro_f1(table[None])[0] == balanced_accuracy(table[None])[0] == 1.0
    assert class_scores(table)[1].n == 0
