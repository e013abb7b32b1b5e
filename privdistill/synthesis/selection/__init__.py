"""From a pool of candidates to exactly N rows: quotas, the teacher's word, matched selection, no near-duplicates.

Everything it looks at is synthetic or already noised. It does not know private text, nor how candidates were written.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privdistill.matching.herding import Herd
from privdistill.matching.student_weights import StudentWeights, pool_weights, word_features
from privdistill.matching.target import NoisyTarget, exaggerated
from privdistill.mechanisms.release import FloatArray
from privdistill.synthesis.near_duplicates import NearDuplicates

__all__ = ["Candidates", "filled", "select"]

IntArray = npt.NDArray[np.int64]

_MOMENT_WEIGHT = 4.0
_LENGTH_WEIGHT = 12.0
_STUDENT_WEIGHTS = {"words": 32.0, "embeddings": 24.0}
"""Of what students would learn against the distance to the target; chosen on the holdout sides of film reviews, TREC
questions and text messages at epsilon 8."""
_AGREEMENT_BONUS = 0.3
"""What agreement of prompt and teacher is worth, in units of a typical squared feature norm."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """A pool, scored.

    Attributes:
        texts: n texts.
        aims: (n,) class each was written for.
        probabilities: (n, K) of the teacher.
        means: (n, d) projected embeddings.
        tokens: (n, G) unit-norm presence in the believable columns.
        lengths: (n, L) one-hot length buckets.
        disputed: (n,) texts about whose class teachers disagree, or None for none of them.
        disputed_last: whether those are chosen only when nothing else is left.
    """

    texts: Sequence[str]
    aims: IntArray
    probabilities: FloatArray
    means: FloatArray
    tokens: FloatArray
    lengths: FloatArray
    disputed: npt.NDArray[np.bool_] | None = None
    disputed_last: bool = False

    @property
    def agreed(self) -> npt.NDArray[np.bool_]:
        """Candidates that no teachers dispute, (n,)."""
        return np.ones(len(self.texts), dtype=bool) if self.disputed is None else ~self.disputed

    @property
    def preferred(self) -> npt.NDArray[np.bool_]:
        """Candidates that are chosen before all others, (n,)."""
        return self.agreed if self.disputed_last else np.ones(len(self.texts), dtype=bool)

    @property
    def labels(self) -> IntArray:
        """The teacher's class of each, (n,)."""
        return np.asarray(self.probabilities.argmax(axis=1), dtype=np.int64)

    @property
    def agreement(self) -> float:
        """Share of candidates whose teacher sees the class they were written for."""
        return float(np.mean(self.labels == self.aims)) if len(self.texts) else 0.0

    def take(self, rows: IntArray) -> "Candidates":
        """Some of the pool."""
        return Candidates(
            [self.texts[int(i)] for i in rows],
            self.aims[rows],
            self.probabilities[rows],
            self.means[rows],
            self.tokens[rows],
            self.lengths[rows],
            ~self.agreed[rows],
            self.disputed_last,
        )

    def __add__(self, more: "Candidates") -> "Candidates":
        """Both pools."""
        return Candidates(
            [*self.texts, *more.texts],
            np.concatenate([self.aims, more.aims]),
            np.vstack([self.probabilities, more.probabilities]),
            np.vstack([self.means, more.means]),
            np.vstack([self.tokens, more.tokens]),
            np.vstack([self.lengths, more.lengths]),
            ~np.concatenate([self.agreed, more.agreed]),
            self.disputed_last or more.disputed_last,
        )


