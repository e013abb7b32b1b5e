"""Texts to unit vectors with a sentence encoder from a local folder: what a text says, whatever its words.

Safetensors only, no pickles, no code from the folder, no network. Mean pooling. torch is imported when an encoder is
loaded, not before. It does not know sides.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from audits.errors import BadInputError

__all__ = ["Encoder", "require_encoder"]

_BATCH = 64
_MOST_TOKENS = 256


def require_encoder(path: Path) -> None:
    """Refuse a folder that cannot be an encoder, before anything is computed.

    Raises:
        BadInputError: it is no folder with a configuration, a tokenizer and safetensors weights.
    """
    if not path.is_dir():
        raise BadInputError(f"the encoder {path.name} is not a folder; give a local folder of safetensors weights")
    if not any(path.glob("*.safetensors")):
        raise BadInputError(f"the encoder folder {path.name} holds no safetensors weights; pickled ones are not read")
    for name in ("config.json", "tokenizer.json"):
        if not (path / name).is_file():
            raise BadInputError(f"the encoder folder {path.name} has no {name}")


class Encoder:
    """A transformer encoder; the same text gives the same vector up to rounding, whatever it is batched with."""

    def __init__(self, path: Path) -> None:
        """Load from a local folder.

        Raises:
            BadInputError: the libraries are missing, or the folder holds no encoder.
        """
        require_encoder(path)
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        try:
            import torch
            from transformers import AutoModel, AutoTokenizer
            from transformers.utils import logging
        except ImportError as error:
            raise BadInputError(
                f"--encoder needs {error.name}; install the extra, for example pip install 'privdistill[encoder]'"
            ) from None
        logging.disable_progress_bar()
        logging.set_verbosity_error()
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            self._tokenizer = AutoTokenizer.from_pretrained(path, **options)
            model = AutoModel.from_pretrained(path, use_safetensors=True, dtype=torch.float32, **options)
        except Exception as error:  # whatever a broken file makes a library raise
            raise BadInputError(f"the encoder folder {path.name} cannot be loaded ({type(error).__name__})") from None
        self._model: Any = model.eval()
        self._limit = min(_MOST_TOKENS, int(getattr(model.config, "max_position_embeddings", _MOST_TOKENS)))
        self._pad = int(self._tokenizer.pad_token_id or 0)
        self._torch: Any = torch

    def embed(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return unit vectors (texts, width)."""
        torch = self._torch
        width = int(self._model.config.hidden_size)
        out = np.zeros((len(texts), width), np.float32)
        if not texts:
            return out
        ids = self._tokenizer(list(texts), truncation=True, max_length=self._limit)["input_ids"]
        order = sorted(range(len(ids)), key=lambda i: (len(ids[i]), i))
        for begin in range(0, len(order), _BATCH):
            chosen = order[begin : begin + _BATCH]
            longest = max([1, *(len(ids[i]) for i in chosen)])
            tokens = torch.full((len(chosen), longest), self._pad, dtype=torch.long)  # (batch, tokens)
            mask = torch.zeros((len(chosen), longest), dtype=torch.long)  # (batch, tokens)
            for row, i in enumerate(chosen):
                tokens[row, : len(ids[i])] = torch.tensor(ids[i], dtype=torch.long)
                mask[row, : max(1, len(ids[i]))] = 1
            with torch.inference_mode():
                hidden = self._model(input_ids=tokens, attention_mask=mask).last_hidden_state  # (batch, tokens, width)
                weight = mask.unsqueeze(-1).float()
                mean = (hidden * weight).sum(dim=1) / weight.sum(dim=1)
                out[chosen] = torch.nn.functional.normalize(mean, dim=1).numpy()
        return out
