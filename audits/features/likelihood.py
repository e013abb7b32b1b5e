"""How much better a text is predicted by the synthetic corpus than by everybody else's texts.

An interpolated trigram model is counted on the synthetic rows; the reference is the surprisal of `rarity` (union of
both sides, the unit itself left out). A record's score is the sum of log-ratio bits over the root of its length. It
does not know sides.
"""

import numpy as np
import numpy.typing as npt

from audits.features.ngrams import NgramIndex, ngrams
from audits.features.rarity import Rarity
from audits.features.tokens import Tokens

__all__ = ["likelihood_ratio"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_WEIGHTS = (0.15, 0.3, 0.55)


def likelihood_ratio(source: Tokens, synthetic: Tokens, rare: Rarity) -> FloatArray:
    """Return the score of every source record: positive when the synthetic corpus predicts it better."""
    length = len(source.ids)
    position = np.arange(length) - np.repeat(source.starts[:-1], source.lengths)
    one, two, three = (index.counts(ngrams(synthetic, index.n).hashes) for index in rare.orders)
    index_one, index_two, index_three = rare.orders
    total = len(synthetic.ids)
    share = _WEIGHTS[0] * (_at(index_one, one, length, 0) + 0.5) / (total + 0.5 * max(len(index_one.unique), 1))
    before = _at(index_one, one, length, 1)
    pair = _at(index_two, two, length, 1)
    share += _WEIGHTS[1] * np.where((position >= 1) & (before > 0), pair / np.maximum(before, 1), 0.0)
    pair_before = _at(index_two, two, length, 2)
    triple = _at(index_three, three, length, 2)
    share += _WEIGHTS[2] * np.where((position >= 2) & (pair_before > 0), triple / np.maximum(pair_before, 1), 0.0)
    ratio = np.log2(np.minimum(share, 1.0)) + rare.bits
    summed = np.concatenate([np.zeros(1), np.cumsum(ratio)])
    return np.asarray(
        (summed[source.starts[1:]] - summed[source.starts[:-1]]) / np.sqrt(np.maximum(source.lengths, 1)), np.float64
    )


def _at(index: NgramIndex, counts: IntArray, length: int, back: int) -> FloatArray:
    inside = np.full(length, -1, np.int64)
    inside[back:] = index.inverse[: length - back]
    return np.where(inside >= 0, counts[np.maximum(inside, 0)], 0).astype(np.float64)
