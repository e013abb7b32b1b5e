"""Whether a synthetic corpus has the form it should have, and how far it is from other texts.

Form: no near-duplicates, preambles, cut-off texts or echoes. Distance between two samples of embeddings: Fréchet
distance, MAUVE-style divergence, precision and recall; both samples are cut to one size, because each measure depends
on it, and a value is only comparable with another of the same space and size. It does not know which texts are private.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.findings import Estimate
from privdistill.evaluation.intervals import half_sampled
from privdistill.synthesis.form import ends_whole, has_preamble
from privdistill.synthesis.near_duplicates import near_duplicate_share

__all__ = [
    "Distance",
    "FormReport",
    "divergence_area",
    "form_of",
    "frechet",
    "length_distance",
    "near_duplicate_share",
    "neighbour_shares",
    "samples_apart",
]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_MOST = 2000
_NEIGHBOURS = 5
_SCALE = 5.0
_POINTS_PER_CLUSTER, _CLUSTERS = 10, 500
_VARIANCE = 0.9
_SHARE = (0.0, 1.0)


@dataclass(frozen=True, slots=True)
class FormReport:
    """Shares of texts.

    Attributes:
        near_duplicates: five-word-shingle Jaccard similarity of 0.8 or more with an earlier text.
        preambles: start like an answer of a chat model.
        unfinished: no sentence mark at the end.
        echoes: repeat the description that prompted them.
        repeated_openings: share of the commonest first three words.
    """

    near_duplicates: float
    preambles: float
    unfinished: float
    echoes: float
    repeated_openings: float


def form_of(texts: Sequence[str], describe: str | None = None) -> FormReport:
    """Count what a reader would stumble over.

    Example:
        >>> form_of(["Sure, here is a review.", "Dull and slow"]).preambles
        0.5
    """
    n = max(len(texts), 1)
    openings = Counter(" ".join(text.casefold().split()[:3]) for text in texts)
    echo = describe.casefold() if describe else None
    return FormReport(
        near_duplicates=near_duplicate_share(list(texts)),
        preambles=sum(has_preamble(text) for text in texts) / n,
        unfinished=sum(not ends_whole(text) for text in texts) / n,
        echoes=sum(echo in text.casefold() for text in texts) / n if echo else 0.0,
        repeated_openings=max(openings.values(), default=0) / n,
    )


def length_distance(one: Sequence[str], other: Sequence[str], step: int = 4) -> float:
    """Total variation (0 to 1) between two histograms of lengths in words, in buckets of `step` words."""
    if not one or not other:
        return 1.0
    ours, theirs = (np.array([len(text.split()) // step for text in texts]) for texts in (one, other))
    size = int(max(ours.max(), theirs.max())) + 1
    gap = np.bincount(ours, minlength=size) / len(ours) - np.bincount(theirs, minlength=size) / len(theirs)
    return float(np.abs(gap).sum() / 2)


@dataclass(frozen=True, slots=True)
class Distance:
    """How far apart two samples are.

    Attributes:
        frechet: squared Fréchet distance of two Gaussians with their means and covariances; 0 for equal ones.
        mauve: area under the divergence curve of k-means histograms; 1 for equal ones.
        precision: share of the first within the neighbourhoods of the second.
        recall: share of the second within the neighbourhoods of the first.
    """

    frechet: Estimate
    mauve: Estimate
    precision: Estimate
    recall: Estimate


def samples_apart(one: npt.ArrayLike, other: npt.ArrayLike, rng: np.random.Generator) -> Distance:
    """All four measures of (n, D) and (m, D), both cut at random to the smaller size (2,000 at most)."""
    a, b = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    size = min(len(a), len(b), _MOST)
    a, b = a[rng.permutation(len(a))[:size]], b[rng.permutation(len(b))[:size]]
    bins = _quantised(np.vstack([a, b]), rng)
    ours, theirs = bins[:size], bins[size:]
    k = int(bins.max()) + 1
    own_a, own_b, between = _distances(a, a), _distances(b, b), _distances(a, b)

    def shares(rows: Sequence[IntArray], which: int) -> float:
        left, right = rows
        parts = own_a[np.ix_(left, left)], own_b[np.ix_(right, right)], between[np.ix_(left, right)]
        return _shares(*parts)[which]

    sizes = (size, size)
    return Distance(
        frechet=half_sampled(lambda rows: frechet(a[rows[0]], b[rows[1]]), sizes, rng, "texts", (0.0, math.inf)),
        mauve=half_sampled(
            lambda rows: divergence_area(
                np.bincount(ours[rows[0]], minlength=k), np.bincount(theirs[rows[1]], minlength=k)
            ),
            sizes,
            rng,
            "texts, clusters held fixed",
            _SHARE,
        ),
        precision=half_sampled(lambda rows: shares(rows, 0), sizes, rng, "texts", _SHARE),
        recall=half_sampled(lambda rows: shares(rows, 1), sizes, rng, "texts", _SHARE),
    )


def frechet(one: FloatArray, other: FloatArray) -> float:
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1^(1/2) S2 S1^(1/2))^(1/2)); Dowson and Landau 1982.

    Example:
        >>> points = np.random.default_rng(0).normal(size=(50, 3))
        >>> abs(frechet(points, points + [2.0, 0.0, 0.0]) - 4.0) < 1e-9
        True
    """
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    values, vectors = np.linalg.eigh(np.atleast_2d(first))
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    crossed = np.linalg.eigvalsh(root @ np.atleast_2d(second) @ root)
    gap = one.mean(axis=0) - other.mean(axis=0)
    return float(gap @ gap + np.trace(np.atleast_2d(first + second)) - 2 * np.sqrt(np.maximum(crossed, 0.0)).sum())


