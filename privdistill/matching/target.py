"""What a noised statistic says about each class, with the noise shrunk away as far as its own level justifies.

Counts, embedding means, token rates, opening shares and length shares, each estimated from one `Release`. A cell is
believed only as far as it stands above its noise, which is public. It does not know how the release was made, nor
what is matched.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privdistill.mechanisms.release import FloatArray, Release

__all__ = ["CONTRAST", "ClassTarget", "NoisyTarget", "believable", "distinct", "exaggerated", "read_target"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_DEVIATIONS = 3.0
"""A column is used for matching when its total stands so many noise deviations above zero."""
CONTRAST = 2.0
"""Chosen on the holdout side of film reviews: students on words gain, students on embeddings lose nothing."""
_LEAST_COUNT = 10.0
"""Smallest class size that anything is divided by: a class of noise alone must not explode."""


@dataclass(frozen=True, slots=True, eq=False)
class ClassTarget:
    """Per-record rates of one class.

    Attributes:
        mean: (d,) embedding mean in the public subspace.
        tokens: (G,) mean unit-norm presence in the believable columns.
        lengths: (L,) share of each length bucket.
    """

    mean: FloatArray
    tokens: FloatArray
    lengths: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class NoisyTarget:
    """A release, read.

    Attributes:
        names: class names.
        counts: (K,) noised class sizes, floored.
        columns: (G,) believable token columns.
        classes: one target for each class.
        lengths: (L,) share of each length bucket over all classes.
        deviation: noise deviation of one token cell, per class as a rate: (K,).
    """

    names: tuple[str, ...]
    counts: FloatArray
    columns: IntArray
    classes: tuple[ClassTarget, ...]
    lengths: FloatArray
    deviation: FloatArray

    @property
    def shares(self) -> FloatArray:
        """Noised class shares, (K,)."""
        return self.counts / self.counts.sum()

    @property
    def means(self) -> FloatArray:
        """Class means, (K, d)."""
        return np.stack([one.mean for one in self.classes])


def read_target(release: Release) -> NoisyTarget:
    """Estimate the rates of each class from the blocks count, moment, tokens and length."""
    raw = release.block("count")
    counts = np.maximum(raw, _LEAST_COUNT)  # (K,)
    means = _shrunk_means(release.block("moment") / counts[:, None], counts, release.noise["moment"])  # (K, d)
    tokens, noise = release.block("tokens"), release.noise["tokens"]
    columns = believable(tokens, noise)
    rates = shrunk_sums(tokens[:, columns], counts, noise) / counts[:, None]  # (K, G)
    lengths = release.block("length")  # (K, L)
    overall = _shares(lengths.sum(axis=0), release.noise["length"] * np.sqrt(len(counts)))
    classes = tuple(
        ClassTarget(means[k], rates[k], _class_lengths(lengths[k], overall, counts[k], release.noise["length"]))
        for k in range(len(counts))
    )
    return NoisyTarget(release.classes, counts, columns, classes, overall, noise / counts)


def believable(sums: FloatArray, noise: float) -> IntArray:
    """Columns of (K, V) sums whose total over the classes stands above the noise of that total."""
    return np.flatnonzero(sums.sum(axis=0) > _DEVIATIONS * noise * np.sqrt(len(sums)))


def shrunk_sums(sums: FloatArray, counts: FloatArray, noise: float) -> FloatArray:
    """Class sums (K, G) drawn towards what the class size alone predicts, as far as noise could explain the difference.

    The prior spread of a class around its prediction is the prediction itself (a token may be twice as frequent, or
    absent); sampling adds a quarter of it (presence values are about a half at most, squared).
    """
    expected = np.maximum(sums.sum(axis=0), 0.0) / counts.sum() * counts[:, None]  # (K, G)
    prior = expected**2 + 1e-12
    return np.maximum(expected + (sums - expected) * prior / (prior + noise**2 + 0.25 * expected), 0.05 * expected)


def exaggerated(rates: FloatArray, counts: FloatArray, believed: BoolArray | None = None) -> FloatArray:
    """Class rates (K, G) with what sets each class apart from all of them together stretched by `CONTRAST`.

    A few rows have to tell the classes apart as well as many records do; nothing but the difference is stretched.

    Args:
        rates: (K, G) per-record rates.
        counts: (K,) class sizes.
        believed: (K, G) where a difference is to be believed; None: everywhere (rates are shrunk already).
    """
    common = counts @ rates / counts.sum()  # (G,)
    stretched = np.maximum(common + CONTRAST * (rates - common), 0.0)
    return stretched if believed is None else np.where(believed, stretched, rates)


def distinct(sums: FloatArray, counts: FloatArray, noise: float) -> BoolArray:
    """Cells (K, V) of class sums whose rate differs from that of all classes by more than noise and chance explain."""
    rates = sums / counts[:, None]
    common = np.maximum(counts @ rates / counts.sum(), 0.0)  # (V,)
    # Sampling adds a quarter of the rate per record, as in `shrunk_sums`.
    deviation = np.sqrt((noise / counts[:, None]) ** 2 + 0.25 * common / counts[:, None])  # (K, V)
    return np.asarray(np.abs(rates - common) > _DEVIATIONS * deviation)


def _shrunk_means(means: FloatArray, counts: FloatArray, noise: float) -> FloatArray:
    """James-Stein: class means drawn to the common mean by the part of their distance that noise accounts for."""
    common = counts @ means / counts.sum()  # (d,)
    away = means - common  # (K, d)
    expected = means.shape[1] * (noise / counts) ** 2  # (K,)
    kept = np.clip(1 - expected / np.maximum((away**2).sum(axis=1), 1e-12), 0.0, 1.0)  # (K,)
    return common + kept[:, None] * away


def _shares(sums: FloatArray, noise: float) -> FloatArray:
    """Shares of buckets that stand above noise; uniform when none does."""
    seen = np.where(sums > 2 * noise, sums, 0.0)
    return seen / seen.sum() if seen.sum() > 0 else np.full(len(sums), 1 / len(sums))


def _class_lengths(sums: FloatArray, overall: FloatArray, count: float, noise: float) -> FloatArray:
    """Length shares of one class, drawn to those of all classes where the class is small against its noise."""
    own = _shares(sums, noise)
    trust = count**2 / (count**2 + len(sums) * (3 * noise) ** 2)
    return trust * own + (1 - trust) * overall
