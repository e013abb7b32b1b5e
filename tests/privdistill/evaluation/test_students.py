import numpy as np

from privdistill.evaluation.students import Scores, majority_score, train_and_test
from tests.conftest import toy_rows


def _corpus(n: int, seed: int) -> tuple[list[str], np.ndarray, list[str]]:
    rows = toy_rows(n, seed=seed)
    sign = np.array([[1.0 if label == "good" else -1.0, 0.5] for _, label in rows], dtype=np.float32)
    return [text for text, _ in rows], sign, [label for _, label in rows]


def test_students_learn_what_can_be_learnt() -> None:
    scores = train_and_test(_corpus(200, 0), _corpus(100, 1))
    assert scores.words > 0.95
    assert scores.embedding == 1.0


def test_one_class_is_answered_with_that_class() -> None:
    texts, points, _ = _corpus(10, 0)
    test = _corpus(100, 1)
    scores = train_and_test((texts, points, ["good"] * 10), test)
    assert scores == Scores(*(float(np.mean([label == "good" for label in test[2]])),) * 2)


def test_majority_and_ratios() -> None:
    assert majority_score(["a", "a", "b"], ["a", "b", "b", "b"]) == 0.25
    assert Scores(0.6, 0.9).relative_to(Scores(0.8, 0.9)) == Scores(0.6 / 0.8, 1.0)
