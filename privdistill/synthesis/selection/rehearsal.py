"""How rows are divided among classes, tried out: a small imbalanced training set leaves a student near the majority.

How near depends on the number of rows and on how hard the classes are, so no single power of the noised counts is right
for all corpora. The choice of rows is made under each of a few powers; two plain students learn from each and answer
the candidates that were left over, which the teacher has labelled and the noised shares weigh. The power whose students
do best is taken.

All of it looks at synthetic texts and at what was released, hence costs nothing. It does not know private text, and
what it measures is no forecast: candidates are easier than records.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from privdistill.matching.quotas import EXPONENT, quotas, tempered
from privdistill.matching.student_weights import word_features
from privdistill.matching.target import NoisyTarget
from privdistill.mechanisms.release import FloatArray
from privdistill.synthesis.selection import Candidates, IntArray, select

__all__ = ["Division", "divided_rows"]

_EXPONENTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
_LEAST_CHANGE = 0.02
"""Below this share of the rows, no power moves enough rows to be worth a trial."""
_LEAST_LEFT = 10
"""A power may ask for more rows of a class than the usual one only where so many of its candidates would be left over,
and a class counts in a trial only when so many are left under every power that is tried."""


@dataclass(frozen=True, slots=True)
class Division:
    """Rows of each class, the power of the noised counts that they follow, and what each power tried has scored."""

    wanted: list[int]
    exponent: float
    scores: dict[str, float]


def divided_rows(candidates: Candidates, target: NoisyTarget, rows: int, believed: npt.NDArray[np.bool_]) -> Division:
    """Divide `rows` among classes by the power of their noised counts that serves students best.

    Args:
        candidates: the pool that rows are chosen from.
        target: noised shares of the classes.
        rows: how many in all.
        believed: (K,) classes whose count stands out of the noise.

    Returns:
        The usual power, with nothing tried, when the classes are about as large as one another or too few candidates
        would be left over.
    """
    plans = {power: quotas(rows, tempered(target.shares, believed, power)) for power in _EXPONENTS}
    usual = Division(plans[EXPONENT], EXPONENT, {})
    moved = sum(abs(a - b) for a, b in zip(plans[_EXPONENTS[0]], plans[_EXPONENTS[-1]], strict=True)) / 2
    if moved <= _LEAST_CHANGE * rows:
        return usual
    have = np.bincount(candidates.labels[candidates.preferred], minlength=len(believed))  # (K,)
    most = np.maximum(usual.wanted, have - _LEAST_LEFT)  # (K,)
    tried = [power for power, plan in plans.items() if np.all(plan <= most)]
    chosen = {power: select(candidates, target, plans[power]) for power in tried}
    left = {power: np.setdiff1d(np.flatnonzero(candidates.preferred), found) for power, (found, _) in chosen.items()}
    counts = np.stack([np.bincount(candidates.labels[one], minlength=len(believed)) for one in left.values()])
    counted = np.flatnonzero(believed & (counts.min(axis=0) >= _LEAST_LEFT))
    if counted.size < 2:
        return usual
    views = (word_features(candidates.texts), candidates.means)
    scores = {}
    for power, (found, owners) in chosen.items():
        answers = [_answers(view, found, owners, left[power]) for view in views]
        real = candidates.labels[left[power]]
        scores[power] = float(np.mean([_score(real, one, target.shares, counted) for one in answers]))
    best = max(scores, key=lambda power: scores[power])
    return Division(plans[best], best, {f"{power:g}": round(score, 4) for power, score in scores.items()})


def _answers(view: Any, rows: Sequence[int], owners: IntArray, asked: IntArray) -> IntArray:
    """What a regularised linear student of the rows says of the candidates that are asked, (n,)."""
    from sklearn.linear_model import LogisticRegression

    if len(np.unique(owners)) < 2:
        return np.full(len(asked), owners[0], dtype=np.int64)
    train = view[rows]
    used = np.flatnonzero(np.asarray(abs(train).sum(axis=0)).ravel())  # what no row has, a student does not weigh
    if not used.size:
        return np.full(len(asked), np.bincount(owners).argmax(), dtype=np.int64)
    model = LogisticRegression(C=1.0, max_iter=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that needs more steps is as good for a comparison
        model.fit(train[:, used], owners)
    return np.asarray(model.predict(view[asked][:, used]), dtype=np.int64)


def _score(real: IntArray, answers: IntArray, shares: FloatArray, counted: IntArray) -> float:
    """Mean of accuracy and macro-F1 of the counted classes, were the classes asked in their noised shares."""
    table = np.zeros((len(shares), len(shares)))  # (K, K)
    np.add.at(table, (real, answers), 1.0)
    table *= (np.maximum(shares, 0.0) / np.maximum(table.sum(axis=1), 1.0))[:, None]
    table = table[counted]  # (C, K)
    hits = table[np.arange(len(counted)), counted]
    accuracy = hits.sum() / max(table.sum(), 1e-12)
    f1 = 2 * hits / np.maximum(table.sum(axis=1) + table[:, counted].sum(axis=0), 1e-12)
    return float((accuracy + f1.mean()) / 2)
