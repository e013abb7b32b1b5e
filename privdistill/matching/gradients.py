"""Gradient matching by selection: rows on which public heads get the gradient that the private records give them.

The target is the noised sum, class by class, of clipped per-record gradients of a linear head at several public
checkpoints, one long vector (as in dataset condensation, Zhao, Mopuri & Bilen 2021, arXiv:2006.05929, whose cosine DiLM
uses for text). Candidates are taken greedily by the cosine of what was taken so far with the target, or by the weights
of a Frank-Wolfe solution; the one that comes closer is kept. It does not know texts, nor how the target was released.
"""

from collections.abc import Callable, Sequence

import numpy as np

from privdistill.features.blocks import clip, head_gradient
from privdistill.mechanisms.release import FloatArray, IntArray

__all__ = [
    "cosine",
    "frank_wolfe",
    "gradient_cells",
    "gradients_of",
    "greedy_cosine",
    "heaviest",
    "improvement",
    "public_checkpoints",
    "shrunk",
    "softened_cosine",
]

_RATE = 4.0
"""Of gradient descent on the public pool, at the edge of what is sure not to make the loss rise: 2 over the curvature.

The curvature of the cross-entropy is at most half the largest eigenvalue of E x xᵀ, x = [h; 1]. Features are centred at
the mean of this very pool and E |h|² is below 1, so that this eigenvalue is that of the bias: 1, but for what clipping
moves the mean by (a millionth on the pools of two corpora). Of features that are not centred only 4 / (1 + R²) is sure,
R their largest norm, about 1."""
_CHECKPOINTS = (0, 8, 64)
"""Steps after which a checkpoint is kept: nothing learnt, a little, most of it."""


def gradient_cells(classes: int, dimensions: int) -> int:
    """Numbers of one gradient at all checkpoints, of a head with bias."""
    return len(_CHECKPOINTS) * classes * (dimensions + 1)


def public_checkpoints(features: FloatArray, labels: IntArray, classes: int) -> FloatArray:
    """Heads (R, K, d + 1) on their way through gradient descent on public features (n, d) and prompt labels (n,)."""
    x = np.hstack([features, np.ones((len(features), 1))])
    goal = np.eye(classes)[labels]  # (n, K)
    weights, kept = np.zeros((classes, x.shape[1])), []
    for step in range(_CHECKPOINTS[-1] + 1):
        if step in _CHECKPOINTS:
            kept.append(weights.copy())
        scores = x @ weights.T
        odds = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights -= _RATE * (odds / odds.sum(axis=1, keepdims=True) - goal).T @ x / len(x)
    return np.stack(kept)


def gradients_of(features: FloatArray, labels: IntArray, checkpoints: FloatArray, bound: float) -> FloatArray:
    """Clipped gradients (n, R K (d + 1)) of candidates (n, d): the map that private records went through."""
    width = int(np.prod(checkpoints.shape))
    rows = [
        clip(head_gradient(np.append(h, 1.0), int(y), checkpoints), bound)
        for h, y in zip(features, labels, strict=True)
    ]
    return np.stack(rows) if rows else np.zeros((0, width))


def shrunk(target: FloatArray, prior: FloatArray, noise: float) -> FloatArray:
    """James-Stein: the noised target (D,) drawn to a public prior by the part of their distance that noise explains."""
    away = target - prior
    kept = max(0.0, 1 - target.size * noise**2 / max(float(away @ away), 1e-300))
    return prior + kept * away


def cosine(taken: FloatArray, target: FloatArray) -> float:
    """Cosine of the sum of the rows taken (m, D) with the target (D,)."""
    total = taken.sum(axis=0)
    scale = float(np.linalg.norm(total) * np.linalg.norm(target))
    return float(total @ target) / scale if scale > 0 else 0.0


def softened_cosine(losses: FloatArray, gradients: FloatArray, target: FloatArray) -> float:
    """Cosine with the target (F,) of gradients (n, F), each weighted by softmax(-losses): by how likely its text is."""
    return cosine(_odds(losses)[:, None] * gradients, target)


def improvement(losses: FloatArray, gradients: FloatArray, target: FloatArray) -> FloatArray:
    """Derivative (n,) of 1 - `softened_cosine` in each loss: how much a text's being unlikely harms the match.

    The weights that DiLM's matching loss puts on the language model's loss of each text (Maekawa et al. 2024, section
    3.3, at temperature 1): positive where the text should become likelier, negative where rarer, zero in sum.
    """
    odds = _odds(losses)  # (n,)
    total = odds @ gradients  # (F,)
    length, goal = float(np.linalg.norm(total)), float(np.linalg.norm(target))
    if length <= 0 or goal <= 0:
        return np.zeros(len(losses))
    reached = float(total @ target) / (length * goal)
    slope = gradients @ (target / (length * goal) - reached * total / length**2)  # (n,) of the cosine, in the odds
    return np.asarray(odds * (slope - odds @ slope))


def _odds(losses: FloatArray) -> FloatArray:
    powers = np.exp(losses.min() - losses) if len(losses) else losses
    return np.asarray(powers / max(float(powers.sum()), 1e-300))


def greedy_cosine(
    gradients: FloatArray,
    target: FloatArray,
    count: int,
    *,
    start: Sequence[int] = (),
    accept: Callable[[int], bool] = lambda _: True,
) -> list[int]:
    """Indices of at most `count` candidates (n, D); each step takes the one that brings the sum's cosine highest.

    Args:
        gradients: of the candidates.
        target: (D,) where their sum should point.
        count: how many to take, those of `start` included.
        start: candidates that are taken already.
        accept: asked once for each candidate about to be taken; a refused one is never asked again.
    """
    norms = np.einsum("ij,ij->i", gradients, gradients)  # (n,)
    towards = gradients @ target  # (n,)
    taken = list(start)
    total = gradients[taken].sum(axis=0)  # (D,)
    overlap = gradients @ total  # (n,) with what was taken
    length, along = float(total @ total), float(total @ target)
    alive = np.ones(len(gradients), dtype=bool)
    alive[taken] = False
    while len(taken) < count and alive.any():
        longer = np.maximum(length + 2 * overlap + norms, 1e-300)  # squared norm of the sum with each candidate
        best = int(np.argmax(np.where(alive, (along + towards) / np.sqrt(longer), -np.inf)))
        alive[best] = False
        if accept(best):
            taken.append(best)
            length, along = float(longer[best]), along + float(towards[best])
            overlap += gradients @ gradients[best]
    return taken


def frank_wolfe(gradients: FloatArray, target: FloatArray, steps: int) -> FloatArray:
    """Weights (n,) on the simplex whose mean gradient comes close to the target: conditional gradient, line search."""
    weights = np.zeros(len(gradients))
    if not len(gradients):
        return weights
    first = int(np.argmax(gradients @ target))
    weights[first] = 1.0
    mean = gradients[first].copy()
    for _ in range(steps):
        gap = target - mean
        best = int(np.argmax(gradients @ gap))
        move = gradients[best] - mean
        size = float(move @ move)
        step = min(1.0, float(gap @ move) / size) if size > 0 else 0.0
        if step <= 1e-12:
            break
        weights *= 1 - step
        weights[best] += step
        mean += step * move
    return weights


def heaviest(weights: FloatArray, count: int, *, accept: Callable[[int], bool] = lambda _: True) -> list[int]:
    """Indices of at most `count` candidates of positive weight, heaviest first."""
    taken: list[int] = []
    for i in np.argsort(-weights, kind="stable"):
        if len(taken) == count or weights[i] <= 0:
            break
        if accept(int(i)):
            taken.append(int(i))
    return taken
