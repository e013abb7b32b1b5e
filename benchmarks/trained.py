"""What a run of `finetune` trained, looked at beside its rows: likelihood of real test text, and texts as sampled.

The rows of `finetune` are chosen from what the public and the trained model write under steering; `as sampled` is what
the trained one writes from prompts alone, labelled by its prompts, with nothing chosen: the same training without any
matching. The test part of the corpus is read for these numbers only.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.corpora import Corpus, Row
from privdistill.features.encoded import Encoded
from privdistill.mechanisms.likelihood import Head
from privdistill.mechanisms.release import ClassRule, FinetuneRequest, PrivateUnits, Release
from privdistill.mechanisms.tail_loss import TailLoss, make_sequences
from privdistill.models.adaptation.tail import Tail
from privdistill.models.loading import Models
from privdistill.recipes import finetune
from privdistill.synthesis.prompts import item_prompts, label_words

__all__ = ["Overheard", "as_units", "likelihoods", "overheard", "request_for", "spread"]

_MAX_TOKENS = 64


@dataclass
class Overheard:
    """What the recipe asked for and was given, and what the trained model wrote first."""

    trained: list[tuple[FinetuneRequest, Release]] = field(default_factory=list)
    sampled: list[Row] = field(default_factory=list)

    def likelihood(self, corpus: Corpus, models: Models, count: int) -> dict[str, Any] | None:
        """Nats per token of real test texts under the untouched and the trained model, paired by text."""
        if not self.trained:
            return None
        request, release = self.trained[-1]
        drawn = np.random.default_rng(0).permutation(len(corpus.test))[:count]  # which public texts are looked at
        test = [corpus.test[i] for i in drawn]
        before = likelihoods(models, request, test, None)
        after = likelihoods(models, request, test, dict(release.payload))
        return {
            "untouched": spread(before),
            "trained": spread(after),
            "gain_per_token": spread([old - new for old, new in zip(before, after, strict=True)]),
            "perplexity": [float(np.exp(np.mean(before))), float(np.exp(np.mean(after)))],
        }


@contextmanager
def overheard() -> Iterator[Overheard]:
    """Listen to the recipe: what it trained and sampled is no part of a run's output."""
    heard, originals = Overheard(), (finetune.FinetuneRecipe.run, finetune.match)

    def run(self: finetune.FinetuneRecipe, context: Any) -> Any:
        steps = originals[0](self, context)
        request = next(steps)
        while True:
            release = yield request
            if isinstance(request, FinetuneRequest):
                heard.trained.append((request, release))
            try:
                request = steps.send(release)
            except StopIteration as end:
                return end.value

    def match(context: Any, ground: Any, *rest: Any, author: Any) -> Any:
        heard.sampled = [(draft.text, ground.rule.names[draft.aim]) for draft in author.drafts]
        return originals[1](context, ground, *rest, author=author)

    finetune.FinetuneRecipe.run, finetune.match = run, match  # type: ignore[method-assign]
    try:
        yield heard
    finally:
        finetune.FinetuneRecipe.run, finetune.match = originals  # type: ignore[method-assign]


def likelihoods(
    models: Models, request: FinetuneRequest, rows: Sequence[Row], adapter: dict[str, np.ndarray] | None
) -> list[float]:
    """Mean negative log-likelihood per token of each text under its class's prompt, the whole vocabulary counted."""
    import torch

    units, encoded = as_units(rows, models)
    tail = Tail(models.language_model.network, request.layers, request.rank)
    with torch.no_grad():
        for name, matrix in tail.matrices.items():
            if adapter is not None:
                matrix.copy_(torch.from_numpy(adapter[name]))
        loss = TailLoss(
            tail,
            Head.of(tail.head, tail.head_bias, None),
            make_sequences(units, encoded, request, models.language_model),
        )
        values = [loss(loss.module, np.array([low for low, _ in part])) for part in loss.passes(units.spans())]
    return torch.cat(values).tolist()


def as_units(rows: Sequence[Row], models: Models) -> tuple[PrivateUnits, Encoded]:
    """Rows as the mechanism reads them; the embeddings are not used where labels decide the class."""
    texts = tuple(text for text, _ in rows)
    ids = models.encoder.tokenizer.ids(texts)
    tokens = tuple(np.asarray(one[:_MAX_TOKENS], dtype=np.int64) for one in ids)
    cut = np.array([len(one) > _MAX_TOKENS for one in ids])
    encoded = Encoded(np.zeros((len(texts), 1), np.float32), tokens, cut)
    return PrivateUnits(texts, tuple(label for _, label in rows), np.arange(len(texts)), "record", 1), encoded


def request_for(
    corpus: Corpus, models: Models, layers: int, rank: int | None, expected_units: float
) -> FinetuneRequest:
    """What the recipe would ask for, by its own rule, without a statistic before it."""
    words = label_words(corpus.labels, corpus.label_descriptions)
    model = models.language_model
    (end,) = model.token_ids("\n")
    return FinetuneRequest(
        name=finetune.GENERATOR,
        classes=ClassRule(corpus.labels),
        model=model.id,
        layers=layers,
        rank=rank,
        prompts=tuple(item_prompts(corpus.describe, word) for word in words),
        end=end,
        max_tokens=_MAX_TOKENS,
        shortlist=None,  # see `benchmarks.dpsgd_shortlist`
        max_grad_norm=finetune._MAX_GRAD_NORM,
        expected_units=expected_units,
        learning_rate=finetune.learning_rate("low-rank" if rank else "whole", layers, model),
    )


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean, its standard error, and n."""
    return {
        "mean": float(np.mean(values)),
        "standard_error": float(np.std(values, ddof=1) / np.sqrt(len(values))),
        "n": len(values),
    }
