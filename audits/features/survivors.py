"""Rare n-grams that survive: which units own an n-gram that few others have and that stands in the synthetic corpus.

Rare is counted in units of the source, both sides together, so it cannot depend on the sides; what a public reference
says too is not rare. It does not know sides.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.features.ngrams import hash_ladder, matches
from audits.features.tokens import Tokens

__all__ = ["Survivors", "surviving"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Survivors:
    """Flags of every unit, and the unit frequencies of what survived.

    Attributes:
        flags: (units, orders x frequencies), orders outermost.
        row: per unit, a synthetic document that holds one of its survivors (of the longest order), or -1.
        offset: tokens of that document before the survivor.
        matched: tokens of that survivor.
        behind: unit frequency of each distinct surviving n-gram of the longest order.
    """

    flags: BoolArray
    row: IntArray
    offset: IntArray
    matched: IntArray
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
    row, offset, matched = np.full(units, -1, np.int64), np.zeros(units, np.int64), np.zeros(units, np.int64)
    behind = np.zeros(0, np.int64)
    owner, document = np.repeat(unit_of, source.lengths), synthetic.document_of
    public = hash_ladder(reference, orders) if reference is not None else (None for _ in orders)
    for number, (ours, theirs, known) in enumerate(
        zip(hash_ladder(source, orders), hash_ladder(synthetic, orders), public, strict=True)
    ):
        shared, first = matches(ours.hashes, theirs.hashes)
        if known is not None:
            private = np.isin(ours.hashes[shared], known.hashes, invert=True)
            shared, first = shared[private], first[private]
        hashes, held, place = ours.hashes[shared], owner[ours.places[shared]], theirs.places[first]
        order = np.lexsort((held, hashes))
        new = np.ones(len(order), np.bool_)
        new[1:] = np.diff(hashes[order]) != 0
        group = np.cumsum(new) - 1
        pair = new.copy()
        pair[1:] |= np.diff(held[order]) != 0
        behind = np.bincount(group[pair], minlength=int(new.sum()))
        frequency = behind[group]
        for step, most in enumerate(frequencies):
            flags[held[order][frequency <= most], number * len(frequencies) + step] = True
        rare = order[frequency <= frequencies[-1]]
        row[held[rare]] = document[place[rare]]
        offset[held[rare]] = place[rare] - synthetic.starts[document[place[rare]]]
        matched[held[rare]] = ours.n
    return Survivors(flags, row, offset, matched, behind)
