"""How likely texts are under a language model that did not write them.

The embedded language model is the generator itself and would praise its own habits; a model of public text is not
available offline. So the judge is a character model (orders 1 to 6, Witten-Bell interpolation) of real records: it
knows spelling, phrases and domain, has no unknown words, and shares nothing with the generator. Bits a character: less
is more likely. Turned around (learnt on synthetic, read on real) it says what the rows teach a generative model. With
`perplexity` any causal model can be asked as well; its caller says when that model is the generator.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from audits.findings import Estimate
from privdistill.errors import AssetError
from privdistill.evaluation.intervals import half_sampled

__all__ = ["CharacterModel", "bits_per_character", "perplexity"]

_ORDER = 6
_ALPHABET = 1 << 16
"""Uniform floor: an unseen character costs 16 bits."""
_START, _END = "\x02", "\x03"


class CharacterModel:
    """Interpolated Witten-Bell model of characters."""

    def __init__(self, texts: Sequence[str], order: int = _ORDER) -> None:
        """Count.

        Args:
            texts: what to learn.
            order: characters of the longest n-gram.
        """
        self._order = order
        self._follow: dict[str, dict[str, int]] = defaultdict(dict)
        for text in texts:
            padded = _START * (order - 1) + _folded(text) + _END
            for i in range(order - 1, len(padded)):
                for length in range(order):
                    seen = self._follow[padded[i - length : i]]
                    seen[padded[i]] = seen.get(padded[i], 0) + 1
        self._totals = {context: (sum(seen.values()), len(seen)) for context, seen in self._follow.items()}

    def probability(self, character: str, context: str) -> float:
        """P(character | context): every shorter context is mixed in by how many kinds of characters followed it."""
        value = 1 / _ALPHABET
        for length in range(min(self._order - 1, len(context)) + 1):
            own = context[len(context) - length :]
            known = self._totals.get(own)
            if known is None:
                break
            total, kinds = known
            value = (self._follow[own].get(character, 0) + kinds * value) / (total + kinds)
        return value

    def bits(self, text: str) -> tuple[float, int]:
        """Bits of a text and its number of characters, end mark included."""
        padded = _START * (self._order - 1) + _folded(text) + _END
        start = self._order - 1
        bits = -sum(math.log2(self.probability(padded[i], padded[i - start : i])) for i in range(start, len(padded)))
        return bits, len(padded) - start


def bits_per_character(model: CharacterModel, texts: Sequence[str], rng: np.random.Generator) -> Estimate:
    """Bits a character over all texts."""
    scored = np.array([model.bits(text) for text in texts])  # (n, 2)
    return _ratio(scored, rng)


def perplexity(folder: Path, model_id: str, texts: Sequence[str], rng: np.random.Generator) -> Estimate:
    """Perplexity a token under a causal language model, each text read by itself up to 256 tokens.

    Raises:
        AssetError: the folder holds no model that can be read without executing foreign code.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32
        ).eval()
    except (OSError, ValueError, KeyError) as error:
        raise AssetError(
            f"{model_id} cannot be loaded as a causal language model ({type(error).__name__}); expected a folder with "
            "config.json, tokenizer.json and safetensors weights"
        ) from None
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    scored = []
    with torch.inference_mode():
        for text in texts:
            ids = tokenizer(text, add_special_tokens=False, truncation=True, max_length=256)["input_ids"]
            row = torch.tensor([[start or 0, *ids]])  # (1, T + 1)
            logs = torch.log_softmax(model(row).logits[0, :-1].float(), dim=-1)  # (T, V)
            scored.append((-float(logs.gather(1, row[0, 1:, None]).sum()), len(ids)))
    found = _ratio(np.array(scored), rng)
    return found.model_copy(update={end: math.exp(getattr(found, end)) for end in ("value", "low", "high")})


def _ratio(scored: np.ndarray, rng: np.random.Generator) -> Estimate:
    def mean(rows: Sequence[np.ndarray]) -> float:
        sums = scored[rows[0]].sum(axis=0)
        return float(sums[0] / max(sums[1], 1.0))

    return half_sampled(mean, (len(scored),), rng, "texts", (0.0, math.inf))


def _folded(text: str) -> str:
    return " ".join(text.split())
