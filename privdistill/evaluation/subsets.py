"""Labelled texts with their embeddings, and small parts of them: random, K-center, herding, gradient similarity.

The four choices are the baselines of dataset distillation. Taken from private records they are references that protect
nobody; taken from synthetic rows they are post-processing. It does not know which of both it is given.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from privdistill.matching.herding import herd
from privdistill.matching.quotas import quotas

__all__ = ["SELECTIONS", "Sample", "centroids", "per_class", "proportional"]

Embeddings = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]

_ITERATIONS = 20
_GRADIENT_WIDTH = 1024
"""Per-record gradients wider than this are projected down to it at random."""


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Texts, their labels, and an embedding of each in every space that was asked for.

    Attributes:
        texts: n texts.
        labels: n labels.
        spaces: name of a space -> (n, D).
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    spaces: Mapping[str, Embeddings]

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.texts)

    def take(self, which: Sequence[int] | IntArray) -> "Sample":
        """The texts of these indices, in this order."""
        rows = np.asarray(which, dtype=np.int64)
        return Sample(
            tuple(self.texts[i] for i in rows),
            tuple(self.labels[i] for i in rows),
            {name: points[rows] for name, points in self.spaces.items()},
        )

    def members(self) -> dict[str, IntArray]:
        """Class -> indices of its texts, classes in order."""
        labels = np.asarray(self.labels)
        return {name: np.flatnonzero(labels == name) for name in sorted(set(self.labels))}


def per_class(sample: Sample, count: int) -> dict[str, int]:
    """So many of each class, or all there are."""
    return {name: min(count, len(rows)) for name, rows in sample.members().items()}


def proportional(sample: Sample, rows: int) -> dict[str, int]:
    """About `rows` in all, with the class shares of the sample; a class gives at most what it has."""
    members = sample.members()
    sizes = np.array([len(one) for one in members.values()], dtype=np.float64)
    wanted = quotas(min(rows, len(sample)), sizes / sizes.sum())
    return {name: min(int(q), len(one)) for (name, one), q in zip(members.items(), wanted, strict=True)}


def random_rows(sample: Sample, wanted: Mapping[str, int], rng: np.random.Generator) -> IntArray:
    """Drawn without replacement, class by class."""
    return _joined(rng.permutation(rows)[: wanted[name]] for name, rows in sample.members().items())


def k_center_rows(sample: Sample, wanted: Mapping[str, int], rng: np.random.Generator) -> IntArray:
    """In each class, the text nearest to each of as many k-means centres as texts are wanted."""
    points = sample.spaces["encoder"]
    return _joined(_medoids(points, rows, wanted[name], rng) for name, rows in sample.members().items())


def herding_rows(sample: Sample, wanted: Mapping[str, int], rng: np.random.Generator) -> IntArray:
    """In each class, greedily the texts whose mean embedding comes nearest to that of the class."""
    del rng
    return _herded(sample, sample.spaces["encoder"], wanted)


def gradient_rows(sample: Sample, wanted: Mapping[str, int], rng: np.random.Generator) -> IntArray:
    """In each class, greedily the texts whose mean loss gradient comes nearest to that of the class.

    The gradient is that of the cross-entropy of a half-trained linear head (strong regularisation) on the embeddings:
    (p - e_y) times [h; 1], one a text.
    """
    from sklearn.linear_model import LogisticRegression

    points = sample.spaces["encoder"].astype(np.float64)
    if len(sample.members()) < 2:
        return _herded(sample, points, wanted)
    head = LogisticRegression(C=0.1, max_iter=1000).fit(points, list(sample.labels))
    answers = head.predict_proba(points)  # (n, K)
    answers[np.arange(len(sample)), np.searchsorted(head.classes_, list(sample.labels))] -= 1
    ones = np.hstack([points, np.ones((len(points), 1))])  # (n, D + 1)
    width = answers.shape[1] * ones.shape[1]
    if width <= _GRADIENT_WIDTH:
        return _herded(sample, (answers[:, :, None] * ones[:, None]).reshape(len(points), width), wanted)
    # (p - e) (x) h projected without ever being written out: a sum of products of two random projections
    left = rng.choice((-1.0, 1.0), size=(answers.shape[1], _GRADIENT_WIDTH))
    right = rng.standard_normal((ones.shape[1], _GRADIENT_WIDTH))
    return _herded(sample, (answers @ left) * (ones @ right) / np.sqrt(_GRADIENT_WIDTH), wanted)


def centroids(sample: Sample, wanted: Mapping[str, int], rng: np.random.Generator) -> tuple[Sample, IntArray]:
    """What vectors could do if they need not be texts: k-means centres of each class, and the texts nearest to them.

    Returns:
        A sample of centres (its texts are empty), and the rows of their nearest texts.
    """
    from sklearn.cluster import KMeans

    points = sample.spaces["encoder"]
    centres, labels, nearest = [], [], []
    for name, rows in sample.members().items():
        count = wanted[name]
        if count >= len(rows):
            found, own = points[rows], rows
        else:
            fitted = KMeans(count, n_init=1, max_iter=_ITERATIONS, random_state=_seed(rng)).fit(points[rows])
            found, own = fitted.cluster_centers_.astype(np.float32), _nearest(points, rows, fitted)
        centres.append(found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12))
        labels += [name] * len(found)
        nearest.append(own)
    vectors = np.vstack(centres).astype(np.float32)
    return Sample(("",) * len(labels), tuple(labels), {"encoder": vectors}), _joined(nearest)


def _medoids(points: Embeddings, rows: IntArray, count: int, rng: np.random.Generator) -> IntArray:
    from sklearn.cluster import KMeans

    if count == 0 or count >= len(rows):
        return rows[:count]
    return _nearest(
        points, rows, KMeans(count, n_init=1, max_iter=_ITERATIONS, random_state=_seed(rng)).fit(points[rows])
    )


def _nearest(points: Embeddings, rows: IntArray, fitted: Any) -> IntArray:
    """In every cluster, the member nearest to its centre."""
    labels = np.asarray(fitted.labels_, dtype=np.int64)  # (m,)
    distances = np.linalg.norm(points[rows] - fitted.cluster_centers_[labels], axis=1)
    order = np.lexsort((distances, labels))
    _, first = np.unique(labels[order], return_index=True)
    return np.asarray(rows[order[first]], dtype=np.int64)


def _herded(sample: Sample, features: npt.NDArray[np.floating], wanted: Mapping[str, int]) -> IntArray:
    chosen = []
    for name, rows in sample.members().items():
        own = features[rows].astype(np.float64)
        chosen.append(rows[herd(own, own.mean(axis=0), wanted[name])])
    return _joined(chosen)


def _joined(parts: Iterable[IntArray]) -> IntArray:
    found = [np.asarray(part, dtype=np.int64) for part in parts]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**31))


SELECTIONS: Mapping[str, Callable[[Sample, Mapping[str, int], np.random.Generator], IntArray]] = {
    "random": random_rows,
    "k-center": k_center_rows,
    "herding": herding_rows,
    "gradient similarity": gradient_rows,
}