def divergence_area(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Area under the curve (exp -c KL(q|r), exp -c KL(p|r)) over mixtures r of two histograms; Pillutla et al. 2021.

    Counts are smoothed by one half a bin (Krichevsky-Trofimov), c is 5. The published MAUVE quantises features of
    GPT-2; the number here is comparable only with others in this report.

    Example:
        >>> round(divergence_area([5, 5], [5, 5]), 3)
        1.0
    """
    p, q = (np.asarray(counts, dtype=np.float64) + 0.5 for counts in (one, other))
    p, q = p / p.sum(), q / q.sum()
    weights = np.linspace(1e-6, 1 - 1e-6, 50)[:, None]  # (w, 1)
    mixed = weights * p + (1 - weights) * q  # (w, k)
    x = np.exp(-_SCALE * (q * np.log(q / mixed)).sum(axis=1))
    y = np.exp(-_SCALE * (p * np.log(p / mixed)).sum(axis=1))
    x, y = np.concatenate([[1.0], x[::-1], [0.0]]), np.concatenate([[0.0], y[::-1], [1.0]])
    order = np.lexsort((-y, x))
    return float(np.trapezoid(y[order], x[order]))


def neighbour_shares(one: FloatArray, other: FloatArray) -> tuple[float, float]:
    """Precision and recall by 5 nearest neighbours (Kynkäänniemi et al. 2019).

    A point lies within a sample when some point of that sample is at least as near as that point's own fifth neighbour.
    """
    return _shares(_distances(one, one), _distances(other, other), _distances(one, other))


def _shares(own_one: FloatArray, own_other: FloatArray, between: FloatArray) -> tuple[float, float]:
    radius_one, radius_other = _radius(own_one), _radius(own_other)
    precision = (between <= radius_other[None, :]).any(axis=1).mean()
    recall = (between <= radius_one[:, None]).any(axis=0).mean()
    return float(precision), float(recall)


def _radius(own: FloatArray) -> FloatArray:
    """Distance of each point to its fifth neighbour (its own distance of 0 comes first)."""
    k = min(_NEIGHBOURS, len(own) - 1)
    return np.asarray(np.partition(own, k, axis=1)[:, k], dtype=np.float64)


def _distances(one: FloatArray, other: FloatArray) -> FloatArray:
    """Squared distances (n, m)."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    return np.asarray(np.maximum(squares, 0.0), dtype=np.float64)


def _quantised(points: FloatArray, rng: np.random.Generator) -> IntArray:
    """Cluster of each point, after a projection that keeps nine tenths of the variance."""
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    seed = int(rng.integers(2**31))
    if points.shape[1] > 2:
        points = PCA(_VARIANCE, svd_solver="full").fit_transform(points)
    count = int(np.clip(len(points) // 2 // _POINTS_PER_CLUSTER, 2, _CLUSTERS))
    return np.asarray(KMeans(count, n_init=1, random_state=seed).fit_predict(points), dtype=np.int64)
