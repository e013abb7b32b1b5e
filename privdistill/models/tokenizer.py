"""Token ids of a text as the language model would write it: with a leading space, white space folded.

Each text is split by itself, so ids are a function of that text alone. It does not know the model's weights, nor
which texts are private.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from privdistill.errors import AssetError

__all__ = ["ModelTokenizer"]

_BATCH = 1024


class ModelTokenizer:
    """The language model's tokenizer, without special tokens."""

    def __init__(self, path: Path, *, model_id: str) -> None:
        """Load from a local folder or GGUF file.

        Raises:
            AssetError: there is no tokenizer that can be read without executing foreign code.
        """
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from transformers import AutoTokenizer

        try:
            if path.is_file():
                self._tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name, local_files_only=True)
            else:
                self._tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        except (OSError, ValueError) as error:
            raise AssetError(
                f"the tokenizer of {model_id} cannot be loaded ({type(error).__name__}); choose a model with "
                f"tokenizer.json"
            ) from None
        self.size = len(self._tokenizer)

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, without special tokens."""
        out: list[list[int]] = []
        for start in range(0, len(texts), _BATCH):
            batch = [" " + " ".join(text.split()) for text in texts[start : start + _BATCH]]
            out += self._tokenizer(batch, add_special_tokens=False, verbose=False)["input_ids"]
        return out
