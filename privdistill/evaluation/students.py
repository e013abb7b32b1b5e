"""Students: small classifiers trained on one corpus and tested on another, to see what the first is worth.

Two kinds on purpose: one reads words (TF-IDF), one reads sentence embeddings, so that a corpus which only pleases the
encoder it was selected with is found out. It does not know which corpus is synthetic, nor how it was made.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Scores", "majority_score", "train_and_test"]

Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scores:
    """Test accuracies of students trained on the same rows.

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
    train: tuple[Sequence[str], Embeddings, Sequence[str]], test: tuple[Sequence[str], Embeddings, Sequence[str]]
) -> Scores:
    """Train both students on (texts, embeddings, labels) and test them.

    A training set with a single class is answered with that class.
    """
    texts, embeddings, labels = train
    test_texts, test_embeddings, test_labels = test
    if len(set(labels)) < 2:
        constant = float(np.mean([label == labels[0] for label in test_labels])) if len(labels) else 0.0
        return Scores(constant, constant)
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    words = make_pipeline(TfidfVectorizer(ngram_range=(1, 2)), _regression())
    probe = _regression()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a run that needs more steps says so for every fold; the score stands
        words.fit(list(texts), list(labels))
        probe.fit(embeddings, list(labels))
    return Scores(
        float(words.score(list(test_texts), list(test_labels))),
        float(probe.score(test_embeddings, list(test_labels))),
    )


def majority_score(train_labels: Sequence[str], test_labels: Sequence[str]) -> float:
    """Accuracy of always answering the commonest training label."""
    names, counts = np.unique(list(train_labels), return_counts=True)
    return float(np.mean(np.asarray(list(test_labels)) == names[int(counts.argmax())]))


def _regression() -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1.0, max_iter=1000)
