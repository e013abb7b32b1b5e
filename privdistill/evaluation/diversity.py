"""How varied the texts of a corpus are: distinct n-grams, self-BLEU, Vendi score.

Distinct shares fall with the number of words, so they are taken over random sets of texts of one fixed number of words.
Self-BLEU is exact: every other text is a reference. It does not know which corpus is synthetic.
"""

import math
import re
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from audits.findings import Estimate
from privdistill.evaluation.intervals import seen_on_none

__all__ = ["distinct", "self_bleu", "vendi", "words_of"]

_WORD = re.compile(r"\w+|[^\w\s]")
_ORDERS = (1, 2, 3, 4)
_SETS = 24
_LEAST = 0.1
"""Matches that an order without any counts for (smoothing by epsilon, Chen and Cherry 2014, method 1)."""


def words_of(text: str) -> list[str]:
    """Case-folded words and marks."""
    return _WORD.findall(text.casefold())


def distinct(texts: Sequence[str], order: int, words: int, rng: np.random.Generator) -> Estimate | None:
    """Distinct n-grams over all n-grams in random sets of texts of about `words` words.

    The interval holds 95 % of the sets: it says how much the choice of texts matters, not how sure a population's value
    would be. Sets that are most of the corpus are all alike and would say nothing of it, so the answer is None where a
    set would be more than half of the words.
    """
    rows = [words_of(text) for text in texts]
    if words < order or sum(map(len, rows)) < 2 * words:
        return None
    shares = []
    for _ in range(_SETS):
        found: set[tuple[str, ...]] = set()
        total = taken = 0
        for i in rng.permutation(len(rows)):
            row = rows[i][: words - taken]
            taken += len(row)
            grams = [tuple(row[j : j + order]) for j in range(len(row) - order + 1)]
            found.update(grams)
            total += len(grams)
            if taken >= words:
                break
        shares.append(len(found) / max(total, 1))
    low, high = np.quantile(shares, (0.025, 0.975))
    method = f"mean and 95 % spread over {_SETS} random sets of {words} words"
    return Estimate(value=float(np.mean(shares)), low=float(low), high=float(high), n=len(texts), method=method)


def self_bleu(texts: Sequence[str]) -> Estimate | None:
    """Mean BLEU-4 of each text against all others: 0 all different, 1 all alike; None for fewer than two texts.

    An n-gram of a text is matched up to the most often that any one other text holds it. Two holders are remembered for
    each n-gram, so the whole takes one pass instead of comparing all pairs. A text of fewer than four words is scored
    up to its own length.
    """
    rows = [words_of(text) or [""] for text in texts]
    if len(rows) < 2:
        return None
    counted = [[_grams(row, order) for row in rows] for order in _ORDERS]
    best: list[dict[tuple[str, ...], list[tuple[int, int]]]] = []
    for grams in counted:
        top: dict[tuple[str, ...], list[tuple[int, int]]] = defaultdict(list)
        for i, counts in enumerate(grams):
            for gram, n in counts.items():
                held = top[gram]
                held.append((n, i))
                if len(held) > 2:
                    held.remove(min(held))
        best.append(top)
    lengths = sorted(len(row) for row in rows)
    scores = []
    for i, row in enumerate(rows):
        logs = []
        for order, grams, top in zip(_ORDERS, counted, best, strict=True):
            total = len(row) - order + 1
            if total < 1:
                break
            hits = sum(min(n, max((m for m, j in top[gram] if j != i), default=0)) for gram, n in grams[i].items())
            logs.append(math.log((hits or _LEAST) / total))
        shortfall = min(0.0, 1 - _closest(lengths, len(row)) / len(row))
        scores.append(min(1.0, math.exp(sum(logs) / len(logs) + shortfall)))
    half = 1.959963984540054 * float(np.std(scores, ddof=1)) / math.sqrt(len(scores))
    value, method = float(np.mean(scores)), "normal 95 % over texts, as if their scores were independent"
    if half < 1e-12:
        half, method = seen_on_none(len(scores)), "Wilson 95 %, texts: all scores agree"
    return Estimate(
        value=value,
        low=max(0.0, value - half),
        high=min(1.0, value + half),
        n=len(scores),
        method=method,
    )


def vendi(points: npt.ArrayLike) -> float:
    """Effective number of different unit vectors: exponential of the entropy of their similarity's eigenvalues.

    Example:
        >>> round(vendi([[1.0, 0.0], [0.0, 1.0]]), 3)
        2.0
    """
    given = np.asarray(points, dtype=np.float64)
    norms = np.maximum(np.linalg.norm(given, axis=1, keepdims=True), 1e-12)
    values = np.linalg.eigvalsh((given / norms).T @ (given / norms) / len(given))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


def _grams(row: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(row[i : i + order]) for i in range(len(row) - order + 1))


def _closest(lengths: list[int], own: int) -> int:
    """Length of another text nearest to one's own (the shorter of two); the own length stands once in the list."""
    at = bisect_left(lengths, own)
    if at + 1 < len(lengths) and lengths[at + 1] == own:
        return own
    others = [lengths[i] for i in (at - 1, at + 1) if 0 <= i < len(lengths)]
    return min(others, key=lambda length: (abs(length - own), length))