def select(candidates: Candidates, target: NoisyTarget, wanted: Sequence[int]) -> tuple[list[int], IntArray]:
    """Rows whose word, embedding and length statistics match the noised ones, and that teach what the teacher knows.

    A candidate stands for the class its teacher sees; those that were also written for it are preferred. Classes take
    turns, so that what students of all rows so far would learn can be brought towards what the whole pool, labelled by
    the teacher, would teach them. When a class has too few, the candidates left over that are likeliest to be of it
    fill its quota; those that are not preferred are looked at only then.

    Args:
        candidates: the pool.
        target: what to match.
        wanted: rows of each class.

    Returns:
        Indices of the rows (fewer than wanted only if the pool is smaller), and their labels.
    """
    seen = NearDuplicates()
    chosen: list[int] = []
    labels: list[int] = []
    groups = [_Group.of(candidates, target, k) for k in range(len(wanted))]
    shares = np.asarray(wanted, dtype=np.float64) / max(sum(wanted), 1)
    students = list(_students(candidates, [group.members for group in groups], shares)) if len(wanted) > 1 else []
    while open_ := [k for k, group in enumerate(groups) if len(group.herd.taken) < wanted[k] and group.herd]:
        k = min(open_, key=lambda k: len(groups[k].herd.taken) / wanted[k])
        group = groups[k]
        # A correlation moves by about one over the number of rows: scaled by it, all parts stay of one size.
        scale = 2 * (len(chosen) + 1) * group.typical
        best = group.herd.best(-scale * sum((worth * one.correlations(k) for worth, one in students), start=0.0))
        i = int(group.members[best])
        if not seen.add(candidates.texts[i]):
            group.herd.refuse(best)
            continue
        group.herd.take(best)
        for _, one in students:
            one.choose(k, best)
        chosen.append(i)
        labels.append(k)
    return filled(candidates, wanted, chosen, labels, seen)


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    """The candidates of one class: their indices, their herd, and a typical squared feature norm."""

    members: IntArray
    herd: Herd
    typical: float

    @classmethod
    def of(cls, candidates: Candidates, target: NoisyTarget, k: int) -> "_Group":
        members = np.flatnonzero((candidates.labels == k) & candidates.preferred)
        features, aim = _features(candidates, target, k, members)
        agreed = candidates.aims[members] == k
        typical = float(np.median(np.einsum("ij,ij->i", features, features))) if members.size else 0.0
        return cls(members, Herd(features, aim, _AGREEMENT_BONUS * typical * agreed), typical)


def _students(
    candidates: Candidates, members: Sequence[IntArray], shares: FloatArray
) -> Iterator[tuple[float, StudentWeights]]:
    """Students of words and of embeddings, and what each counts."""
    if not candidates.texts:
        return
    views = {"words": word_features(candidates.texts), "embeddings": candidates.means - candidates.means.mean(axis=0)}
    for name, features in views.items():
        wanted = pool_weights(features, candidates.probabilities)
        yield _STUDENT_WEIGHTS[name], StudentWeights(features, members, wanted, shares)


def filled(
    candidates: Candidates, wanted: Sequence[int], chosen: Sequence[int], labels: Sequence[int], seen: NearDuplicates
) -> tuple[list[int], IntArray]:
    """The chosen rows and, for each class that lacks some, the candidates left over that are likeliest to be of it."""
    chosen, labels = list(chosen), list(labels)
    taken = np.zeros(len(candidates.texts), dtype=bool)  # (n,)
    taken[chosen] = True
    have = np.bincount(labels, minlength=len(wanted))
    for k in np.argsort(have - np.asarray(wanted)):  # the class that lacks most comes first
        order = np.argsort(-candidates.probabilities[:, k], kind="stable")
        for lenient in (False, True):  # near-duplicates only when nothing else is left
            for i in order:
                if have[k] >= wanted[k]:
                    break
                if not taken[i] and (lenient or seen.add(candidates.texts[i])):
                    taken[i] = True
                    chosen.append(int(i))
                    labels.append(int(k))
                    have[k] += 1
    return chosen, np.asarray(labels, dtype=np.int64)


def _features(candidates: Candidates, target: NoisyTarget, k: int, members: IntArray) -> tuple[FloatArray, FloatArray]:
    """Weighted features (m, D) of the members and the weighted target (D,) of class k.

    Token columns weigh as in a chi-square statistic: by one over the rate, noise included.
    """
    goal = target.classes[k]
    scale = 1 / np.sqrt(goal.tokens + target.deviation[k] + 1e-6)  # (G,)
    features = np.hstack(
        [
            candidates.tokens[members] * scale,
            candidates.means[members] * _MOMENT_WEIGHT,
            candidates.lengths[members] * _LENGTH_WEIGHT,
        ]
    )
    words = exaggerated(np.stack([one.tokens for one in target.classes]), target.counts)[k]  # (G,)
    aim = np.concatenate([words * scale, goal.mean * _MOMENT_WEIGHT, goal.lengths * _LENGTH_WEIGHT])
    return features, aim
