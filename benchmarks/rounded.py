"""`python -m benchmarks.rounded`: what `--base-weights 8-bit` does to the language model's texts and to their time.

Three things: the likelihood of real test texts under the model with and without rounding, paired; the likelihood, under
the model in full, of as many texts as each of them writes from the same prompts; and the processor time of writing.
Test texts are public here and read for these numbers only.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.corpora import Row, load, names
from benchmarks.quality import circumstances
from benchmarks.trained import likelihoods, request_for, spread
from privdistill.config import Performance, Synthesis
from privdistill.models.loading import Models, load_models
from privdistill.synthesis.pool import public_pool
from privdistill.synthesis.prompts import label_words

_OUT = Path(__file__).parent / "results" / "rounded.json"
_TOKENS = 48


def measure(corpus_name: str, texts: int, performance: Performance) -> dict[str, Any]:
    """One corpus's prompts, both models."""
    corpus = load(corpus_name)
    kinds = ("full", "8-bit")
    models = {kind: load_models(Synthesis(base_weights=kind), performance, lambda *said: None) for kind in kinds}
    request = request_for(corpus, models["full"], 1, 1, float(texts))
    drawn = np.random.default_rng(0).permutation(len(corpus.test))[:texts]  # which public texts are looked at
    real = [corpus.test[i] for i in drawn]
    words = label_words(corpus.labels, corpus.label_descriptions)
    out: dict[str, Any] = {"corpus": corpus.name, "texts": texts}
    seen: dict[str, list[float]] = {}
    for kind in kinds:
        start = time.process_time()
        written = _written(models[kind], corpus.describe, words, corpus.labels, texts)
        seconds = time.process_time() - start
        tokens = sum(len(ids) for ids in models["full"].encoder.tokenizer.ids([text for text, _ in written]))
        seen[kind] = likelihoods(models[kind], request, real, None)
        out[kind] = {
            "real_text": spread(seen[kind]),
            "own_text_under_full": spread(likelihoods(models["full"], request, written, None)),
            "processor_milliseconds_a_token": 1000 * seconds / tokens,
        }
    lost = [rounded - full for full, rounded in zip(seen["full"], seen["8-bit"], strict=True)]
    return out | {"lost_by_rounding": spread(lost)}


def _written(models: Models, describe: str, words: list[str | None], labels: tuple[str, ...], texts: int) -> list[Row]:
    drafts = public_pool(
        models.language_model,
        describe,
        words,
        texts,
        max_tokens=_TOKENS,
        rng=np.random.default_rng(),
        progress=lambda *said: None,
    )
    return [(draft.text, labels[draft.aim]) for draft in drafts]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rounded", description="What rounded weights cost.")
    parser.add_argument("--corpus", default="reviews", choices=names())
    parser.add_argument("--texts", type=int, default=256)
    parser.add_argument("--out", type=Path, default=_OUT)
    given = parser.parse_args()
    performance = Performance()
    found = {"circumstances": circumstances(performance), **measure(given.corpus, given.texts, performance)}
    given.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps({name: found[name] for name in ("full", "8-bit", "lost_by_rounding")}, indent=1))


if __name__ == "__main__":
    main()
