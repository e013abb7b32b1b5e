"""`python -m benchmarks.dpsgd`: what DP-SGD of the last layers does to the likelihood of real held-out text.

The corpora are public, so nothing here is a guarantee; the noise is what a corpus of `--size` units would get at each
epsilon by the recipe's own rule. With fewer `--records` than that, noise and expected batch are scaled together, so
that noise over signal stays that of the whole corpus while the work shrinks: a stand-in that a busy machine can finish.
Test texts are read for the last column only.
"""

import argparse
import json
import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.corpora import Corpus, load
from benchmarks.quality import circumstances
from privdistill.accounting.budget import Sampling, calibrate
from privdistill.config import Performance, Synthesis
from privdistill.features.encoded import Encoded
from privdistill.mechanisms.checkpoints import Checkpoints
from privdistill.mechanisms.finetuning import TailLoss, make_sequences, release_adapter
from privdistill.mechanisms.likelihood import Head
from privdistill.mechanisms.release import ClassRule, FinetuneRequest, PrivateUnits
from privdistill.models.adaptation.tail import Tail
from privdistill.models.loading import Models, load_models
from privdistill.recipes import finetune
from privdistill.synthesis.prompts import item_prompts, label_words

_RESULTS = Path(__file__).parent / "results"
_MAX_TOKENS = 64


def _units(rows: list[tuple[str, str]], models: Models) -> tuple[PrivateUnits, Encoded]:
    """Rows as the mechanism reads them; the embeddings are not used where labels decide the class."""
    texts = tuple(text for text, _ in rows)
    ids = models.encoder.tokenizer.ids(texts)
    tokens = tuple(np.asarray(one[:_MAX_TOKENS], dtype=np.int64) for one in ids)
    cut = np.array([len(one) > _MAX_TOKENS for one in ids])
    encoded = Encoded(np.zeros((len(texts), 1), np.float32), tokens, cut)
    return PrivateUnits(texts, tuple(label for _, label in rows), np.arange(len(texts)), "record", 1), encoded


def _request(corpus: Corpus, models: Models, given: argparse.Namespace, batch: float, rate: float) -> FinetuneRequest:
    words = label_words(corpus.labels, corpus.label_descriptions)
    model = models.language_model
    (end,) = model.token_ids("\n")
    return FinetuneRequest(
        name="generator",
        classes=ClassRule(corpus.labels),
        model=model.id,
        layers=given.layers,
        rank=given.rank,
        prompts=tuple(item_prompts(corpus.describe, word) for word in words),
        end=end,
        max_tokens=_MAX_TOKENS,
        shortlist=None,  # see `benchmarks.dpsgd_shortlist`
        max_grad_norm=finetune._MAX_GRAD_NORM,
        expected_units=batch / rate,
        learning_rate=given.learning_rate,
    )


def held_out(
    models: Models, request: FinetuneRequest, rows: list[tuple[str, str]], adapter: dict[str, np.ndarray] | None
) -> list[float]:
    """Mean negative log-likelihood per token of each text under its class's prompt, the whole vocabulary counted."""
    units, encoded = _units(rows, models)
    tail = Tail(models.language_model.network, request.layers, request.rank)
    with torch.no_grad():
        for name, matrix in tail.matrices.items():
            if adapter is not None:
                matrix.copy_(torch.from_numpy(adapter[name]))
        sequences = make_sequences(units, encoded, request, models.language_model)
        loss = TailLoss(tail, Head.of(tail.head, tail.head_bias, None), sequences)
        values = [loss(loss.module, np.array([low for low, _ in part])) for part in loss.passes(units.spans())]
    return torch.cat(values).tolist()


