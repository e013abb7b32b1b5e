"""Trajectory matching by selection: rows on which a head walks the way that the DP-SGD expert walked.

The expert's iterates are cut into segments. Over a segment of M steps of rate eta it moved by eta M times a mean
gradient, noise included; rows are taken greedily so that their mean clipped gradient, at the segment's mean iterate, is
that one, each segment weighed by one over its length, as in matching training trajectories (Cazenavette et al. 2022,
arXiv:2203.11932; only sums of gradients are needed, as Cui et al. 2023, arXiv:2211.10586, observe). The distance they
define, after really training on the rows, is what `segment_distance` reports.

It does not know texts, nor how the expert was trained.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from privdistill.mechanisms.release import FloatArray, IntArray

__all__ = ["Segments", "follow", "head_probabilities", "read_segments", "segment_distance"]

_MARGIN = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Segments:
    """An expert run, cut up.

    Attributes:
        starts: (R, K, D) iterate at the start of each segment.
        ends: (R, K, D) and at its end.
        middles: (R, K, D) mean iterate: less noisy than any single one.
        steps: M.
        rate: eta.
        bound: norm to which a record's gradient was clipped.
        noise_share: (R,) part of a segment's squared length that its noise alone would have.
    """

    starts: FloatArray
    ends: FloatArray
    middles: FloatArray
    steps: int
    rate: float
    bound: float
    noise_share: FloatArray

    @property
    def gradients(self) -> FloatArray:
        """Mean noised gradient of each segment, (R, K, D)."""
        return (self.starts - self.ends) / (self.rate * self.steps)


def read_segments(iterates: FloatArray, count: int, *, rate: float, bound: float, noise: float) -> Segments:
    """Cut iterates (T + 1, K, D) into `count` segments of equal length; what is left over at the end is left out.

    Args:
        iterates: released, the start first.
        count: segments, at most T.
        rate: learning rate of the expert.
        bound: its clipping norm.
        noise: standard deviation of what the noise of one step adds to one cell.
    """
    steps = (len(iterates) - 1) // count
    cuts = np.arange(count + 1) * steps
    starts, ends = iterates[cuts[:-1]], iterates[cuts[1:]]
    middles = np.stack([iterates[low : high + 1].mean(axis=0) for low, high in pairwise(cuts)])
    lengths = np.maximum(((ends - starts) ** 2).sum(axis=(1, 2)), _MARGIN)
    share = np.minimum(steps * starts[0].size * noise**2 / lengths, 1.0)
    return Segments(starts, ends, middles, steps, rate, bound, share)


def head_probabilities(features: FloatArray, head: FloatArray) -> FloatArray:
    """Class probabilities (n, K) of rows x (n, D) under a head (K, D)."""
    scores = features @ head.T
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _residuals(features: FloatArray, labels: IntArray, head: FloatArray, bound: float) -> FloatArray:
    """(n, K) whose outer product with x is the clipped gradient of each row: clipping scales it, nothing else."""
    residual = head_probabilities(features, head)
    residual[np.arange(len(labels)), labels] -= 1.0
    norms = np.linalg.norm(residual, axis=1) * np.linalg.norm(features, axis=1)
    return np.asarray(residual * np.minimum(1.0, bound / np.maximum(norms, _MARGIN))[:, None])


def follow(
    features: FloatArray,
    labels: IntArray,
    segments: Segments,
    wanted: Sequence[int],
    *,
    accept: Callable[[int], bool] = lambda _: True,
) -> list[int]:
    """Rows, in the order taken, whose mean gradients come closest to those of the segments.

    Gradients are never written out: a row's is an outer product, so inner products of two rows factor.

    Args:
        features: (n, D) with bias.
        labels: (n,) class of each candidate.
        segments: what to follow.
        wanted: rows of each class.
        accept: asked once for each candidate about to be taken; a refused one is never asked again.
    """
    target = segments.gradients  # (R, K, D)
    scale = 1 / np.sqrt(np.maximum((target**2).sum(axis=(1, 2)), _MARGIN))  # (R,)
    residuals = np.stack(
        [
            _residuals(features, labels, head, segments.bound) * s
            for head, s in zip(segments.middles, scale, strict=True)
        ]
    )  # (R, n, K)
    aim = target * scale[:, None, None]
    towards = np.einsum("rnk,rkd,nd->n", residuals, aim, features, optimize=True)  # (n,)
    norms = (residuals**2).sum(axis=(0, 2)) * (features**2).sum(axis=1)  # (n,)
    overlap = np.zeros(len(features))  # (n,) with the sum of what was taken
    left = np.array(wanted)
    alive = left[labels] > 0
    taken: list[int] = []
    while alive.any():
        score = norms + 2 * (overlap - (len(taken) + 1) * towards)
        best = int(np.argmin(np.where(alive, score, np.inf)))
        alive[best] = False
        if not accept(best):
            continue
        taken.append(best)
        left[labels[best]] -= 1
        if left[labels[best]] == 0:
            alive[labels == labels[best]] = False
        overlap += (features @ features[best]) * np.einsum("rnk,rk->n", residuals, residuals[:, best])
    return taken


def segment_distance(features: FloatArray, labels: IntArray, segments: Segments) -> float:
    """|trained - end|^2 / |start - end|^2, mean over segments: as many steps on the rows as the expert took.

    0: the rows lead where the records led; 1: no better than standing still. It cannot fall below about the noise's
    share of a segment.
    """
    ratios = []
    for start, end in zip(segments.starts, segments.ends, strict=True):
        head = start.copy()
        for _ in range(segments.steps):
            gradient = _residuals(features, labels, head, segments.bound).T @ features / max(len(features), 1)
            head -= segments.rate * gradient
        ratios.append(float(((head - end) ** 2).sum()) / max(float(((start - end) ** 2).sum()), _MARGIN))
    return float(np.mean(ratios))
