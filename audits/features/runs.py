"""Longest shared runs: what of each record stands word for word in the synthetic corpus.

For a ladder of lengths, every run of a record is looked up among the runs of the synthetic rows; a record's score is
the surprisal of its dearest shared run. Also whole-record equality after folding. It does not know sides.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.features.ngrams import document_hashes, hash_ladder, matches
from audits.features.tokens import Tokens

__all__ = ["SharedRuns", "shared_runs"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

LADDER = (4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 40, 50)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class SharedRuns:
    """Per record of the source.

    Attributes:
        bits: surprisal of the dearest shared run; 0 when no run of four tokens is shared.
        length: tokens of the longest shared run, to the step of the ladder below.
        equal: the whole record, folded, is a whole synthetic row.
        row: a synthetic document that holds the dearest run (or equals the record); -1 for none.
        offset: tokens of that document before the run.
        matched: tokens of that run.
        self_bits: surprisal of the whole record: what a full copy would score.
    """

    bits: FloatArray
    length: IntArray
    equal: BoolArray
    row: IntArray
    offset: IntArray
    matched: IntArray
    self_bits: FloatArray


def shared_runs(source: Tokens, synthetic: Tokens, surprisal: FloatArray) -> SharedRuns:
    """Compare every record with the whole synthetic corpus; `surprisal` is in bits, per source token."""
    count = source.documents
    total = np.concatenate([np.zeros(1), np.cumsum(surprisal)])
    bits, length, row = np.zeros(count), np.zeros(count, np.int64), np.full(count, -1, np.int64)
    offset, matched = np.zeros(count, np.int64), np.zeros(count, np.int64)
    document_of, synthetic_document = source.document_of, synthetic.document_of
    alive = np.ones(len(source.ids), np.bool_)
    for ours, theirs in zip(hash_ladder(source, LADDER), hash_ladder(synthetic, LADDER), strict=False):
        candidates = alive[ours.places]
        hit, first = matches(ours.hashes[candidates], theirs.hashes)
        places = ours.places[candidates][hit]
        alive[:] = False
        alive[places] = True
        if not len(places):
            break
        worth = total[places + ours.n] - total[places]
        documents = document_of[places]
        order = np.lexsort((places, -worth, documents))
        leads = order[np.concatenate([[True], np.diff(documents[order]) != 0])]
        held = documents[leads]
        length[held] = ours.n
        better = worth[leads] > bits[held]
        bits[held[better]] = worth[leads][better]
        found = theirs.places[first[leads[better]]]
        row[held[better]] = synthetic_document[found]
        offset[held[better]] = found - synthetic.starts[synthetic_document[found]]
        matched[held[better]] = ours.n
    equal, where = _equal(source, synthetic)
    row = np.where(equal, where, row)
    offset, matched = np.where(equal, 0, offset), np.where(equal, source.lengths, matched)
    return SharedRuns(bits, length, equal, row, offset, matched, total[source.starts[1:]] - total[source.starts[:-1]])


def _equal(source: Tokens, synthetic: Tokens) -> tuple[BoolArray, IntArray]:
    hit, first = matches(document_hashes(source), document_hashes(synthetic))
    row = np.full(source.documents, -1, np.int64)
    row[hit] = first
    row[source.lengths == 0] = -1
    return row >= 0, row
