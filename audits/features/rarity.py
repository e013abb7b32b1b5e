"""How surprising each token of a unit is to everybody else's texts.

Surprisal in bits under an interpolated trigram model of unit frequencies, with the unit itself left out: a phrase that
other units (or a public reference) also use is cheap, a private one is dear. Leaving out is the same for both sides, so
sides stay exchangeable. It does not know the synthetic corpus.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.features.ngrams import NgramIndex, index_units
from audits.features.tokens import Tokens, join

__all__ = ["Rarity", "rarity"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_WEIGHTS = (0.15, 0.3, 0.55)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Rarity:
    """Surprisal of each source token, and the n-gram indexes behind it (orders 1, 2, 3)."""

    bits: FloatArray
    orders: tuple[NgramIndex, NgramIndex, NgramIndex]


def rarity(source: Tokens, unit_of: IntArray, reference: Tokens | None) -> Rarity:
    """Compute the surprisal of every token of the source.

    Args:
        source: records of both sides, those of one unit adjacent.
        unit_of: ascending unit of each record.
        reference: public texts that count as further units, or None.
    """
    tokens, owners = source, unit_of
    if reference is not None:
        tokens = join(source, reference)
        base = int(unit_of[-1]) + 1
        owners = np.concatenate([unit_of, base + np.arange(reference.documents, dtype=np.int64)])
    one, two, three = (index_units(tokens, owners, n) for n in (1, 2, 3))
    length = len(source.ids)
    position = np.arange(length) - np.repeat(source.starts[:-1], source.lengths)
    others = _others(one, length, 0)
    mass = float(one.units.sum()) + 0.5 * len(one.units)
    share = _WEIGHTS[0] * (others + 0.5) / mass
    before = _others(one, length, 1)
    pair = _others(two, length, 1)
    share += _WEIGHTS[1] * np.where(position >= 1, pair / np.maximum(before, 1.0), 0.0)
    pair_before = _others(two, length, 2)
    triple = _others(three, length, 2)
    share += _WEIGHTS[2] * np.where(position >= 2, triple / np.maximum(pair_before, 1.0), 0.0)
    return Rarity(-np.log2(np.minimum(share, 1.0)), (one, two, three))


def _others(index: NgramIndex, length: int, back: int) -> FloatArray:
    """Units, other than its own, that hold the n-gram starting `back` tokens earlier."""
    inside = np.full(length, -1, np.int64)
    inside[back:] = index.inverse[: length - back]
    return np.where(inside >= 0, np.maximum(index.units[np.maximum(inside, 0)] - 1, 0), 0).astype(np.float64)
