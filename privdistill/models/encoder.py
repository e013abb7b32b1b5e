"""A BERT-like sentence encoder whose output for a text is bitwise a function of that text alone.

Matrix kernels may round differently for other shapes, so shapes are made public constants: each text is padded to a
grid by its own length, and every batch has exactly `ROWS` rows (filled up with empty ones), so that a text meets the
same kernel whatever its batch mates. A test shuffles, inserts and resizes batches and requires bit equality.

It loads safetensors from a local folder only, never pickles, never remote code. It does not know which texts are
private.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from privdistill.errors import AssetError

__all__ = ["ROWS", "SentenceEncoder", "bfloat16_is_fast"]

ROWS = 32
_GRID = 16


def bfloat16_is_fast() -> bool:
    """Whether this processor multiplies bfloat16 matrices natively (avx512_bf16 or amx), so that bf16 pays."""
    if torch.cuda.is_available():
        return torch.cuda.is_bf16_supported()
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags


class SentenceEncoder:
    """Mean-pooled, unit-norm sentence embeddings."""

    def __init__(self, folder: Path, *, model_id: str, dtype: str = "auto", max_tokens: int = 256) -> None:
        """Load from a local folder.

        Args:
            folder: config, tokenizer and safetensors weights.
            model_id: what the claim prints.
            dtype: `auto`, `bfloat16` or `float32`; fixed for the life of the encoder.
            max_tokens: public limit; longer texts are cut.

        Raises:
            AssetError: the folder holds no model that can be read without executing foreign code.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from transformers import AutoModel, AutoTokenizer
        from transformers.utils import logging

        logging.disable_progress_bar()
        kind = torch.bfloat16 if dtype == "bfloat16" or (dtype == "auto" and bfloat16_is_fast()) else torch.float32
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=kind)
        except (OSError, ValueError) as error:
            raise AssetError(
                f"{model_id} cannot be loaded as a sentence encoder ({type(error).__name__}); expected a folder with "
                "config.json, a tokenizer and safetensors weights"
            ) from None
        self._model = model.eval()
        limit = getattr(model.config, "max_position_embeddings", max_tokens)
        self._limit = min(max_tokens, limit) // _GRID * _GRID
        self.id = model_id
        self.width = int(model.config.hidden_size)
        self._pad = int(self._tokenizer.pad_token_id or 0)

    @property
    def network(self) -> Any:
        """The transformers model; frozen."""
        return self._model

    def piece_ids(self, pieces: Sequence[str]) -> tuple[list[list[int]], list[int], list[int]]:
        """Token ids of pieces of text without unknown ones, and the ids that stand before and after every text."""
        read = self._tokenizer(list(pieces), add_special_tokens=False)["input_ids"]
        unknown = self._tokenizer.unk_token_id
        known: list[int] = next((one for one in read if one and unknown not in one), [])
        text = self._tokenizer.decode(known)
        bare, whole = (self._tokenizer(text, add_special_tokens=special)["input_ids"] for special in (False, True))
        start = next(i for i in range(len(whole) + 1) if whole[i : i + len(bare)] == bare)
        return [[] if unknown in one else one for one in read], whole[:start], whole[start + len(bare) :]

    def embed(
        self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None
    ) -> npt.NDArray[np.float32]:
        """Embeddings of shape (n, D), each bitwise independent of the other texts."""
        out = np.zeros((len(texts), self.width), dtype=np.float32)
        if not texts:
            return out
        ids = self._tokenizer(list(texts), truncation=True, max_length=self._limit)["input_ids"]
        groups: dict[int, list[int]] = {}
        for i, one in enumerate(ids):
            groups.setdefault(-(-max(len(one), 1) // _GRID) * _GRID, []).append(i)
        done = 0
        for length, members in sorted(groups.items()):
            for start in range(0, len(members), ROWS):
                batch = members[start : start + ROWS]
                out[batch] = self._forward([ids[i] for i in batch], length)[: len(batch)]
                done += len(batch)
                if progress is not None:
                    progress(done, len(texts))
        return out

    @torch.inference_mode()
    def _forward(self, ids: Sequence[Sequence[int]], length: int) -> npt.NDArray[np.float32]:
        tokens = torch.full((ROWS, length), self._pad, dtype=torch.long)  # (ROWS, length)
        mask = torch.zeros((ROWS, length), dtype=torch.long)  # (ROWS, length)
        for row, one in enumerate(ids):
            tokens[row, : len(one)] = torch.tensor(one, dtype=torch.long)
            mask[row, : len(one)] = 1
        mask[len(ids) :, 0] = 1  # rows that fill the batch attend to one token, so that nothing is NaN
        hidden = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state.float()  # (ROWS, length, D)
        weight = mask.unsqueeze(-1).float()  # (ROWS, length, 1)
        mean = (hidden * weight).sum(dim=1) / weight.sum(dim=1)  # (ROWS, D)
        return torch.nn.functional.normalize(mean, dim=1).numpy().astype(np.float32)
