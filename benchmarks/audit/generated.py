"""`python -m benchmarks.audit.generated`: how often the examiner fails honest differentially private rows.

Whole runs of `privdistill.pipeline`, each with a ledger, a split, noise and a selection of its own, examined with
everything that a run's `audit` does, power included. Only the writing is shared: the language model writes once, for
the first run, under that run's steering; later runs are answered from what was written then, in an order of their
own. A release at epsilon 8 says little about a single record, so what the first run's steering may know of records
that lie on other sides later is too little to matter, but it is not nothing.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.audit.table import GENERATED
from benchmarks.corpora import load
from benchmarks.quality import configured
from benchmarks.sharing import SharedModels
from privdistill import pipeline
from privdistill.config import Performance, Synthesis

__all__ = ["name_of"]

_RESULTS = Path(__file__).parent.parent / "results" / "audit.jsonl"


def name_of(epsilon: float) -> str:
    """How the lines of these runs are called."""
    return f"{GENERATED}distribution` at epsilon {epsilon:g} (film reviews)"


class Replayed:
    """A language model that writes for one run, and afterwards repeats itself in another order."""

    def __init__(self, inner: Any) -> None:
        self._inner, self.touched = inner._inner, inner.touched
        self._written: dict[str, list[tuple[str, bool]]] = defaultdict(list)
        self._left: dict[str, list[tuple[str, bool]]] = {}
        self._rng = np.random.default_rng()
        self.replaying = False

    def begin(self, generation: int) -> None:
        """A new run: every text may come once more."""
        self._left = {}

    def sample(self, prompts: Sequence[str], **options: Any) -> list[tuple[str, bool]]:
        if not self.replaying:
            answers = self._inner.sample(prompts, **options)
            for prompt, answer in zip(prompts, answers, strict=True):
                self._written[prompt].append(answer)
            return answers
        return [self._again(prompt) for prompt in prompts]

    def _again(self, prompt: str) -> tuple[str, bool]:
        prompt = prompt if prompt in self._written else str(self._rng.choice(list(self._written)))
        if not self._left.get(prompt):
            written = self._written[prompt]
            self._left[prompt] = [written[i] for i in self._rng.permutation(len(written))]
        return self._left[prompt].pop()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def one_run(shared: SharedModels, epsilon: float, rows: int, seed: int) -> dict[str, Any]:
    """Generate and examine once."""
    started, corpus = time.monotonic(), load("reviews")
    with tempfile.TemporaryDirectory() as place, shared.of(0):
        folder = Path(place)
        corpus.write(folder / "private.csv")
        config = configured(corpus, str(folder / "private.csv"), epsilon, "distribution", rows, Performance())
        run = pipeline.generate(config, run=folder / "run", ledger=str(folder / "ledger"), progress=lambda *step: None)
        made = time.monotonic() - started
        report = pipeline.audit(run)
    p_values = {one.id: one.p_value for one in report.findings if one.p_value is not None}
    return {
        "cell": name_of(epsilon),
        "seed": seed,
        "verdict": report.verdict,
        "failed": sorted(one.id for one in report.findings if one.status == "fail"),
        "inconclusive": sorted(one.id for one in report.findings if one.status == "inconclusive"),
        "p": {check: float(f"{value:.4g}") for check, value in sorted(p_values.items())},
        "rows": rows,
        "seconds": round(time.monotonic() - started, 1),
        "seconds_generating": round(made, 1),
        "written_anew": seed == 0,
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit.generated", description="Honest private rows.")
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--rows", type=int, default=1_000)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=_RESULTS)
    given = parser.parse_args()
    lines = [json.loads(line) for line in given.out.read_text().splitlines()] if given.out.exists() else []
    first = 1 + max((one["seed"] for one in lines if one["cell"] == name_of(given.epsilon)), default=-1)
    end = time.monotonic() + 60 * given.minutes
    shared = SharedModels(Synthesis(), Performance())
    shared.writer = Replayed(shared.writer)
    shared.models = replace(shared.models, language_model=shared.writer)
    for seed in range(first, given.runs):
        if time.monotonic() > end:
            break
        line = one_run(shared, given.epsilon, given.rows, seed)
        shared.writer.replaying = True
        with given.out.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, sort_keys=True) + "\n")
        print(line["seed"], line["verdict"], line["failed"], line["seconds"], flush=True)


if __name__ == "__main__":
    main()
