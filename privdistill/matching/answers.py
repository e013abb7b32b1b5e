"""What a student of words would answer, were it trained on the rows chosen so far, beside what the teacher answers.

A strongly regularised linear student answers a text with the sum of its likenesses to the training rows, each row
voting for its label against the class shares: the first step of gradient descent on the logistic loss from zero, in
the kernel of its features. So the answers are linear in the chosen rows, and the row that brings them nearest to the
teacher's in direction is found exactly. A greedy student-teacher form of kernel matching pursuit (Vincent and Bengio
2002, Machine Learning 48); the size of the answers is left free, since accuracy does not see it.

Everything here is synthetic text and a teacher that was read off releases. It does not know how the student that will
really be trained is regularised, and rows that please it best are not those that look most like the corpus: the
caller weighs it against distribution matching.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from privdistill.mechanisms.release import FloatArray

__all__ = ["Answers", "likenesses"]

IntArray = npt.NDArray[np.int64]

_MOST_CELLS = 5e7
"""Of the table of likenesses, which is kept in memory (200 MB)."""


def likenesses(texts: Sequence[str]) -> tuple[npt.NDArray[np.float32], IntArray]:
    """Cosines of TF-IDF words and word pairs, between all texts and some of them; of a text and itself, zero.

    Returns:
        (n, m) cosines, and the m texts of the columns, evenly spaced.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    n = len(texts)
    probes = np.unique(np.linspace(0, n - 1, max(1, min(n, int(_MOST_CELLS // max(n, 1))))).astype(np.int64))
    try:
        words = TfidfVectorizer(ngram_range=(1, 2), dtype=np.float32).fit_transform(texts)
    except ValueError:  # not one word of two letters: no text is like another
        return np.zeros((n, len(probes)), dtype=np.float32), probes
    table = (words @ words[probes].T).toarray()
    table[probes, np.arange(len(probes))] = 0.0  # a student would know this row by heart
    return table, probes


class Answers:
    """The answers of the student of a growing set of rows, and how far they point where the teacher's point."""

    def __init__(
        self, table: npt.NDArray[np.float32], members: Sequence[IntArray], teacher: FloatArray, shares: FloatArray
    ) -> None:
        """No row is chosen yet.

        Args:
            table: (n, m) likeness of each candidate to each probe.
            members: for each class, the candidates that may be rows of it.
            teacher: (m, K) probabilities of the teacher for each probe.
            shares: (K,) class shares of the rows that will be chosen.
        """
        centred = table - table.mean(axis=1, keepdims=True)  # (n, m); the student's intercept is free
        aim = teacher - teacher.mean(axis=0)
        aim = aim - aim.mean(axis=1, keepdims=True)
        aim = (aim / max(float(np.linalg.norm(aim)), 1e-12)).astype(np.float32)  # (m, K)
        self._votes = (np.eye(len(shares)) - shares).astype(np.float32)  # (K, K); row k: what a row of class k votes
        self._rows = [centred[own] for own in members]  # K times (n_k, m)
        self._gains = [own @ (aim @ vote) for own, vote in zip(self._rows, self._votes, strict=True)]
        self._norms = [
            np.einsum("ij,ij->i", own, own) * float(vote @ vote)
            for own, vote in zip(self._rows, self._votes, strict=True)
        ]
        self._given = np.zeros_like(aim)  # (m, K)
        self._along = 0.0
        self._square = 0.0

    @property
    def correlation(self) -> float:
        """Of the answers with the teacher's, from -1 to 1; zero while nothing is chosen."""
        return self._along / float(np.sqrt(self._square)) if self._square > 0 else 0.0

    def correlations(self, k: int) -> FloatArray:
        """The correlation after each member of class k, were it the next row, (n_k,)."""
        across = self._rows[k] @ (self._given @ self._votes[k])
        square = np.maximum(self._square + 2 * across + self._norms[k], 1e-9)
        return np.asarray((self._along + self._gains[k]) / np.sqrt(square), dtype=np.float64)

    def choose(self, k: int, member: int) -> None:
        """The member of class k is a row now."""
        row, vote = self._rows[k][member], self._votes[k]
        across = float(row @ (self._given @ vote))
        self._along += float(self._gains[k][member])
        self._square = max(self._square + 2 * across + float(self._norms[k][member]), 0.0)
        self._given += row[:, None] * vote
