"""Hashes of token n-grams and how many units share each.

An n-gram is a 64-bit polynomial of well-mixed token numbers (collisions among 10^7 n-grams: about 3 in a million runs).
N-grams never cross the end of a document. It does not know sides.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.features.tokens import Tokens

__all__ = ["NgramIndex", "Ngrams", "document_hashes", "hash_ladder", "index_units", "matches", "ngrams"]

HashArray = npt.NDArray[np.uint64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_BASE = np.uint64(0x9E3779B97F4A7C15)
_BUCKET_BITS = 24


def _mix(ids: IntArray) -> HashArray:
    z = (ids.astype(np.uint64) + np.uint64(1)) * _BASE
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Ngrams:
    """The n-grams of one order: hash and place of the first token of each, by ascending place."""

    n: int
    hashes: HashArray
    places: IntArray


def hash_ladder(tokens: Tokens, orders: tuple[int, ...]) -> Iterator[Ngrams]:
    """Yield the n-grams of each order, ascending; one pass over the tokens for all of them."""
    mixed = _mix(tokens.ids)
    room = np.repeat(tokens.starts[1:], tokens.lengths) - np.arange(len(mixed))
    places = np.arange(len(mixed), dtype=np.int64)
    hashes = mixed.copy()
    wanted = set(orders)
    for n in range(1, max(orders) + 1):
        if n > 1:
            keep = room[places] >= n
            places = places[keep]
            hashes = hashes[keep] * _BASE + mixed[places + n - 1]
        if n in wanted:
            yield Ngrams(n, hashes, places)


def ngrams(tokens: Tokens, n: int) -> Ngrams:
    """Return the n-grams of one order."""
    return next(hash_ladder(tokens, (n,)))


def document_hashes(tokens: Tokens) -> HashArray:
    """Return one hash per document: equal for equal token sequences; 0 for a document without tokens."""
    mixed = _mix(tokens.ids)
    place = np.arange(len(mixed)) - np.repeat(tokens.starts[:-1], tokens.lengths)
    salted = _mix((mixed * _BASE + _mix(place + 2**40)).view(np.int64))
    summed = np.concatenate([np.zeros(1, np.uint64), np.cumsum(salted, dtype=np.uint64)])
    return np.asarray(summed[tokens.starts[1:]] - summed[tokens.starts[:-1]], np.uint64)


def matches(ours: HashArray, theirs: HashArray) -> tuple[IntArray, IntArray]:
    """Return the positions in `ours` whose hash occurs in `theirs`, and the first position in `theirs` of each."""
    here = _possible(theirs, ours)
    there = _possible(ours[here], theirs)
    if not len(there):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    unique, first = np.unique(theirs[there], return_index=True)
    spot = np.minimum(np.searchsorted(unique, ours[here]), len(unique) - 1)
    hit = unique[spot] == ours[here]
    return here[hit], there[first[spot[hit]]]


def _possible(known: HashArray, asked: HashArray) -> IntArray:
    """Positions in `asked` that may occur in `known`: right but for one in ten or so, and much faster than sorting."""
    seen = np.zeros(2**_BUCKET_BITS, np.bool_)
    shift = np.uint64(64 - _BUCKET_BITS)
    seen[_BASE * known >> shift] = True
    return np.flatnonzero(seen[_BASE * asked >> shift])


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class NgramIndex:
    """Unit frequency of every n-gram of a corpus.

    Attributes:
        n: order.
        unique: distinct hashes, ascending.
        inverse: for each token place, the position of the n-gram starting there in `unique`; -1 where none starts.
        units: for each of `unique`, in how many distinct units it occurs.
    """

    n: int
    unique: HashArray
    inverse: IntArray
    units: IntArray

    def counts(self, hashes: HashArray) -> IntArray:
        """Return how often each of `unique` occurs among some hashes."""
        total = np.zeros(max(len(self.unique), 1), np.int64)
        if len(self.unique):
            asked = hashes[_possible(self.unique, hashes)]
            found = np.minimum(np.searchsorted(self.unique, asked), len(self.unique) - 1)
            total += np.bincount(found[self.unique[found] == asked], minlength=len(total))
        return total


def index_units(tokens: Tokens, unit_of: IntArray, n: int) -> NgramIndex:
    """Count in how many units each n-gram occurs.

    Args:
        tokens: documents, those of one unit adjacent.
        unit_of: ascending unit of each document.
        n: order.
    """
    grams = ngrams(tokens, n)
    owner = np.repeat(unit_of, tokens.lengths)[grams.places]
    order = np.argsort(grams.hashes, kind="stable")
    ordered = grams.hashes[order]
    new = np.ones(len(order), np.bool_)
    new[1:] = ordered[1:] != ordered[:-1]
    group = np.cumsum(new) - 1
    first = new.copy()
    first[1:] |= np.diff(owner[order]) != 0
    units = np.bincount(group[first], minlength=int(new.sum()))
    places = np.full(len(tokens.ids), -1, np.int64)
    places[grams.places[order]] = group
    return NgramIndex(n, ordered[new], places, units)
