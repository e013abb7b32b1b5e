"""`python -m benchmarks`: measure quality, print the table, keep JSON and markdown after every generation.

A corpus that is measured replaces what was kept of it, or is added to it (`--add`); the others stay, each with what it
was measured under.
"""

import argparse
import json
from pathlib import Path

from benchmarks.cells import commit
from benchmarks.corpora import load
from benchmarks.quality import Bench, circumstances
from benchmarks.table import markdown
from privdistill.config import Performance

_SETTINGS = ["reviews:8", "questions:8", "messages:8", "reviews:1"]
_RESULTS = Path(__file__).parent / "results"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Quality of synthetic rows.")
    parser.add_argument("--settings", nargs="+", default=_SETTINGS, metavar="CORPUS:EPSILON", help="%(default)s")
    parser.add_argument("--generations", type=int, default=3)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--pool-factor", type=float, default=None)
    parser.add_argument("--add", action="store_true", help="add to the generations that are kept of these corpora")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    given = parser.parse_args()
    performance = Performance(batch_size=256, pool_factor=given.pool_factor)
    given.out.mkdir(parents=True, exist_ok=True)
    kept = given.out / "quality.json"
    results: dict = json.loads(kept.read_text()) if kept.exists() else {"rows": given.rows, "corpora": {}}
    if results["rows"] != given.rows:
        parser.error(f"{kept} holds {results['rows']} rows; name another folder with --out")
    settings = [(name, float(epsilon)) for name, _, epsilon in (one.partition(":") for one in given.settings)]
    benches = {name: Bench(load(name), given.rows, performance) for name, _ in settings}
    begun = set(results["corpora"]) if given.add else set[str]()
    for _ in range(given.generations):  # round by round, so that an interrupted benchmark covers every setting
        for name, epsilon in settings:
            made = benches[name].generation(epsilon) | {"commit": commit()}
            if name not in begun:  # what was kept of a corpus stays until there is something to put in its place
                begun.add(name)
                around = {"circumstances": circumstances(performance), "commit": commit()}
                results["corpora"][name] = {**around, "references": benches[name].references(), "epsilon": {}}
            results["corpora"][name]["epsilon"].setdefault(f"{epsilon:g}", []).append(made)
            kept.write_text(json.dumps(results, indent=2) + "\n")
            (given.out / "quality.md").write_text(markdown(results))
            print(markdown(results), flush=True)


if __name__ == "__main__":
    main()
