"""`python -m benchmarks.dpsgd_cost`: what per-record gradients, clipping and noise add to a training step.

A random model of the embedded model's widths, the last four of eight layers adapted, sequences of one shape; the same
forward pass with and without the engine. Processor time, so that other people's work on the machine does not count.
Each point is a process of its own, so that its peak memory is its own. `--memory` measures curves instead: what a step
needs above what the process held before it, over the physical batch and over the logical one (Linux only). `recomputed`
is the private step with gradient checkpointing, `rounded` that of a model whose linear maps are kept in eight bits.
`--whole` trains whole weights, clipped through one gradient per record (`private whole`) and by ghost norms (`ghost
whole`), and every number of these layers, one record a pass (`alone full`; `plain full` in the same passes).
"""

import importlib
import json
import sys
import time
from collections.abc import Iterator
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from benchmarks.memory_plot import memory_svg
from benchmarks.quality import circumstances
from privdistill.config import Performance
from privdistill.features.sequences import TokenSequence
from privdistill.mechanisms import tail_loss
from privdistill.mechanisms.dpsgd import Clipping, Schedule, train_privately
from privdistill.mechanisms.likelihood import Head
from privdistill.mechanisms.tail_loss import TailLoss
from privdistill.models.adaptation.low_rank import round_maps
from privdistill.models.adaptation.tail import ROWS, Tail

_OUT = Path(__file__).parent / "results"
_PROMPT, _TARGETS, _VOCABULARY = 9, 31, 8192
_KINDS = ("private", "recomputed", "plain", "rounded")
_WHOLE = ("plain whole", "private whole", "ghost whole", "plain full", "alone full")
_CLIPPING: dict[str, Clipping] = {"ghost": "ghost", "alone": "alone"}
_LOGICAL = (32, 128)
_STEPS = 3
_CURVES = {"physical": [(n, 32) for n in (32, 16, 8)], "logical": [(8, n) for n in (16, 32, 64)]}
"""(physical, logical) batch of each point."""


def _loss(records: int, kind: str) -> TailLoss:
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
    model = tf.LlamaForCausalLM(config).to(torch.bfloat16).eval()
    if kind == "rounded":
        round_maps(model)
    full, rank = kind.endswith("full"), None if kind.endswith(("whole", "full")) else 8
    tail = Tail(model, 4, rank, recompute=kind == "recomputed", full=full)
    draw = np.random.default_rng(0)
    tokens = draw.integers(0, _VOCABULARY, size=(records, _PROMPT + _TARGETS))
    sequences: list[TokenSequence | None] = [TokenSequence(one[:-1], _PROMPT - 1, one[_PROMPT:]) for one in tokens]
    return TailLoss(tail, Head.of(tail.head, None, None), sequences)


def _resident(name: str) -> float:
    """A line of /proc/self/status, in GiB: VmRSS is what is held now, VmHWM the most since it was last reset."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) / 2**20


def _step(kind: str, records: int, physical: int = ROWS, steps: int = _STEPS) -> dict[str, float]:
    """Processor seconds of one step over all records, and the peak memory of this process."""
    torch.set_num_threads(1)
    tail_loss.ROWS = physical
    loss = _loss(records, kind)
    spans = [(i, i + 1) for i in range(records)]
    module = loss.module
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    marks = [time.process_time()]
    if not kind.startswith("plain"):
        train_privately(
            module,
            loss,
            spans,
            Schedule(1.0, 1.0, steps, 0.01, float(records), physical),
            make_optimizer=lambda trained: torch.optim.Adam(trained, lr=1e-3),
            after_step=lambda step: marks.append(time.process_time()),
            passes=loss.passes,
            clipping=_CLIPPING.get(kind.split()[0], "per-unit"),
        )
    else:
        optimizer = torch.optim.Adam(module.parameters(), lr=1e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            for part in loss.passes(spans):
                (loss(module, np.array([low for low, _ in part])).sum() / records).backward()
            optimizer.step()
            marks.append(time.process_time())
    peak = _resident("VmHWM")
    return {"seconds": median(np.diff(marks).tolist()), "peak_gib": peak, "above_start_gib": peak - before}


def _point(kind: str, records: int, physical: int = ROWS, steps: int = _STEPS) -> dict[str, float]:
    """One point, in a process of its own, forked before torch has worked: libraries are loaded once for all."""
    with get_context("fork").Pool(1) as process:
        found: dict[str, float] = process.apply(_step, (kind, records, physical, steps))
    print(kind, records, physical, found, flush=True)
    return found


def _cost() -> dict[str, Any]:
    points = {f"{kind} {n}": _point(kind, n) for n in _LOGICAL for kind in _KINDS}
    ratios = {
        kind: {str(n): points[f"{kind} {n}"]["seconds"] / points[f"plain {n}"]["seconds"] for n in _LOGICAL}
        for kind in _KINDS
    }
    return {"rows_a_pass": ROWS, "points": points, "ratio_to_plain": ratios}


def _memory() -> Iterator[dict[str, Any]]:
    """Both curves, one step a point; what is known after each."""
    known: dict[tuple[str, int, int], dict[str, float]] = {}
    curves: dict[str, list[dict[str, Any]]] = {}
    for curve, points in _CURVES.items():
        curves[curve] = []
        for physical, logical in points:
            for kind in _KINDS:
                asked = (kind, logical, physical)
                known[asked] = known.get(asked) or _point(*asked, steps=1)
                curves[curve].append({"kind": kind, "logical": logical, "physical": physical, **known[asked]})
                yield {"curves": curves}


def _whole() -> dict[str, Any]:
    """Whole weights of four layers, one pass a step."""
    return {"points": {kind: _point(kind, ROWS, steps=2) for kind in _WHOLE}}


def main() -> None:
    importlib.import_module("opacus.optimizers")
    importlib.import_module("transformers.models.llama.modeling_llama")
    kinds = {"": ("dpsgd_cost.json", lambda: [_cost()]), "--whole": ("dpsgd_whole.json", lambda: [_whole()])}
    kinds |= {"--memory": ("dpsgd_memory.json", _memory)}
    name, measure = kinds[" ".join(sys.argv[1:])]
    for found in measure():
        out = {"circumstances": circumstances(Performance()), **found}
        (_OUT / name).write_text(json.dumps(out, indent=2) + "\n")
    if "curves" in out:
        (_OUT / "dpsgd_memory.svg").write_text(memory_svg(out["curves"]))


if __name__ == "__main__":
    main()
