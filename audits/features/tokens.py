"""Fold texts and number their tokens.

Folding undoes what hides a copy from a plain comparison: compatibility forms (NFKC), case, accents' composition,
invisible characters, punctuation, spacing. A token is a run of letters and digits; a character of a script without
spaces (Chinese, Japanese, Korean, Thai, Lao, Khmer, Burmese) is a token by itself. It does not know sides or units.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["Tokens", "Vocabulary", "fold", "join", "tokenise"]

IntArray = npt.NDArray[np.int64]

_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
    "\U00020000-\U0003ffff"
)
_TOKEN = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff]"
)
_APOSTROPHE = re.compile("(?<=\\w)['\u2019\u02bc](?=\\w)")


def fold(text: str) -> str:
    """Return the form in which texts are compared.

    >>> fold("The  CAFE\u0301\u200b's ﬁlm")
    "the  café's film"
    """
    return unicodedata.normalize("NFKC", _INVISIBLE.sub("", unicodedata.normalize("NFKC", text)).casefold())


def tokenise(text: str) -> list[str]:
    """Return the folded tokens of a text.

    >>> tokenise("It's GREAT, isn't it? 映画")
    ['its', 'great', 'isnt', 'it', '映', '画']
    """
    return _TOKEN.findall(_APOSTROPHE.sub("", fold(text)))


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Tokens:
    """Token numbers of many documents, laid end to end; document i is `ids[starts[i]:starts[i + 1]]`."""

    ids: IntArray
    starts: IntArray

    @property
    def documents(self) -> int:
        """Number of documents."""
        return len(self.starts) - 1

    @property
    def lengths(self) -> IntArray:
        """Number of tokens of each document."""
        return np.diff(self.starts)

    @property
    def document_of(self) -> IntArray:
        """Document of each token."""
        return np.repeat(np.arange(self.documents, dtype=np.int64), self.lengths)

    def places(self, documents: IntArray) -> IntArray:
        """Return where the tokens of some documents stand, in the order asked."""
        lengths = self.lengths[documents]
        ends = np.cumsum(lengths)
        return np.asarray(
            np.repeat(self.starts[documents] - (ends - lengths), lengths) + np.arange(lengths.sum()), np.int64
        )

    def take(self, documents: IntArray) -> "Tokens":
        """Return some of the documents, in the order asked."""
        starts = np.concatenate([np.zeros(1, np.int64), np.cumsum(self.lengths[documents])])
        return Tokens(self.ids[self.places(documents)], starts)


def join(first: Tokens, second: Tokens) -> Tokens:
    """Return the documents of both, in order."""
    return Tokens(
        np.concatenate([first.ids, second.ids]), np.concatenate([first.starts, second.starts[1:] + first.starts[-1]])
    )


class Vocabulary:
    """Numbers tokens in order of first sight; the same word has the same number in every corpus of a run."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def spell(self, tokens: Tokens) -> list[str]:
        """Return each document's folded words, joined by one space."""
        words = list(self._numbers)
        ids, ends = tokens.ids.tolist(), tokens.starts.tolist()
        return [" ".join([words[i] for i in ids[begin:end]]) for begin, end in pairwise(ends)]

    def encode(self, texts: Iterable[str]) -> Tokens:
        """Number the tokens of texts."""
        numbers, ids, lengths = self._numbers, [], [0]
        for text in texts:
            words = tokenise(text)
            ids += [numbers.setdefault(word, len(numbers)) for word in words]
            lengths.append(len(words))
        return Tokens(np.array(ids, np.int64), np.cumsum(np.array(lengths, np.int64)))
