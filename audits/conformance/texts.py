"""Invented sentences of one grammar, to run checks on: no real text is needed to see whether a check is sound.

A Zipf-like vocabulary gives phantoms as real text does. It does not know what a check looks for.
"""

from functools import lru_cache

import numpy as np

__all__ = ["sentences"]

_SYLLABLES = "ba do ke li mo nu pa ra si tu ve zo chi fle gra ston ".split()
_FRAMES = (
    "the {0} {1} of {2} never {3} with the {4} {5} that {6} promised",
    "a {0} and {1} story, {2} {3} {4} until the {5} {6}",
    "i wanted to {3} this {1}, but {0} {2} made it {4}; {5} {6} helped little",
    "{2} is {0}: the {1} {3}, the {5} {4} and nobody minds {6}",
    "what a {0} {1}! {2} and {6} {3} like {4} {5} once did",
)


@lru_cache(maxsize=4)
def _words(count: int) -> tuple[str, ...]:
    rng = np.random.default_rng(7)
    return tuple("".join(rng.choice(_SYLLABLES, int(rng.integers(2, 5)))) for _ in range(count))


def sentences(count: int, seed: int, vocabulary: int = 3_000) -> list[str]:
    """Distinct template sentences over one invented vocabulary with a Zipf-like tail; disjoint for different seeds."""
    words = _words(vocabulary)
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(5, vocabulary + 5)
    reached = np.cumsum(weights / weights.sum())
    reached /= reached[-1]
    found: dict[str, None] = {}
    while len(found) < count:
        frame = _FRAMES[int(rng.integers(0, len(_FRAMES)))]
        found[frame.format(*(words[place] for place in np.searchsorted(reached, rng.random(7), side="right")))] = None
    return list(found)
