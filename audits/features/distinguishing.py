"""Tell the two sides apart by their own words, without any synthetic text: the check on the control.

A cross-fitted naive Bayes on words. The one feature that is given the sides, because they are what it tests.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["side_scores"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def side_scores(words: IntArray, owner: IntArray, train: BoolArray, fold: IntArray) -> FloatArray:
    """Return how train-like each unit's words are, judged from units of other folds only.

    Args:
        words: word number of each token.
        owner: unit of each token.
        train: side of each unit.
        fold: fold of each unit.
    """
    scores = np.zeros(len(train))
    vocabulary = int(words.max()) + 1 if len(words) else 1
    tokens = np.maximum(np.bincount(owner, minlength=len(train)), 1)
    for number in np.unique(fold):
        others = fold[owner] != number
        ours = np.bincount(words[others & train[owner]], minlength=vocabulary) + 0.5
        theirs = np.bincount(words[others & ~train[owner]], minlength=vocabulary) + 0.5
        ratio = np.log(ours / ours.sum()) - np.log(theirs / theirs.sum())
        inside = fold == number
        summed = np.bincount(owner, weights=ratio[words], minlength=len(train)) / np.sqrt(tokens)
        scores[inside] = summed[inside] - summed[inside].mean()
    return scores
