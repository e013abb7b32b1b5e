"""Public clusters that stand in for classes when a corpus has no labels.

k-means on embeddings of the public pool; a private record then belongs to its nearest centre, by itself. It does not
know private records.
"""

import numpy as np

from privdistill.mechanisms.release import ClassRule, FloatArray

__all__ = ["cluster_rule", "nearest"]

_ROUNDS = 25


def cluster_rule(embeddings: FloatArray, clusters: int, rng: np.random.Generator) -> ClassRule:
    """Classes `cluster-0`, `cluster-1`, ... around k-means centres of public embeddings (n, D)."""
    points = np.asarray(embeddings, dtype=np.float64)
    clusters = max(1, min(clusters, len(points)))
    centres = points[[int(rng.integers(len(points)))]]  # (1, D)
    while len(centres) < clusters:  # k-means++: far points are likelier to become centres
        gap = ((points[:, None] - centres[None]) ** 2).sum(axis=2).min(axis=1) + 1e-12
        centres = np.vstack([centres, points[rng.choice(len(points), p=gap / gap.sum())]])
    for _ in range(_ROUNDS):
        owner = nearest(points, centres)
        moved = np.stack(
            [points[owner == k].mean(axis=0) if (owner == k).any() else centres[k] for k in range(clusters)]
        )
        if np.allclose(moved, centres):
            break
        centres = moved
    return ClassRule(tuple(f"cluster-{k}" for k in range(clusters)), centres=centres)


def nearest(points: FloatArray, centres: FloatArray) -> np.ndarray:
    """Index of the nearest centre of each point, (n,)."""
    return ((centres**2).sum(axis=1) - 2 * points @ centres.T).argmin(axis=1)
