"""From answers to scores: accuracy, balanced accuracy, macro-F1, and the same class by class and group by group.

A confusion table has one row for each class of the run and a last one for test labels that the run does not know: no
student can answer those, so they count as wrong. Averages over classes are over those that the test records hold. It
does not know which student answered, nor what it was trained on.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ClassScore", "accuracy", "balanced_accuracy", "class_scores", "confusion", "macro_f1", "right", "truth"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_OTHER = "other"


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Scores of one class.

    Attributes:
        n: test records of the class.
        precision: of the records answered with it, the share that are of it (0 when there are none).
        recall: of its records, the share answered with it.
        f1: harmonic mean of both.
    """

    n: int
    precision: float
    recall: float
    f1: float


def truth(labels: Sequence[str], classes: Sequence[str]) -> IntArray:
    """Class index of each label, (n,); a label outside the list is `other` where the run has that class, else K."""
    index = {name: k for k, name in enumerate(classes)}
    outside = index.get(_OTHER, len(classes))
    return np.array([index.get(label, outside) for label in labels], dtype=np.int64)


def confusion(real: IntArray, answers: IntArray, classes: int) -> FloatArray:
    """Counts (K + 1, K): row the true class, column the answer."""
    table = np.zeros((classes + 1, classes))
    np.add.at(table, (real, answers), 1.0)
    return table


def right(real: IntArray, answers: IntArray) -> FloatArray:
    """1 where the answer is right, (n,)."""
    return (real == answers).astype(np.float64)


def accuracy(tables: FloatArray) -> FloatArray:
    """Share of right answers of each table (..., K + 1, K)."""
    return np.asarray(_hits(tables).sum(axis=-1) / np.maximum(tables.sum(axis=(-2, -1)), 1e-12))


def balanced_accuracy(tables: FloatArray) -> FloatArray:
    """Mean recall over the classes that occur."""
    sizes = tables.sum(axis=-1)  # (..., K + 1)
    recall = _padded(_hits(tables)) / np.maximum(sizes, 1e-12)
    return np.asarray(recall.sum(axis=-1) / np.maximum((sizes > 0).sum(axis=-1), 1))


def macro_f1(tables: FloatArray) -> FloatArray:
    """Mean F1 over the classes that occur; F1 is 2 hits / (occurrences + answers)."""
    sizes = tables.sum(axis=-1)  # (..., K + 1)
    f1 = 2 * _padded(_hits(tables)) / np.maximum(sizes + _padded(tables.sum(axis=-2)), 1e-12)
    present = sizes > 0
    return np.asarray(np.where(present, f1, 0.0).sum(axis=-1) / np.maximum(present.sum(axis=-1), 1))


def class_scores(table: FloatArray) -> list[ClassScore]:
    """Scores of each of the K classes of one table."""
    hits, sizes, answers = _hits(table), table.sum(axis=-1)[:-1], table.sum(axis=-2)
    return [
        ClassScore(round(n), h / a if a else 0.0, h / n if n else 0.0, 2 * h / (n + a) if n + a else 0.0)
        for h, n, a in zip(hits.tolist(), sizes.tolist(), answers.tolist(), strict=True)
    ]


def _hits(tables: FloatArray) -> FloatArray:
    """Diagonals (..., K)."""
    return np.diagonal(tables, axis1=-2, axis2=-1)


def _padded(values: FloatArray) -> FloatArray:
    """A zero for the class that nobody can answer: (..., K) -> (..., K + 1)."""
    return np.concatenate([values, np.zeros((*values.shape[:-1], 1))], axis=-1)
