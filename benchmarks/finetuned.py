"""`python -m benchmarks.finetuned`: one whole run of recipe `finetune`, from the corpus file to rows.

Utility of its rows beside as many zero-shot rows, the likelihood of real held-out text under the trained model beside
the untouched one, and how long all of it took. The test part of the corpus is read for these numbers only.
"""

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.corpora import load
from benchmarks.dpsgd import held_out, spread
from benchmarks.quality import Bench, circumstances, configured
from privdistill import pipeline
from privdistill.config import Performance
from privdistill.mechanisms.release import FinetuneRequest, MechanismRequest, Release
from privdistill.recipes.finetune import FinetuneRecipe

_RESULTS = Path(__file__).parent / "results" / "finetuned.json"


@contextmanager
def overheard() -> Iterator[list[tuple[MechanismRequest, Release]]]:
    """What the recipe asked for and what it was given: the trained numbers are no part of a run's output."""
    said: list[tuple[MechanismRequest, Release]] = []
    original = FinetuneRecipe.run

    def run(self: FinetuneRecipe, context: Any) -> Any:
        steps = original(self, context)
        request = next(steps)
        while True:
            release = yield request
            said.append((request, release))
            try:
                request = steps.send(release)
            except StopIteration as end:
                return end.value

    FinetuneRecipe.run = run  # type: ignore[method-assign]
    try:
        yield said
    finally:
        FinetuneRecipe.run = original  # type: ignore[method-assign]


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Generate once; students, likelihood, time."""
    performance = Performance()
    bench = Bench(load(given.corpus), given.rows, performance)
    corpus, models = bench.corpus, bench.models
    drawn = np.random.default_rng(0).permutation(len(corpus.test))[: given.test]  # which public texts are looked at
    test = [corpus.test[i] for i in drawn]
    with tempfile.TemporaryDirectory() as place, overheard() as said:
        folder = Path(place)
        corpus.write(folder / "private.csv")
        config = configured(corpus, str(folder / "private.csv"), given.epsilon, "finetune", given.rows, performance)
        start, processor = time.monotonic(), time.process_time()
        run = pipeline.generate(config, run=folder / "run", ledger=str(folder / "ledger"), progress=_said)
        seconds = {"wall": time.monotonic() - start, "processor": time.process_time() - processor}
        table = pq.read_table(run / "candidate" / "data.parquet").to_pydict()
        train = pq.read_table(run / "private" / "train.parquet").to_pydict()
        claim = json.loads((run / "candidate" / "claim.json").read_text())
    synthetic = bench.students(list(zip(table["text"], table["label"], strict=True)))
    request, release = next(one for one in said if isinstance(one[0], FinetuneRequest))
    assert isinstance(request, FinetuneRequest)
    before = held_out(models, request, test, None)
    after = held_out(models, request, test, dict(release.payload))
    return {
        "corpus": corpus.name,
        "epsilon": given.epsilon,
        "epsilon_claimed": claim["epsilon"],
        "rows": given.rows,
        "train_records": len(train["text"]),
        "seconds": seconds,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "synthetic": synthetic,
        "zero_shot": bench.zero_shot(),
        "real": bench.students(list(zip(train["text"], train["label"], strict=True))),
        "held_out": {
            "untouched": spread(before),
            "trained": spread(after),
            "gain_per_token": spread([old - new for old, new in zip(before, after, strict=True)]),
            "perplexity": [float(np.exp(np.mean(before))), float(np.exp(np.mean(after)))],
        },
        "circumstances": circumstances(performance),
    }


def _said(stage: str, done: int, total: int) -> None:
    if done == total or stage == "training the generator":
        print(f"{time.strftime('%H:%M:%S')} {stage}: {done} of {total}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.finetuned", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--corpus", default="reviews", choices=("reviews", "questions"))
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--test", type=int, default=400)
    parser.add_argument("--out", type=Path, default=_RESULTS)
    given = parser.parse_args()
    lines = json.loads(given.out.read_text()) if given.out.exists() else []
    lines.append(measure(given))
    given.out.write_text(json.dumps(lines, indent=2) + "\n")
    print(json.dumps({name: lines[-1][name] for name in ("seconds", "synthetic", "zero_shot", "real", "held_out")}))


if __name__ == "__main__":
    main()
