"""Whether a synthetic corpus has the form it should have: no near-duplicates, preambles, cut-off texts or echoes.

It compares synthetic text with public rules and with another length histogram only; it does not know private text.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from privdistill.synthesis.form import ends_whole, has_preamble
from privdistill.synthesis.near_duplicates import near_duplicate_share

__all__ = ["FormReport", "form_of", "length_distance", "near_duplicate_share"]


@dataclass(frozen=True, slots=True)
class FormReport:
    """Shares of texts.

    Attributes:
        near_duplicates: five-word-shingle Jaccard similarity of 0.8 or more with an earlier text.
        preambles: start like an answer of a chat model.
        unfinished: no sentence mark at the end.
        echoes: repeat the description that prompted them.
        repeated_openings: share of the commonest first three words.
    """

    near_duplicates: float
    preambles: float
    unfinished: float
    echoes: float
    repeated_openings: float


def form_of(texts: Sequence[str], describe: str | None = None) -> FormReport:
    """Count what a reader would stumble over.

    Example:
        >>> form_of(["Sure, here is a review.", "Dull and slow"]).preambles
        0.5
    """
    n = max(len(texts), 1)
    openings = Counter(" ".join(text.casefold().split()[:3]) for text in texts)
    echo = describe.casefold() if describe else None
    return FormReport(
        near_duplicates=near_duplicate_share(list(texts)),
        preambles=sum(has_preamble(text) for text in texts) / n,
        unfinished=sum(not ends_whole(text) for text in texts) / n,
        echoes=sum(echo in text.casefold() for text in texts) / n if echo else 0.0,
        repeated_openings=max(openings.values(), default=0) / n,
    )


def length_distance(one: Sequence[str], other: Sequence[str], step: int = 4) -> float:
    """Total variation (0 to 1) between two histograms of lengths in words, in buckets of `step` words."""
    if not one or not other:
        return 1.0
    ours, theirs = (np.array([len(text.split()) // step for text in texts]) for texts in (one, other))
    size = int(max(ours.max(), theirs.max())) + 1
    gap = np.bincount(ours, minlength=size) / len(ours) - np.bincount(theirs, minlength=size) / len(theirs)
    return float(np.abs(gap).sum() / 2)
