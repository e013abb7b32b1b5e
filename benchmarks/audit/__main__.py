"""`python -m benchmarks.audit`: measure the examiner in slices, and keep every audit.

Each audit is one line of results/audit.jsonl (who failed, p-values, seconds); a line that is there is not measured
again, so an interrupted benchmark goes on. results/audit.md is made of these lines.
"""

import argparse
import json
import time
from pathlib import Path

from benchmarks.audit.cells import CELLS
from benchmarks.audit.measure import one_audit, one_long_audit, redrawn_sides
from benchmarks.audit.table import markdown

_RESULTS = Path(__file__).parent.parent / "results"
_COST = (10_000, 30_000, 100_000)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.audit", description="Power, false alarms, cost.")
    parser.add_argument("--only", nargs="*", default=None, metavar="WORD", help="cells whose name holds a word")
    parser.add_argument("--seeds", type=int, default=None, help="at most so many seeds a cell")
    parser.add_argument("--splits", type=int, default=2_000, help="re-drawn sides (0: none)")
    parser.add_argument("--cost", type=int, nargs="*", default=_COST, metavar="DOCUMENTS", help="%(default)s")
    parser.add_argument("--minutes", type=float, default=None, help="stop after so many minutes")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    file = given.out / "audit.jsonl"
    lines = [json.loads(line) for line in file.read_text().splitlines()] if file.is_file() else []
    done = {(line["cell"], line["seed"]) for line in lines}
    end = time.monotonic() + 60 * given.minutes if given.minutes is not None else float("inf")

    def keep(line: dict) -> None:
        with file.open("a") as stream:
            stream.write(json.dumps(line, sort_keys=True) + "\n")
        lines.append(line)
        done.add((line["cell"], line["seed"]))

    wanted = [c for c in CELLS.values() if given.only is None or any(word in c.name for word in given.only)]
    for cell in wanted:
        for seed in range(min(cell.seeds, given.seeds or cell.seeds)):
            if (cell.name, seed) not in done and time.monotonic() < end:
                keep(one_audit(cell, seed))
    clean = CELLS["nothing (film reviews)"]
    if given.splits and time.monotonic() < end and ("re-drawn sides (reviews)", given.splits - 1) not in done:
        for line in redrawn_sides(clean, given.splits):
            if (line["cell"], line["seed"]) not in done:
                keep(line)
    for documents in given.cost:
        if ("cost", documents) not in done and time.monotonic() < end:
            keep(one_long_audit(documents))
    (given.out / "audit.md").write_text(markdown(lines))
    print(markdown(lines))


if __name__ == "__main__":
    main()
