"""Prompts that name a few words of their class, drawn from its noised token histogram: an exploration of the ablation.

Only the prompts of the waves differ from the default recipe: steering, openings and random emphasis stay. The words are
post-processing of the release, like the steering; the zero-shot pool is written before it and names none.

How words are drawn and how they are named was fixed before anything was measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from privdistill.mechanisms.release import FloatArray
from privdistill.synthesis import waves
from privdistill.synthesis.prompts import item_prompts
from privdistill.synthesis.steering import Steering

__all__ = ["drafts_with_words", "keywords", "named"]

IntArray = np.ndarray

_WORDS = 3
_DRAWS = 24
"""Distinct sets of words of a class in one wave, as many as there are random emphases: each prompt is read once."""
_LEAST_LETTERS = 4
_plain_drafts = waves.Waves._drafts


def keywords(steering: Steering, sums: FloatArray, pieces: Sequence[str]) -> tuple[list[str], FloatArray]:
    """Words that the class uses clearly more often than the public pool, and the odds to name each.

    Args:
        steering: of the class; its indicative columns stand several noise deviations above the pool.
        sums: (V,) noised sums of token presence of the class; a word is drawn in proportion to them.
        pieces: tokens as text. Pieces inside a word and words of under four letters are left out.
    """
    whole = [
        int(i)
        for i in steering.indicative
        if pieces[i][:1] == " " and pieces[i][1:].isalpha() and len(pieces[i]) > _LEAST_LETTERS
    ]
    odds = np.maximum(sums[whole], 0.0)
    words = [pieces[i].strip() for i, share in zip(whole, odds, strict=True) if share > 0]
    return words, odds[odds > 0] / max(float(odds.sum()), 1e-12)


def named(prompt: str, words: Sequence[str]) -> str:
    """The head of a list that also names words.

    Example:
        >>> named("Questions (location):\\n\\n-", ["city", "country"])
        'Questions (location), with words such as city, country:\\n\\n-'
    """
    if not words:
        return prompt
    before, colon, after = prompt.rpartition(":")
    return f"{before}, with words such as {', '.join(words)}{colon}{after}"


class _Naming:
    """The language model, asked with another set of words each time a class's prompt comes up."""

    def __init__(self, model: Any, sets: Mapping[str, Sequence[Sequence[str]]], rng: np.random.Generator) -> None:
        self._model, self._sets, self._rng = model, sets, rng

    def sample(self, prompts: Sequence[str], **options: Any) -> list[tuple[str, bool]]:
        return list(self._model.sample([self._asked(prompt) for prompt in prompts], **options))

    def _asked(self, prompt: str) -> str:
        own = max((head for head in self._sets if prompt.startswith(head)), key=len)
        draws = self._sets[own]
        return named(own, draws[int(self._rng.integers(len(draws)))]) + prompt[len(own) :]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def drafts_with_words(self: waves.Waves, sizes: IntArray, steerings: list[Steering], total: int) -> Any:
    """In the place of `Waves._drafts`: the same texts asked for, under prompts that name words."""
    context, sets = self._context, {}
    for k, word in enumerate(self._words):
        wordings = item_prompts(context.task.describe, word, context.task.fields)
        found, odds = keywords(steerings[k], self._aims[k], context.language_model.pieces)
        sets[wordings[self.count % len(wordings)]] = [
            list(context.rng.choice(found, min(_WORDS, len(found)), replace=False, p=odds)) if found else []
            for _ in range(_DRAWS)
        ]
    naming: Any = _Naming(context.language_model, sets, context.rng)
    self._context = replace(context, language_model=naming)
    try:
        return _plain_drafts(self, sizes, steerings, total)
    finally:
        self._context = context
