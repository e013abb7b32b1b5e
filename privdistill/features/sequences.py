"""One record as one sequence: a public prompt for its class, its own tokens, an end.

Nothing is packed: a sequence holds one record, and which wording of the prompt it gets is a function of its text. It
does not know the model, losses, or which texts are private.
"""

import zlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["TokenSequence", "token_sequence"]

IntArray = npt.NDArray[np.int64]


class TokenSequence(NamedTuple):
    """What the model reads and what it ought to say next.

    Attributes:
        ids: (p + T - 1,) prompt and tokens, without the last target.
        start: first position that predicts a target, p - 1.
        targets: (T,) the record's tokens and, unless it was cut, the end token.
    """

    ids: IntArray
    start: int
    targets: IntArray


def token_sequence(
    text: str, tokens: IntArray, *, cut: bool, wordings: Sequence[Sequence[int]], end: int, max_tokens: int
) -> TokenSequence | None:
    """The sequence of one record, from that record alone; None when there is nothing to predict.

    Args:
        text: decides the wording of the prompt.
        tokens: its token ids.
        cut: whether they were cut at a public limit already.
        wordings: token ids of the prompts of its class, none of them empty.
        end: what ends a record.
        max_tokens: public limit; longer records are cut and have no end.
    """
    if not tokens.size:
        return None
    prompt = np.asarray(wordings[zlib.crc32(text.encode()) % len(wordings)], dtype=np.int64)  # (p,)
    whole = not cut and tokens.size < max_tokens
    targets = np.append(tokens, end) if whole else tokens[:max_tokens]  # (T,)
    return TokenSequence(np.concatenate([prompt, targets[:-1]]), prompt.size - 1, targets)
