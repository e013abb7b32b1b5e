"""The families of students: linear on words, on an encoder, on static embeddings; a transformer from nothing.

Different on purpose: a corpus that only pleases the encoder it was selected with is found out. It does not know which
corpus is synthetic.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import numpy as np
import numpy.typing as npt

from privdistill.evaluation.scores import accuracy, confusion, truth
from privdistill.evaluation.students.student import Student
from privdistill.evaluation.subsets import Sample
from privdistill.features.words import TERM

__all__ = ["OTHER", "STUDENTS", "Scores", "majority_score", "train_and_test"]

Embeddings = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scores:
    """Test scores of the two students of the benchmark protocol, accuracies unless another score was asked for.

    Attributes:
        words: TF-IDF of words and pairs, logistic regression.
        embedding: sentence embeddings, logistic regression.
    """

    words: float
    embedding: float

    def relative_to(self, real: "Scores") -> "Scores":
        """Both as shares of what real data achieves."""
        return Scores(self.words / real.words, self.embedding / real.embedding)


def train_and_test(
    train: tuple[Sequence[str], Embeddings, Sequence[str]],
    test: tuple[Sequence[str], Embeddings, Sequence[str]],
    score: Callable[[FloatArray], FloatArray] = accuracy,
) -> Scores:
    """Train the two students of the benchmark protocol on (texts, embeddings, labels) and test them.

    Args:
        train: what they learn from.
        test: what they answer.
        score: of a confusion table, as in `evaluation.scores`.
    """
    ours, theirs = (Sample(tuple(t), tuple(y), {"encoder": e}) for t, e, y in (train, test))
    classes = sorted(set(ours.labels) | set(theirs.labels))
    if not ours.labels:
        return Scores(0.0, 0.0)
    real = truth(theirs.labels, classes)
    words, embedding = (
        float(score(confusion(real, STUDENTS[name].answer(ours, theirs, classes).classes, len(classes))))
        for name in ("words", "encoder")
    )
    return Scores(words, embedding)


def majority_score(train_labels: Sequence[str], test_labels: Sequence[str]) -> float:
    """Accuracy of always answering the commonest training label."""
    names, counts = np.unique(list(train_labels), return_counts=True)
    return float(np.mean(np.asarray(list(test_labels)) == names[int(counts.argmax())]))


def _linear_on_words(texts: list[str], labels: Sequence[str]) -> Callable[[list[str]], Sequence[str]]:
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    return _fitted(make_pipeline(TfidfVectorizer(ngram_range=(1, 2), token_pattern=TERM), _regression()), texts, labels)


@cache
def _loaded(learn: Callable[[Any, Sequence[str]], object], space: str | None) -> None:
    """Learn two rows, so that everything that is imported late has been imported."""
    learn(["yes indeed", "not at all"] if space is None else np.eye(2, dtype=np.float32), ("a", "b"))


def _linear_on_points(points: Embeddings, labels: Sequence[str]) -> Callable[[Embeddings], Sequence[str]]:
    return _fitted(_regression(), points, labels)


def _linear_on_static(points: Embeddings, labels: Sequence[str]) -> Callable[[Embeddings], Sequence[str]]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # Averages of word vectors vary little in most directions: scaled, and with stronger regularisation.
    return _fitted(make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=1000)), points, labels)


def _fitted(model: Any, inputs: Any, labels: Sequence[str]) -> Callable[[Any], Sequence[str]]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a run that needs more steps says so for every fold; the score stands
        model.fit(inputs, list(labels))
    return lambda asked: [str(one) for one in model.predict(asked)]


def _small_transformer(
    texts: list[str], labels: Sequence[str], steps: int | None = None
) -> Callable[[list[str]], Sequence[str]]:
    from privdistill.evaluation.students.networks import train_small_transformer

    return train_small_transformer(texts, labels, steps)


_one_step = partial(_small_transformer, steps=1)


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, max_iter=1000)


STUDENTS: Mapping[str, Student] = {
    student.name: student
    for student in (
        Student(
            "words",
            "TF-IDF of words and pairs, logistic regression",
            None,
            _linear_on_words,
            partial(_loaded, _linear_on_words, None),
        ),
        Student(
            "encoder",
            "the run's own sentence encoder, logistic regression",
            "encoder",
            _linear_on_points,
            partial(_loaded, _linear_on_points, "encoder"),
        ),
        Student(
            "static",
            "frequency-weighted mean of static token embeddings, logistic regression",
            "static",
            _linear_on_static,
            partial(_loaded, _linear_on_static, "static"),
        ),
        Student(
            "transformer",
            "two transformer layers trained from nothing",
            None,
            _small_transformer,
            partial(_loaded, _one_step, None),
        ),
    )
}
"""The families that need nothing but the run's own models; `networks.finetuned` makes one more."""

OTHER = Student(
    "other",
    "an encoder named for this evaluation, logistic regression",
    "other",
    _linear_on_points,
    partial(_loaded, _linear_on_points, "other"),
)
"""Needs an encoder that the run does not name."""
