"""Lexical and positional steering: how a noised histogram bends the language model's next-token odds.

For each class, tokens whose noised rate differs from the public pool's by more than the noise explains get a bias,
the clipped log-ratio of the two. First words are drawn from the noised histogram of first words. A cell within the
noise never steers.

It does not know the model, the prompts, nor private text.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from privdistill.mechanisms.release import FloatArray

__all__ = [
    "DEVIATIONS",
    "Opening",
    "Steering",
    "corrected",
    "emphasised",
    "lexical_bias",
    "make_steering",
    "opening_shares",
]

IntArray = npt.NDArray[np.int64]

DEVIATIONS = 4.0
"""A cell steers when it is so many noise deviations from what is expected: few of 50,000 empty cells are by chance."""
_LEXICAL_LIMIT = 2.5
_TOTAL_LIMIT = 4.0
_POSITION_LIMITS = (-3.0, 4.0)
_FLOOR = 1e-3
"""Added to shares before taking ratios: no log-ratio rests on less than one text in a thousand."""

_OWN_EMPHASIS = 1.5
_WORD_EMPHASIS = 4.0
_WORDS = 40
"""Random emphasis: so many public words of about 14,000 gain so much, which brings up one or none of them in a text."""


@dataclass(frozen=True, slots=True, eq=False)
class Opening:
    """Shares of the columns that stand above noise at one position; what is left is the model's own choice.

    Attributes:
        columns: (m,) columns.
        shares: (m,) share of records of the class that have this token there; adds up to at most 1.
    """

    columns: IntArray
    shares: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Steering:
    """How one class is steered.

    Attributes:
        lexical: (V,) additive logit bias of each column.
        first: first words to draw from.
        positions: (P - 1, V) bias of the words after the first.
        indicative: columns that the class uses clearly more often than the public pool.
        telling: public words that the teacher reads as this class (see `Waves`).
    """

    lexical: FloatArray
    first: Opening
    positions: FloatArray
    indicative: IntArray
    telling: IntArray


def make_steering(
    tokens: FloatArray,
    opening: FloatArray,
    count: float,
    *,
    token_noise: float,
    opening_noise: float,
    pool_tokens: FloatArray,
    pool_opening: FloatArray,
    telling: IntArray,
) -> Steering:
    """Steering of one class.

    Args:
        tokens: (V,) noised sums of unit-norm presence.
        opening: (P, V) noised counts of tokens at the first positions.
        count: noised class size.
        token_noise: noise deviation of a token cell.
        opening_noise: noise deviation of an opening cell.
        pool_tokens: (V,) mean unit-norm presence in the public pool.
        pool_opening: (P, V) shares in the public pool.
        telling: public words that the teacher reads as this class.
    """
    lexical = lexical_bias(tokens, count, token_noise, pool_tokens)
    positions = np.zeros((max(len(opening) - 1, 0), tokens.size))  # (P - 1, V)
    for row, (sums, usual) in enumerate(zip(opening[1:], pool_opening[1:], strict=True)):
        seen = opening_shares(sums, count, opening_noise)
        positions[row, seen.columns] = np.log((seen.shares + _FLOOR) / (usual[seen.columns] + _FLOOR))
        # What the pool does clearly more often than the class is held back.
        least = DEVIATIONS * opening_noise / count
        missing = np.setdiff1d(np.flatnonzero(usual > least + 2 * _FLOOR), seen.columns)
        held = np.maximum(sums[missing], opening_noise) / count
        positions[row, missing] = np.minimum(np.log((held + _FLOOR) / (usual[missing] + _FLOOR)), 0.0)
    positions = np.clip(positions, *_POSITION_LIMITS)
    first = (
        opening_shares(opening[0], count, opening_noise)
        if len(opening)
        else Opening(np.zeros(0, np.int64), np.zeros(0))
    )
    return Steering(lexical, first, positions, np.flatnonzero(lexical > 0.5), telling)


def corrected(before: Steering, again: Steering) -> Steering:
    """Steering after a wave: half of what is still missing is added; positions and first words are taken anew."""
    lexical = np.clip(before.lexical + 0.5 * again.lexical, -_TOTAL_LIMIT, _TOTAL_LIMIT)
    return Steering(lexical, again.first, again.positions, before.indicative, before.telling)


def lexical_bias(sums: FloatArray, count: float, noise: float, usual: FloatArray) -> FloatArray:
    """Clipped log-ratio of noised to usual presence where they differ by more than noise; 0 elsewhere. Shape (V,)."""
    expected = usual * count
    differs = np.abs(sums - expected) > DEVIATIONS * noise
    ratio = np.log((np.maximum(sums, noise) + 0.5) / (expected + 0.5))
    return np.where(differs, np.clip(ratio, -_LEXICAL_LIMIT, _LEXICAL_LIMIT), 0.0)


def opening_shares(sums: FloatArray, count: float, noise: float) -> Opening:
    """Columns above noise and their shares of the class, scaled down when they add up to more than all."""
    columns = np.flatnonzero(sums > DEVIATIONS * noise)
    shares = sums[columns] / count
    return Opening(columns, shares / max(1.0, float(shares.sum())))


def emphasised(
    steering: Steering, vocabularies: Sequence[IntArray], rng: np.random.Generator, rows: int
) -> npt.NDArray[np.float32]:
    """Rows of lexical bias, each with its own random emphasis, so that candidates spread over words and topics.

    Every row favours some indicative words of the class and a handful of random words of each vocabulary and of the
    class's telling words: rare words that no noised count can show, but that a reader of the moments understands.

    Returns:
        (rows, V) additive bias.
    """
    bias = np.repeat(steering.lexical[None].astype(np.float32), rows, axis=0)  # (rows, V)
    own, usable = steering.indicative, [words for words in (*vocabularies, steering.telling) if words.size]
    for row in bias:
        if own.size:
            row[rng.choice(own, min(own.size, max(4, own.size // 10)), replace=False)] += _OWN_EMPHASIS
        for words in usable:
            size = min(words.size, _WORDS // len(usable))
            row[rng.choice(words, size, replace=False)] += _WORD_EMPHASIS
    return bias
