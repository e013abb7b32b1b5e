"""Weights of chosen rows, for students that take them: an exploration of the ablation.

Which rows are chosen stays; each gets a weight that is not negative, with mean one within its class, so that the shares
of the classes stay as well. Weights are found by least squares towards something that the release says, and are drawn
towards one as far as the spread of the rows calls for: of two errors of a weighted mean, its distance from the target
and the chance of which rows there are, the sum is minimised. How strong that is was fixed before anything was measured.

It reads candidates and a release, as the choice itself does.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from privdistill.matching.student_weights import pool_weights, word_features
from privdistill.mechanisms.release import FloatArray
from privdistill.recipes import distribution
from privdistill.recipes.distribution import Choice, Measured
from privdistill.synthesis.selection import Candidates, _features

__all__ = ["ROW_WEIGHTS", "as_the_pool_teaches", "towards_all_rates", "towards_moments", "weighing"]

ROW_WEIGHTS = "row_weights"
"""Fact of rows: text -> weight."""
Weigh = Callable[[Candidates, Measured, Choice], FloatArray]
_herded = distribution.herded


def weighing(weigh: Weigh) -> Callable[[Candidates, Measured], Choice]:
    """The choice of the default recipe, with weights among its facts."""

    def choose(candidates: Candidates, measured: Measured) -> Choice:
        choice = _herded(candidates, measured)
        weights = weigh(candidates, measured, choice)  # (rows,)
        facts = {
            ROW_WEIGHTS: {candidates.texts[i]: float(w) for i, w in zip(choice.rows, weights, strict=True)},
            "rows_of_no_weight": int((weights < 1e-9).sum()),
            "effective_rows": round(float(weights.sum() ** 2 / (weights**2).sum()), 1),
        }
        return replace(choice, facts={**choice.facts, **facts})

    return choose


def towards_moments(candidates: Candidates, measured: Measured, choice: Choice) -> FloatArray:
    """Weights (rows,) that bring each class's mean embedding to the noised one."""
    return _by_class(choice, lambda k, rows: (candidates.means[rows], measured.target.classes[k].mean))


def towards_all_rates(candidates: Candidates, measured: Measured, choice: Choice) -> FloatArray:
    """Weights (rows,) that bring words, embedding and length of each class to the noised ones, as herding weighs."""
    return _by_class(choice, lambda k, rows: _features(candidates, measured.target, k, rows))


def as_the_pool_teaches(candidates: Candidates, measured: Measured, choice: Choice) -> FloatArray:
    """Weights (rows,) under which the rows teach students, to first order, what the whole labelled pool teaches them.

    The two students are those of the choice (see `matching.student_weights`), each of its own size, halves each.
    """
    rows, owners, classes = np.asarray(choice.rows), choice.owners, candidates.probabilities.shape[1]
    counts = np.bincount(owners, minlength=classes)
    votes = np.eye(classes) - counts / counts.sum()  # (K, K)
    agree = votes[owners] @ votes[owners].T  # (n, n)
    square, towards = np.zeros_like(agree), np.zeros(len(rows))
    for features in (word_features(candidates.texts), candidates.means - candidates.means.mean(axis=0)):
        wanted = pool_weights(features, candidates.probabilities)  # (K, V)
        wanted = wanted - wanted.mean(axis=0)
        wanted /= max(float(np.linalg.norm(wanted)), 1e-12)
        own = features[rows]
        inner = own @ own.T
        gram = np.asarray(inner.todense() if hasattr(inner, "todense") else inner) * agree  # (n, n)
        along = np.einsum("nk,nk->n", np.asarray(own @ wanted.T), votes[owners])  # (n,)
        size = max(float(gram.sum()), 1e-12)
        # The length that students should reach is left free in the choice; here it is what the rows have already.
        square += gram / size
        towards += along * max(float(along.sum()), 0.0) / size
    square += np.eye(len(rows)) * np.trace(square) / len(rows)
    return _nonnegative(square, towards, [np.flatnonzero(owners == k) for k in range(classes)])


def _by_class(choice: Choice, view: Callable[[int, np.ndarray], tuple[FloatArray, FloatArray]]) -> FloatArray:
    """Weights (rows,) from the features and the target of the rows of each class."""
    weights, rows = np.ones(len(choice.rows)), np.asarray(choice.rows)
    for k in np.unique(choice.owners):
        own = np.flatnonzero(choice.owners == k)
        features, aim = view(int(k), rows[own])
        away = features - aim  # (n, D)
        spread = float(((features - features.mean(axis=0)) ** 2).sum() / max(len(own) - 1, 1))
        # |w'away|^2 is the squared distance of the weighted mean, spread |w|^2 what chance adds to it (both n^2 times)
        square = away @ away.T + max(spread, 1e-9) * np.eye(len(own))
        weights[own] = _nonnegative(square, np.zeros(len(own)), [np.arange(len(own))])
    return weights


def _nonnegative(square: FloatArray, towards: FloatArray, classes: list[np.ndarray]) -> FloatArray:
    """The w >= 0 of least w' square w - 2 towards' w whose mean is one within each class of rows."""
    from scipy.optimize import nnls

    firm = 1e3 * float(np.trace(square)) / len(square)
    square, towards = square.copy(), towards.copy()
    for own in classes:
        square[np.ix_(own, own)] += firm
        towards[own] += firm * len(own)
    root = np.linalg.cholesky(square)  # square = root root'
    weights, _ = nnls(root.T, np.linalg.solve(root, towards))
    for own in classes:
        if own.size:
            weights[own] *= len(own) / max(float(weights[own].sum()), 1e-12)
    return np.asarray(weights, dtype=np.float64)
