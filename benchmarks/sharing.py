"""Models that many runs share: loaded once, texts embedded once, un-steered texts written once a generation.

An embedding is bitwise a function of its text, so remembering it changes nothing. Answers to un-steered prompts are
public and the same for every recipe and epsilon of one generation: cells of a generation are paired, generations are
not.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from privdistill.config import Performance, Synthesis
from privdistill.features.encoded import TextEncoder
from privdistill.models import assets, loading
from privdistill.models.loading import Models, load_models

__all__ = ["SharedModels"]


class RememberedSentences:
    """Embeds a text once."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._known = inner, {}
        self.width = inner.width

    def embed(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        new = list(dict.fromkeys(text for text in texts if text not in self._known))
        for text, point in zip(new, self._inner.embed(new, progress), strict=True):
            self._known[text] = point
        return np.array([self._known[text] for text in texts], dtype=np.float32).reshape(len(texts), self.width)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class RememberedWriter:
    """Answers an un-steered request of the current generation with what was written before, and goes on from there."""

    def __init__(self, inner: Any) -> None:
        self._inner, self._written, self._asked = inner, {}, {}
        self.touched = _fingerprint(inner)

    def begin(self, generation: int) -> None:
        """Start a run: its requests are counted anew, and answered from what its generation has written."""
        self._written = {key: texts for key, texts in self._written.items() if key[0] == generation}
        self._generation, self._asked = generation, {}

    def sample(self, prompts: Sequence[str], **options: Any) -> list[tuple[str, bool]]:
        if any(options.get(name) is not None for name in ("bias", "opening_bias", "may_end")):
            return self._inner.sample(prompts, **options)
        asked = (tuple(prompts), *(options[name] for name in ("max_new_tokens", "temperature", "top_p")))
        turn = self._asked[asked] = self._asked.get(asked, 0) + 1
        key = (self._generation, turn, asked)  # a second request of one run gets texts of its own
        if key not in self._written:
            self._written[key] = self._inner.sample(prompts, **options)
        return list(self._written[key])

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class SharedModels:
    """One set of models, and a way to have `privdistill.pipeline` use it."""

    def __init__(self, synthesis: Synthesis, performance: Performance) -> None:
        self._spec = (synthesis, performance)
        self.folder = assets.resolve(synthesis.model, "language-model")
        self._load()

    def _load(self) -> None:
        loaded = load_models(*self._spec, lambda *step: None)
        encoder = loaded.encoder
        self.sentences = getattr(self, "sentences", None) or RememberedSentences(encoder.sentences)
        self.writer = RememberedWriter(loaded.language_model)
        self.models: Models = replace(
            loaded,
            encoder=TextEncoder(self.sentences, encoder.tokenizer, encoder.max_tokens),
            language_model=self.writer,
        )

    @contextmanager
    def of(self, generation: int) -> Iterator[Models]:
        """Hand these models to every run inside the block; weights that a recipe changed are loaded anew after it."""
        original = loading.load_models
        self.writer.begin(generation)
        loading.load_models = lambda *given: self.models
        try:
            yield self.models
        finally:
            loading.load_models = original
            if _fingerprint(self.writer._inner) != self.writer.touched:
                self._load()


def _fingerprint(model: Any) -> tuple[float, int]:
    """Sum and number of the weights; (0, 0) for a model without any."""
    weights = getattr(getattr(model, "_model", None), "parameters", None)
    if weights is None:
        return 0.0, 0
    parts = [(float(one.detach().double().abs().sum()), one.numel()) for one in weights()]
    return sum(total for total, _ in parts), sum(n for _, n in parts)
