"""`python -m benchmarks.dpsgd_cost`: what per-record gradients, clipping and noise add to a training step.

A random model of the embedded model's widths, the last four of eight layers adapted, sequences of one shape; the same
forward pass with and without the engine. Processor time, so that other people's work on the machine does not count.
Each point is a process of its own, so that its peak memory is its own.
"""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.quality import circumstances
from privdistill.config import Performance
from privdistill.features.sequences import TokenSequence
from privdistill.mechanisms.dpsgd import Schedule, train_privately
from privdistill.mechanisms.finetuning import TailLoss
from privdistill.mechanisms.likelihood import Head
from privdistill.models.adaptation.tail import ROWS, Tail

_OUT = Path(__file__).parent / "results" / "dpsgd_cost.json"
_PROMPT, _TARGETS, _VOCABULARY = 9, 31, 8192
_LOGICAL = (32, 128, 320)
_STEPS = 3


def _loss(records: int) -> TailLoss:
    import transformers as tf

    config = tf.LlamaConfig(
        vocab_size=_VOCABULARY,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=8,
        num_attention_heads=9,
        num_key_value_heads=3,
        tie_word_embeddings=True,
    )
    tail = Tail(tf.LlamaForCausalLM(config).to(torch.bfloat16).eval(), 4, 8)
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, _VOCABULARY, size=(records, _PROMPT + _TARGETS))
    sequences: list[TokenSequence | None] = [TokenSequence(one[:-1], _PROMPT - 1, one[_PROMPT:]) for one in tokens]
    return TailLoss(tail, Head.of(tail.head, None, None), sequences)


def _step(kind: str, records: int) -> dict[str, float]:
    """Processor seconds of one step over all records, and the peak memory of this process."""
    torch.set_num_threads(1)
    loss = _loss(records)
    spans = [(i, i + 1) for i in range(records)]
    module = loss.module
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    marks = [time.process_time()]
    if kind == "private":
        train_privately(
            module,
            loss,
            spans,
            Schedule(1.0, 1.0, _STEPS, 0.01, float(records), ROWS),
            make_optimizer=lambda trained: torch.optim.Adam(trained, lr=1e-3),
            after_step=lambda step: marks.append(time.process_time()),
            passes=loss.passes,
        )
    else:
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
        for _ in range(_STEPS):
            optimizer.zero_grad()
            for part in loss.passes(spans):
                (loss(module, np.array([low for low, _ in part])).sum() / records).backward()
            optimizer.step()
            marks.append(time.process_time())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "seconds": median(np.diff(marks).tolist()),
        "peak_gib": peak / 2**20,
        "above_start_gib": (peak - before) / 2**20,
    }


def main() -> None:
    if len(sys.argv) == 3:
        print(json.dumps(_step(sys.argv[1], int(sys.argv[2]))))
        return
    points: dict[str, Any] = {}
    for kind in ("plain", "private"):
        for records in _LOGICAL:
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.dpsgd_cost", kind, str(records)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            points[f"{kind} {records}"] = json.loads(done.stdout.splitlines()[-1])
            print(kind, records, points[f"{kind} {records}"], flush=True)
    ratios = {str(n): points[f"private {n}"]["seconds"] / points[f"plain {n}"]["seconds"] for n in _LOGICAL}
    out = {"circumstances": circumstances(Performance()), "rows_a_pass": ROWS, "points": points, "ratio": ratios}
    _OUT.write_text(json.dumps(out, indent=2) + "\n")


if __name__ == "__main__":
    main()
