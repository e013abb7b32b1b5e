"""Meta-model matching: a support set on which ridge regression learns what it would learn on the private records.

With linear features x = [h; 1] the outer loss of kernel inducing points (Nguyen, Chen & Lee 2021, arXiv:2011.00050)
needs two moments of the records only, E x xᵀ and E x e_yᵀ, which are noised once:

    W(S) = Xᵀ(X Xᵀ + lambda I)⁻¹ Y = (XᵀX + lambda I)⁻¹ XᵀY          inner: ridge regression on the support
    L(S) = E |e_y - W(S)ᵀx|² = tr(Wᵀ A W) - 2 tr(Wᵀ B) + 1             outer: its loss on the records

Supports are chosen greedily with hard labels, one rank-one update a candidate; given the support, the labels that make
W(S) the minimiser of L have a closed form. It does not know texts, nor how the moments were released.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from privdistill.matching.target import NoisyTarget
from privdistill.mechanisms.release import FloatArray, IntArray, Release

__all__ = [
    "Moments",
    "closed_form_labels",
    "outer_loss",
    "read_moments",
    "ridge_weights",
    "select_support",
    "with_bias",
]

_LEAST_RIDGE = 1e-3
"""Per row; features have norms below one."""


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """What the outer loss needs of the records.

    Attributes:
        second: (D, D) mean of x xᵀ plus `ridge` times the identity: what the noise may hide is held against weights.
        cross: (D, K) mean of x e_yᵀ.
        ridge: the spectral norm that the noise of `second` is expected to have, or a little more than zero; per row of
            the inner regression too.
    """

    second: FloatArray
    cross: FloatArray
    ridge: float

    @property
    def best(self) -> FloatArray:
        """Weights (D, K) that minimise the outer loss."""
        return np.asarray(np.linalg.solve(self.second, self.cross))


def with_bias(features: FloatArray) -> FloatArray:
    """Features x = [h; 1], (n, d + 1)."""
    return np.hstack([features, np.ones((len(features), 1))])


def read_moments(release: Release, target: NoisyTarget) -> Moments:
    """The moments of a release with blocks `count`, `moment` and `second`; class means as `target` shrinks them."""
    total, shares = float(target.counts.sum()), target.shares
    means = with_bias(target.means)  # (K, D)
    d = means.shape[1] - 1
    within = release.block("second") / total - (target.means.T * shares) @ target.means  # (d, d)
    values, vectors = np.linalg.eigh(within)
    second = (means.T * shares) @ means  # (D, D)
    second[:d, :d] += (vectors * np.maximum(values, 0.0)) @ vectors.T
    # Off-diagonal noise is 1/sqrt 2 of a cell's: a symmetric Gaussian matrix of norm sqrt(2 d) times the deviation.
    spectral = release.noise["second"] * np.sqrt(2 * d) / total
    ridge = max(_LEAST_RIDGE, float(spectral))
    return Moments(second + ridge * np.eye(d + 1), means.T * shares, ridge)


def ridge_weights(features: FloatArray, labels: FloatArray, ridge: float) -> FloatArray:
    """Inner solution (D, K) on rows x (n, D) with labels (n, K); `ridge` per row."""
    gram = features.T @ features + ridge * len(features) * np.eye(features.shape[1])
    return np.asarray(np.linalg.solve(gram, features.T @ labels))


def outer_loss(weights: FloatArray, moments: Moments) -> float:
    """L: mean squared error of the weights on the records by the noised moments, ridge included; 1 for zero weights."""
    fit = np.sum(weights * (moments.second @ weights)) - 2 * np.sum(weights * moments.cross)
    return float(fit + 1)


def closed_form_labels(features: FloatArray, moments: Moments) -> FloatArray:
    """Labels (n, K), of least norm, for which ridge regression on the rows gives `moments.best`.

    Exact when the rows span the space; else as near as they can come.
    """
    gram = features.T @ features
    best = moments.best + moments.ridge * len(features) * (np.linalg.pinv(gram, hermitian=True) @ moments.best)
    return np.asarray(features @ best)


def select_support(
    features: FloatArray,
    labels: IntArray,
    moments: Moments,
    wanted: Sequence[int],
    *,
    accept: Callable[[int], bool] = lambda _: True,
) -> list[int]:
    """Rows, in the order taken: each step takes the candidate that lowers the outer loss most.

    Args:
        features: (n, D) with bias.
        labels: (n,) class of each candidate.
        moments: what to fit.
        wanted: rows of each class; a class that has enough is left alone.
        accept: asked once for each candidate about to be taken; a refused one is never asked again.
    """
    left, rows = np.array(wanted), int(np.sum(wanted))
    damping = moments.ridge * rows
    inverse = features / damping  # (n, D) each x times (XᵀX + damping)⁻¹
    leverage = np.einsum("ij,ij->i", features, inverse)  # (n,)
    spread = np.einsum("ij,ij->i", inverse @ moments.second, inverse)  # (n,)
    slope = -moments.cross.copy()  # (D, K) half the gradient of L
    residual = np.eye(len(wanted))[labels]  # (n, K) label minus prediction
    alive = left[labels] > 0
    taken: list[int] = []
    while len(taken) < rows and alive.any():
        length = 1 + leverage
        gain = 2 * np.einsum("ik,ik->i", inverse @ slope, residual) / length
        gain += spread * np.einsum("ik,ik->i", residual, residual) / length**2
        best = int(np.argmin(np.where(alive, gain, np.inf)))
        alive[best] = False
        if not accept(best):
            continue
        taken.append(best)
        left[labels[best]] -= 1
        if left[labels[best]] == 0:
            alive[labels == labels[best]] = False
        step, error = inverse[best].copy(), residual[best] / length[best]  # (D,), (K,)
        pushed = moments.second @ step  # (D,)
        slope += np.outer(pushed, error)
        overlap = features @ step  # (n,)
        residual -= np.outer(overlap, error)
        share = overlap / length[best]  # (n,)
        spread += share**2 * float(step @ pushed) - 2 * share * (inverse @ pushed)
        inverse -= np.outer(share, step)
        leverage -= share * overlap
    return taken
