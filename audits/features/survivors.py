"""Rare n-grams that survive: which units own an n-gram that few others have and that stands in the synthetic corpus.

Rare is counted in units of the source, both sides together, so it cannot depend on the sides; what a public reference
says too is not rare. It does not know sides.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.features.ngrams import hash_ladder
from audits.features.tokens import Tokens

__all__ = ["Survivors", "surviving"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
HashArray = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Survivors:
    """Flags of every unit, and the unit frequencies of what survived.

    Attributes:
        flags: (units, orders x frequencies), orders outermost.
        row: per unit, a synthetic document that holds one of its survivors, or -1.
        behind: unit frequency of each distinct surviving n-gram of the longest order.
    """

    flags: BoolArray
    row: IntArray
    behind: IntArray


def surviving(
    source: Tokens,
    unit_of: IntArray,
    synthetic: Tokens,
    reference: Tokens | None,
    orders: tuple[int, ...],
    frequencies: tuple[int, ...],
) -> Survivors:
    """Flag units by the rare n-grams of theirs that stand in the synthetic corpus.

    Args:
        source: records of both sides, those of one unit adjacent.
        unit_of: ascending unit of each record.
        synthetic: distinct synthetic texts.
        reference: public texts, or None.
        orders: lengths in tokens, ascending.
        frequencies: an n-gram counts when at most so many units have it; ascending.
    """
    units = int(unit_of[-1]) + 1
    flags = np.zeros((units, len(orders) * len(frequencies)), np.bool_)
    row = np.full(units, -1, np.int64)
    behind = np.zeros(0, np.int64)
    owner, document = np.repeat(unit_of, source.lengths), synthetic.document_of
    public = (
        [g.hashes for g in hash_ladder(reference, orders)]
        if reference is not None
        else [np.zeros(0, np.uint64)] * len(orders)
    )
    ladders = zip(hash_ladder(source, orders), hash_ladder(synthetic, orders), public, strict=True)
    for number, (ours, theirs, known) in enumerate(ladders):
        unique, first = np.unique(theirs.hashes, return_index=True)
        shared = np.isin(ours.hashes, unique) & ~np.isin(ours.hashes, known)
        pairs = np.unique(np.stack([ours.hashes[shared], owner[ours.places[shared]].astype(np.uint64)]), axis=1)
        grams, place, behind = np.unique(pairs[0], return_inverse=True, return_counts=True)
        frequency = behind[place.reshape(-1)]
        held = pairs[1].astype(np.int64)
        for step, most in enumerate(frequencies):
            flags[held[frequency <= most], number * len(frequencies) + step] = True
        rare = frequency <= frequencies[-1]
        if len(grams):
            row[held[rare]] = document[theirs.places[first[np.searchsorted(unique, pairs[0][rare])]]]
    return Survivors(flags, row, behind)