def spread(values: list[float]) -> dict[str, float]:
    return {
        "mean": float(np.mean(values)),
        "standard_error": float(np.std(values, ddof=1) / np.sqrt(len(values))),
        "n": len(values),
    }


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """One corpus, several epsilons."""
    corpus = load(given.corpus)
    models = load_models(Synthesis(), Performance(), lambda *said: None)
    draw = np.random.default_rng(0)  # which public texts are used; no noise comes from it
    private = [corpus.private[i] for i in draw.permutation(len(corpus.private))[: given.records]]
    test = [corpus.test[i] for i in draw.permutation(len(corpus.test))[: given.test]]
    units, encoded = _units(private, models)
    rate, steps = finetune.schedule_for(given.size)
    steps = given.steps or steps
    batch = rate * given.size * min(1.0, given.records / given.size) if not given.batch else given.batch
    request = _request(corpus, models, given, batch, batch / len(private))
    before = held_out(models, request, test, None)
    out: dict[str, Any] = {"given": {k: str(v) for k, v in vars(given).items()}, "runs": {}}
    out["zero_shot"] = spread(before)
    for epsilon in given.epsilon:
        shares = {"statistic": finetune._STATISTIC_SHARE, "generator": 1 - finetune._STATISTIC_SHARE}
        budget = calibrate(epsilon, 1e-6, shares, sampling={"generator": Sampling(rate, steps)}, threshold=False)
        noise = budget.noise_multipliers["generator"]
        scaled = noise * batch / (rate * given.size)
        clock, processor = time.monotonic(), time.process_time()
        marks: list[float] = []

        def mark(stage: str, done: int, total: int, marks: list[float] = marks) -> None:
            if stage == "training the generator":
                marks.append(time.process_time())
                print(f"{stage}: {done} of {total}", flush=True)

        with tempfile.TemporaryDirectory() as place:
            release = release_adapter(
                units,
                encoded,
                replace(request, expected_units=float(len(private))),
                models.language_model,
                noise_multiplier=scaled,
                sampling=Sampling(batch / len(private), steps),
                charge=lambda record: None,
                kept=lambda record: None,
                checkpoints=Checkpoints(Path(place)),
                progress=mark,
            )
        seconds = {"wall": time.monotonic() - clock, "processor": time.process_time() - processor}
        after = held_out(models, request, test, dict(release.payload))
        gains = [old - new for old, new in zip(before, after, strict=True)]
        out["runs"][f"{epsilon:g}"] = {
            "noise_multiplier": noise,
            "noise_multiplier_used": scaled,
            "expected_batch": batch,
            "steps": steps,
            "cells": int(sum(matrix.size for matrix in release.payload.values())),
            "held_out": spread(after),
            "gain_per_token": spread(gains),
            "perplexity": [float(np.exp(np.mean(before))), float(np.exp(np.mean(after)))],
            "seconds": seconds,
            "processor_seconds_per_step": float(np.median(np.diff(marks))) if len(marks) > 1 else None,
            "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        }
        print(json.dumps(out["runs"][f"{epsilon:g}"], indent=1), flush=True)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dpsgd", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--corpus", default="reviews", choices=("reviews", "questions"))
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0, 4.0, 8.0])
    parser.add_argument("--size", type=int, default=7000, help="units of the corpus that the noise is made for")
    parser.add_argument("--records", type=int, default=7000, help="records that are used")
    parser.add_argument("--test", type=int, default=400)
    parser.add_argument("--steps", type=int, default=0, help="0: the recipe's rule")
    parser.add_argument("--batch", type=float, default=0.0, help="expected batch; 0: the recipe's rule, scaled")
    parser.add_argument("--layers", type=int, default=finetune._LAYERS)
    parser.add_argument("--rank", type=int, default=finetune._RANK)
    parser.add_argument("--learning-rate", type=float, default=finetune._LEARNING_RATE)
    parser.add_argument("--out", type=Path, default=_RESULTS / "dpsgd.json")
    given = parser.parse_args()
    out = {"circumstances": circumstances(Performance()), **measure(given)}
    given.out.write_text(json.dumps(out, indent=2) + "\n")


if __name__ == "__main__":
    main()
