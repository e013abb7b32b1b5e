"""`python -m benchmarks.peers`: hand the private rows of a corpus to another tool, and measure what comes back.

    python -m benchmarks.peers --corpus messages --export TRAIN.csv     the rows that a run of ours would read
    python -m benchmarks.peers OUT.csv --corpus messages                the same students, the same test records

The line goes to `recipes.jsonl` as a reference: its epsilon is the other tool's word, by another tool's accounting.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np

from benchmarks.cells import CorpusBench, Store
from benchmarks.corpora import Corpus, load, names
from benchmarks.sharing import SharedModels
from privdistill.config import Performance, Synthesis

_RESULTS = Path(__file__).parents[1] / "results" / "recipes.jsonl"
_TRAIN_SIDE = 0.7


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description="Another tool on the same rows.")
    parser.add_argument("rows", type=Path, nargs="?")
    parser.add_argument("--corpus", choices=names(), required=True)
    parser.add_argument("--export", type=Path, default=None)
    parser.add_argument("--results", type=Path, default=_RESULTS)
    given = parser.parse_args()
    corpus = load(given.corpus)
    if given.export is not None:
        export(corpus, given.export)
        return
    if given.rows is None:
        parser.error("name the rows of another tool, or --export FILE")
    facts = json.loads(given.rows.with_suffix(".json").read_text())
    with given.rows.open(encoding="utf-8", newline="") as stream:
        made = [(row["text"], row["label"]) for row in csv.DictReader(stream) if row["label"] in corpus.labels]
    performance = Performance(batch_size=256)
    bench = CorpusBench(corpus, SharedModels(Synthesis(), performance), performance)
    name = f"{facts['tool']} (epsilon {facts['epsilon_claimed']}, its own account)"
    line = bench.peer(name, made, facts)
    Store(given.results).append(line)
    print(json.dumps(line, indent=2))


def export(corpus: Corpus, path: Path) -> None:
    """As many private rows as a run reads (holdout 0.3)."""
    order = np.random.default_rng(0).permutation(len(corpus.private))[: round(_TRAIN_SIDE * len(corpus.private))]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "label"))
        writer.writerows(corpus.private[i] for i in order)


if __name__ == "__main__":
    main()
