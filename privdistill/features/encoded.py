"""Public maps from one text to numbers: sentence embedding, token ids.

Fixed before anything private is read, and the same code for private and synthetic text. Each result is bitwise a
function of its own text: never of its batch, its position or the number of texts (`models.encoder` pads to a public
grid by the record's own length; tests insert, shuffle and resize batches and require bit equality). Texts are read up
to a public number of tokens.

It does not know which texts are private, nor what the numbers are used for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

__all__ = ["Encoded", "SentenceModel", "TextEncoder", "TokenModel", "read_tokens"]

_CHARACTERS_PER_TOKEN = 32
"""A text is cut to max_tokens times so many characters before it is tokenised: a public bound on work per record."""


class SentenceModel(Protocol):
    """Embeds texts, each independently of the others (see `models.encoder`)."""

    @property
    def width(self) -> int:
        """Dimension D of an embedding."""

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Embeddings of shape (n, D)."""


class TokenModel(Protocol):
    """Splits texts into token ids, each independently of the others."""

    @property
    def size(self) -> int:
        """Number of token ids V."""

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Encoded:
    """Texts as numbers.

    Attributes:
        embeddings: (n, D) float32; non-finite values are already 0.
        tokens: n arrays of token ids, cut to the public limit.
        truncated: (n,) whether the text was longer than the public limit.
    """

    embeddings: npt.NDArray[np.float32]
    tokens: tuple[npt.NDArray[np.int64], ...]
    truncated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        """Number of texts."""
        return len(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class TextEncoder:
    """A sentence model and a token model behind one public token limit."""

    sentences: SentenceModel
    tokenizer: TokenModel
    max_tokens: int

    @property
    def width(self) -> int:
        """Embedding dimension D."""
        return self.sentences.width

    @property
    def vocabulary_size(self) -> int:
        """Number of token ids V."""
        return self.tokenizer.size

    def encode(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> Encoded:
        """Embed and tokenise, text by text.

        Returns:
            Embeddings (n, D) and token ids, cut to `max_tokens`.
        """
        cut = [text[: self.max_tokens * _CHARACTERS_PER_TOKEN] for text in texts]
        embeddings = np.nan_to_num(self.sentences.embed(cut, progress), nan=0.0, posinf=0.0, neginf=0.0)  # (n, D)
        return Encoded(embeddings, *read_tokens(texts, self.tokenizer, self.max_tokens))


def read_tokens(
    texts: Sequence[str], tokenizer: TokenModel, max_tokens: int
) -> tuple[tuple[npt.NDArray[np.int64], ...], npt.NDArray[np.bool_]]:
    """Token ids of each text, cut to `max_tokens`, and whether the text was longer, (n,)."""
    limit = max_tokens * _CHARACTERS_PER_TOKEN
    ids = tokenizer.ids([text[:limit] for text in texts]) if texts else []
    tokens = tuple(np.asarray(one[:max_tokens], dtype=np.int64) for one in ids)
    over = [len(text) > limit or len(one) > max_tokens for text, one in zip(texts, ids, strict=True)]
    return tokens, np.array(over, dtype=bool)
