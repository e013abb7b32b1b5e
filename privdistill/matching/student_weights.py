"""What a linear student would learn from the rows chosen so far, beside what it would learn from the whole pool.

A strongly regularised linear student of few rows learns, class by class, the sum of its training rows, each voting for
its label against the class shares: the first step of gradient descent on the logistic loss from zero. The weights that
the chosen rows should give it are those of ridge regression on the teacher's log-odds of the whole pool: a student that
saw every candidate with soft labels. So the weights are linear in the chosen rows, and the row that turns them most
towards the wanted ones is found exactly. A greedy student-teacher form of kernel matching pursuit (Vincent and Bengio
2002, Machine Learning 48) on the weights themselves: the cosine is taken in the space of the features, as the penalty
of a ridge takes it. Their size is left free, since accuracy does not see it.

Everything here is synthetic text and a teacher that was read off releases. It does not know how the student that will
really be trained is regularised, and rows that please it best are not those that look most like the corpus: the
caller weighs it against distribution matching.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from privdistill.features.words import TERM
from privdistill.mechanisms.release import FloatArray

__all__ = ["StudentWeights", "pool_weights", "word_features"]

IntArray = npt.NDArray[np.int64]

_RIDGE = 1.0
_FLOOR = 1e-2
"""Added to probabilities before their logarithm: a teacher is not to be believed beyond one in a hundred."""


def word_features(texts: Sequence[str]) -> Any:
    """TF-IDF of words and word pairs, a sparse (n, V) matrix with rows of norm one; V may be zero."""
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

    try:
        return TfidfVectorizer(ngram_range=(1, 2), token_pattern=TERM).fit_transform(texts).tocsr()
    except ValueError:  # not one word
        return csr_matrix((len(texts), 0))


def pool_weights(features: Any, probabilities: FloatArray) -> FloatArray:
    """Weights (K, V) of ridge regression from features (n, V) to the teacher's log-odds, of probabilities (n, K)."""
    from sklearn.linear_model import Ridge

    if not features.shape[1]:
        return np.zeros((probabilities.shape[1], 0))
    odds = np.log(probabilities + _FLOOR)  # (n, K)
    odds -= odds.mean(axis=1, keepdims=True)
    return np.atleast_2d(Ridge(alpha=_RIDGE).fit(features, odds).coef_)


class StudentWeights:
    """The weights of the student of a growing set of rows, and how far they point where the wanted ones point."""

    def __init__(self, features: Any, members: Sequence[IntArray], wanted: FloatArray, shares: FloatArray) -> None:
        """No row is chosen yet.

        Args:
            features: (n, V) of all candidates, a sparse matrix or an array.
            members: for each class, the candidates that may be rows of it.
            wanted: (K, V) weights that the rows should give a student.
            shares: (K,) class shares of the rows that will be chosen.
        """
        aim = wanted - wanted.mean(axis=0)  # (K, V)
        aim /= max(float(np.linalg.norm(aim)), 1e-12)
        self._votes = np.eye(len(shares)) - shares  # (K, K); row k: what a row of class k votes
        self._rows = [features[own] for own in members]  # K times (n_k, V)
        self._gains = [own @ (vote @ aim) for own, vote in zip(self._rows, self._votes, strict=True)]
        self._norms = [_squares(own) * (vote @ vote) for own, vote in zip(self._rows, self._votes, strict=True)]
        self._given = np.zeros_like(aim)  # (K, V)
        self._along = 0.0
        self._square = 0.0

    @property
    def correlation(self) -> float:
        """Cosine of the weights with the wanted ones, from -1 to 1; zero while nothing is chosen."""
        return self._along / float(np.sqrt(self._square)) if self._square > 0 else 0.0

    def correlations(self, k: int) -> FloatArray:
        """The cosine after each member of class k, were it the next row, (n_k,)."""
        across = self._rows[k] @ (self._votes[k] @ self._given)  # (n_k,)
        square = np.maximum(self._square + 2 * across + self._norms[k], 1e-9)
        return np.asarray((self._along + self._gains[k]) / np.sqrt(square), dtype=np.float64)

    def choose(self, k: int, member: int) -> None:
        """The member of class k is a row now."""
        row, vote = self._rows[k][[member]], self._votes[k]  # (1, V)
        across = float((row @ (vote @ self._given))[0])
        self._along += float(self._gains[k][member])
        self._square = max(self._square + 2 * across + float(self._norms[k][member]), 0.0)
        if hasattr(row, "indices"):
            self._given[:, row.indices] += np.outer(vote, row.data)
        else:
            self._given += np.outer(vote, row[0])


def _squares(rows: Any) -> FloatArray:
    """Squared norms (n,) of sparse or dense rows."""
    product = rows.multiply(rows) if hasattr(rows, "multiply") else rows * rows
    return np.asarray(product.sum(axis=1), dtype=np.float64).ravel()
