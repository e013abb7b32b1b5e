"""Static embeddings: an encoder that no recipe matches, made of a language model's input table and nothing else.

A text is the mean of its distinct tokens' rows in the table, each weighted by how rare the token is (a / (a + p), with
p from Zipf's law over token ids, which byte-pair merges order by frequency), centred by the table's own mean and scaled
to unit norm. No layer of the model is run, so it sees bags of tokens only. Where the run used the same language model,
it sampled from it but never embedded with it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from privdistill.errors import AssetError
from privdistill.features.encoded import TokenModel

__all__ = ["StaticEncoder"]

Embeddings = npt.NDArray[np.float32]

_NAMES = ("model.embed_tokens.weight", "transformer.wte.weight", "gpt_neox.embed_in.weight")
_RARE = 1e-3


class StaticEncoder:
    """Weighted means of rows of an embedding table."""

    def __init__(self, table: Embeddings, tokenizer: TokenModel) -> None:
        """Centre and weigh the rows.

        Args:
            table: (V, D), one row a token id.
            tokenizer: splits texts into those ids.
        """
        rank = np.arange(1, len(table) + 1, dtype=np.float64)
        share = 1 / rank / np.log(len(table) + 1)  # (V,)
        self._table = (table - table.mean(axis=0)) * (_RARE / (_RARE + share))[:, None]  # (V, D)
        self._tokenizer = tokenizer
        self.width = int(table.shape[1])

    @classmethod
    def load(cls, folder: Path, tokenizer: TokenModel) -> "StaticEncoder":
        """Read the input embeddings out of a folder of safetensors.

        Raises:
            AssetError: there is no table under a known name.
        """
        from safetensors import safe_open

        for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else []:
            with safe_open(file, framework="pt") as tensors:
                for name in _NAMES:
                    if name in tensors.keys():
                        return cls(tensors.get_tensor(name).float().numpy(), tokenizer)
        raise AssetError(f"{folder.name} holds no input embeddings under a known name; leave the student `static` out")

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Embeddings of shape (n, D); a text without tokens is 0."""
        out = np.zeros((len(texts), self.width), dtype=np.float32)
        for row, ids in zip(out, self._tokenizer.ids(texts), strict=True):
            known = sorted({i for i in ids if i < len(self._table)})
            if known:
                mean = self._table[known].sum(axis=0)
                row[:] = mean / max(float(np.linalg.norm(mean)), 1e-12)
        return out
