"""Nearest synthetic row by spelling: candidates from shared rare character 4-grams, then alignment.

Blocking keeps the 4-grams that are rarest in the synthetic corpus, as many as a fixed number of comparisons allows;
the few best candidates of each record are aligned (normalised longest-common-subsequence similarity, on folded text).
Blocking depends on texts only, never on sides. A rewrite that keeps fewer than two rare 4-grams is not found.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from rapidfuzz import fuzz
from rapidfuzz.process import cpdist
from scipy import sparse

__all__ = ["Nearest", "Spelling", "changed_words", "nearest", "spell"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

_BITS = 22
_GRAM = 4
_COMPARISONS = 15_000_000
_CANDIDATES = 3
_CHUNK = 2_000
_WORTH = 0.6
_SHORTEST = 20


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Spelling:
    """Folded texts and the buckets of their character 4-grams, document i in `buckets[starts[i]:starts[i + 1]]`."""

    texts: list[str]
    buckets: npt.NDArray[np.int32]
    starts: IntArray


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Nearest:
    """Per record, the similarity of the closest synthetic row (0..1) and that row (0 and -1 without a candidate)."""

    similarity: FloatArray
    row: IntArray


def spell(folded: list[str]) -> Spelling:
    """Hash the character 4-grams, spaces included, of folded texts (tokens joined by one space)."""
    parts, lengths = [], [0]
    for begin in range(0, len(folded), _CHUNK):
        padded = [f" {text} " for text in folded[begin : begin + _CHUNK]]
        codes = np.frombuffer("".join(padded).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
        sizes = np.array([len(text) for text in padded], np.int64)
        hashes = codes.copy()[: max(len(codes) - _GRAM + 1, 0)]
        for shift in range(1, _GRAM):
            hashes = hashes * np.uint64(0x9E3779B97F4A7C15) + codes[shift : shift + len(hashes)]
        hashes = (hashes ^ (hashes >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9) >> np.uint64(64 - _BITS)
        room = np.repeat(np.cumsum(sizes), sizes)[: len(hashes)] - np.arange(len(hashes))
        parts.append(hashes[room >= _GRAM].astype(np.int32))
        lengths += np.maximum(sizes - _GRAM + 1, 0).tolist()
    return Spelling(
        folded, np.concatenate(parts) if parts else np.zeros(0, np.int32), np.cumsum(np.array(lengths, np.int64))
    )


def nearest(source: Spelling, synthetic: Spelling) -> Nearest:
    """Find the closest synthetic row of every record of at least twenty characters."""
    counts = np.bincount(synthetic.buckets, minlength=2**_BITS)
    weight = _weights(counts, source)
    rows = _matrix(synthetic, weight, 0, len(synthetic.texts)).T.tocsr()
    similarity = np.zeros(len(source.texts))
    row = np.full(len(source.texts), -1, np.int64)
    for begin in range(0, len(source.texts), _CHUNK):
        end = min(begin + _CHUNK, len(source.texts))
        overlap = (_matrix(source, weight, begin, end) @ rows).tocsr()
        records, candidates = _best(overlap, begin, source.texts)
        if not len(records):
            continue
        score = (
            cpdist(
                [source.texts[i] for i in records],
                [synthetic.texts[i] for i in candidates],
                scorer=fuzz.ratio,
                dtype=np.float32,
                workers=1,
            ).astype(np.float64)
            / 100
        )
        order = np.lexsort((candidates, -score, records))
        leads = order[np.concatenate([[True], np.diff(records[order]) != 0])]
        similarity[records[leads]] = score[leads]
        row[records[leads]] = candidates[leads]
    return Nearest(similarity, row)


def _weights(counts: IntArray, source: Spelling) -> npt.NDArray[np.float32]:
    """Inverse-frequency weight of each bucket; 0 for the frequent ones that the number of comparisons rules out."""
    of_source = np.bincount(source.buckets, minlength=len(counts))
    shared = (counts > 0) & (of_source > 0)
    levels = counts[shared]
    order = np.argsort(levels, kind="stable")
    spent = np.cumsum((levels * of_source[shared])[order])
    affordable = int(np.searchsorted(spent, _COMPARISONS, side="right"))
    cap = int(levels[order][affordable - 1]) if affordable else 0
    if affordable < len(levels) and affordable and levels[order][affordable] == cap:
        cap -= 1
    kept = (counts > 0) & (counts <= max(cap, 1))
    weight = np.zeros(len(counts), np.float32)
    weight[kept] = np.log((1 + counts.sum()) / counts[kept])
    return weight


def _matrix(spelling: Spelling, weight: npt.NDArray[np.float32], begin: int, end: int) -> sparse.csr_matrix:
    buckets = spelling.buckets[spelling.starts[begin] : spelling.starts[end]]
    document = np.repeat(np.arange(end - begin), np.diff(spelling.starts[begin : end + 1]))
    kept = weight[buckets] > 0
    matrix = sparse.csr_matrix(
        (np.sqrt(weight[buckets[kept]]), (document[kept], buckets[kept])), shape=(end - begin, len(weight))
    )
    matrix.sum_duplicates()
    norms = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1), np.float32).reshape(-1))
    matrix.data /= np.repeat(np.maximum(norms, np.float32(1e-9)), np.diff(matrix.indptr))
    return matrix


def _best(overlap: sparse.csr_matrix, begin: int, texts: list[str]) -> tuple[IntArray, IntArray]:
    """The best few candidates of each record, by cosine: a giant row that holds everything must not crowd them out."""
    sizes = np.diff(overlap.indptr)
    records = np.repeat(np.arange(overlap.shape[0], dtype=np.int64), sizes)
    long = np.array([len(text) >= _SHORTEST for text in texts[begin : begin + overlap.shape[0]]], np.bool_)
    best = np.zeros(overlap.shape[0], np.float32)
    best[sizes > 0] = np.maximum.reduceat(overlap.data, overlap.indptr[:-1][sizes > 0]) if len(records) else 0.0
    good = np.flatnonzero(long[records] & (overlap.data >= _WORTH * best[records]))
    records, candidates, data = records[good], overlap.indices[good].astype(np.int64), overlap.data[good]
    order = np.lexsort((candidates, -data, records))
    rank = np.arange(len(order)) - np.searchsorted(records[order], records[order], side="left")
    chosen = order[rank < _CANDIDATES]
    return records[chosen] + begin, candidates[chosen]


def changed_words(words: list[list[str]], rng: np.random.Generator, every: int = 12) -> Iterator[str]:
    """Yield near-copies: one word in `every` (at least one) replaced by a word of another text."""
    for own in words:
        mine = list(own)
        for place in rng.choice(len(mine), max(1, round(len(mine) / every)), replace=False) if mine else ():
            other = words[int(rng.integers(0, len(words)))] or mine
            mine[int(place)] = other[int(rng.integers(0, len(other)))]
        yield " ".join(mine)
