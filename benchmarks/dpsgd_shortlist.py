"""`python -m benchmarks.dpsgd_shortlist`: what a vocabulary shortlist costs in likelihood, and what it saves in time.

The corpus is public. Adapters are trained on the same records with every record in every step and next to no noise, so
that arms differ by the shortlist alone; held-out texts are judged over the whole vocabulary, paired with the full arm.
A shortlist is made as the recipe makes it: of a zero-shot pool, completed by the order of the vocabulary. How much of
the held-out text it covers is read for the table only. Goes on where it stopped: each arm is kept when it is done.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.corpora import load
from benchmarks.quality import circumstances
from benchmarks.trained import as_units, request_for, spread
from privdistill.config import Performance, Synthesis
from privdistill.mechanisms.dpsgd import Schedule, train_privately
from privdistill.mechanisms.likelihood import Head
from privdistill.mechanisms.tail_loss import TailLoss, make_sequences
from privdistill.models.adaptation.tail import ROWS, Tail
from privdistill.models.loading import load_models
from privdistill.recipes import distribution, finetune
from privdistill.synthesis.pool import Draft, public_pool, public_shortlist
from privdistill.synthesis.prompts import label_words

_OUT = Path(__file__).parent / "results" / "dpsgd_shortlist.json"
_NO_NOISE = 1e-6


def _losses(loss: TailLoss, count: int) -> list[float]:
    out = np.zeros(count)
    with torch.no_grad():
        for part in loss.passes([(i, i + 1) for i in range(count)]):
            rows = np.array([low for low, _ in part])
            out[rows] = loss(loss.module, rows).numpy()
    return out.tolist()


def _train(loss: TailLoss, records: int, given: argparse.Namespace) -> list[float]:
    """Train in place; processor seconds of each step."""
    marks = [time.process_time()]
    train_privately(
        loss.module,
        loss,
        [(i, i + 1) for i in range(records)],
        Schedule(_NO_NOISE, 1.0, given.steps, finetune._MAX_GRAD_NORM, float(records), ROWS),
        make_optimizer=lambda trained: torch.optim.Adam(trained, lr=given.learning_rate),
        after_step=lambda step: marks.append(time.process_time()),
        passes=loss.passes,
    )
    return np.diff(marks).tolist()


def measure(given: argparse.Namespace, kept: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The full vocabulary, then each shortlist, from the same untrained adapters; all that is known after each."""
    corpus = load(given.corpus)
    models = load_models(Synthesis(), Performance(), lambda *said: None)
    model = models.language_model
    draw = np.random.default_rng(0)  # which public texts are used
    private = [corpus.private[i] for i in draw.permutation(len(corpus.private))[: given.records]]
    test = [corpus.test[i] for i in draw.permutation(len(corpus.test))[: given.test]]
    words = label_words(corpus.labels, corpus.label_descriptions)
    if "pool" not in kept:
        written = public_pool(
            model,
            corpus.describe,
            words,
            given.pool,
            max_tokens=distribution._PUBLIC_TOKENS,
            rng=draw,
            progress=lambda *said: None,
        )
        kept["pool"] = [draft.text for draft in written]
        yield kept
    pool = [Draft(text, 0) for text in kept["pool"]]
    request = request_for(corpus, models, given.layers, given.rank, float(given.records))
    tail = Tail(model.network, request.layers, request.rank)
    whole = Head.of(tail.head, tail.head_bias, None)
    read = [(rows, *as_units(rows, models)) for rows in (private, test)]
    trained, judged = (TailLoss(tail, whole, make_sequences(*one[1:], request, model)) for one in read)
    held = np.concatenate(read[1][2].tokens)
    values: dict[str, list[float]] = kept.setdefault("values", {})
    if "untouched" not in values:
        values["untouched"] = _losses(judged, len(test))
        yield kept
    arms: dict[str, dict[str, Any]] = kept.setdefault("arms", {})
    for size in (0, *given.shortlists):
        name = str(size or "all")
        if name in arms:
            continue
        ids = public_shortlist(pool, models.encoder.tokenizer, size, always=[request.end])
        with torch.no_grad():
            for matrix in tail.matrices.values():
                matrix.zero_()
        trained._head = whole if not size else Head.of(tail.head, tail.head_bias, torch.from_numpy(ids))
        seconds = _train(trained, len(private), given)
        values[name] = _losses(judged, len(test))
        arms[name] = {
            "tokens": size or int(tail.head.shape[0]),
            "held_out": spread(values[name]),
            "gain_per_token": spread([old - new for old, new in zip(values["untouched"], values[name], strict=True)]),
            "lost_against_all": spread([new - full for full, new in zip(values["all"], values[name], strict=True)]),
            "held_out_tokens_covered": float(np.isin(held, ids).mean()) if size else 1.0,
            "processor_seconds_a_record": {
                "median": float(np.median(seconds)) / len(private),
                "least": min(seconds) / len(private),
                "most": max(seconds) / len(private),
                "steps": len(seconds),
            },
        }
        print(name, json.dumps(arms[name]), flush=True)
        yield kept


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.dpsgd_shortlist", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--corpus", default="reviews", choices=("reviews", "questions"))
    parser.add_argument("--records", type=int, default=64)
    parser.add_argument("--test", type=int, default=96)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--pool", type=int, default=192)
    parser.add_argument("--shortlists", type=int, nargs="*", default=[8192, 2048])
    parser.add_argument("--out", type=Path, default=_OUT)
    given = parser.parse_args()
    given.layers, given.rank = finetune._LAYERS, finetune._RANK
    given.learning_rate = finetune._LEARNING_RATES["low-rank"]
    said = {name: value for name, value in vars(given).items() if name != "out"}
    kept = json.loads(given.out.read_text()) if given.out.exists() else {}
    if kept.setdefault("given", said) != said:
        parser.error(f"{given.out} holds another measurement; move it away or name another file with --out")
    for found in measure(given, kept):
        given.out.write_text(json.dumps({**found, "circumstances": circumstances(Performance())}, indent=1) + "\n")


if __name__ == "__main__":
    main()
