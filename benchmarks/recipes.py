"""Every recipe on every corpus at every epsilon: `python -m benchmarks.recipes` (or `make bench-recipes`).

Results are appended to `recipes.jsonl` cell by cell; whoever starts it again goes on where it stopped, so it can be run
in slices (`--minutes`, `--recipes`, `--epsilons`, `--corpora`, `--generations`). The table and the plot are made anew
from all lines after every cell. A line for the run itself keeps its wall time: `--fresh --minutes 180` makes all cells
in one go, and the table then says how long that took.
"""

import argparse
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import torch

from benchmarks.cells import Cell, CorpusBench, Store, commit, made_under
from benchmarks.corpora import load, names
from benchmarks.plot import svg
from benchmarks.recipe_lines import WHOLE_RUN
from benchmarks.recipe_table import markdown
from benchmarks.sharing import SharedModels
from privdistill import pipeline
from privdistill.config import Performance, Synthesis
from privdistill.recipes.registry import recipe_names

_RESULTS = Path(__file__).parent / "results"
_ROWS = 200
_EPSILONS = (8.0, 1.0, 4.0, 2.0)
_HOURS = "finetune"
"""One of its cells takes ten minutes to thirty: `make bench-dpsgd` asks for them by name."""
_POOL_FACTOR = 3.0


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    store = Store(given.out / "recipes.jsonl")
    if not given.report_only:
        _run(given, store)
    _report(given.out, store)


def _run(given: argparse.Namespace, store: Store) -> None:
    """Run what is not there yet, and keep how long all of it took."""
    performance = Performance(batch_size=256, pool_factor=given.pool_factor)
    began = made_under(performance)
    start = time.monotonic()
    outcomes = list(_outcomes(given, store, performance, start + 60 * given.minutes))
    seconds, made = time.monotonic() - start, sum(outcomes)
    print(f"{made} cells in {seconds / 60:.1f} minutes of wall time", flush=True)
    if made:
        store.append(
            {
                "start": began.pop("date"),
                **began,
                "origin": WHOLE_RUN,
                "end": made_under(performance)["date"],
                "seconds": round(seconds, 1),
                "cells": made,
                "in_one_go": all(outcomes) and _everything(given),
                "rows": given.rows,
                "generations": given.generations,
                "threads": torch.get_num_threads(),
            }
        )


def _outcomes(given: argparse.Namespace, store: Store, performance: Performance, end: float) -> Iterator[bool]:
    """Of each cell whether this run made it: what was there, what failed and what time was up for, it did not."""
    shared = SharedModels(Synthesis(), performance)
    benches = {}
    for generation in range(given.generations):
        for name in given.corpora:
            benches[name] = bench = benches.get(name) or CorpusBench(load(name), shared, performance)
            done = store.done(commit() if given.fresh else None)
            for line in bench.references(given.rows, generation, done):
                store.append(line)
            for cell in _cells(bench, given, generation):
                if cell.key() in done:
                    yield False
                    continue
                if time.monotonic() > end:
                    print("time is up; start again to go on", flush=True)
                    yield False
                    return
                line = bench.cell(cell)
                store.append(line)
                print(f"{cell} {line['status']} {line.get('seconds', '')} {line.get('scores', '')}", flush=True)
                _report(given.out, store)
                yield line["status"] != "failed"


def _everything(given: argparse.Namespace) -> bool:
    """Whether a run was asked for all corpora, recipes and epsilons, and not for a slice."""
    return not given.recipes and set(given.corpora) == set(names()) and set(given.epsilons) >= set(_EPSILONS)


def _cells(bench: CorpusBench, given: argparse.Namespace, generation: int) -> list[Cell]:
    """Cells of one corpus and generation; recipes that claim nothing are no part of it."""
    found = []
    for epsilon in given.epsilons:
        for recipe in given.recipes or (*(name for name in recipe_names() if name != _HOURS), "auto"):
            cell = Cell(bench.corpus.name, recipe, epsilon, given.rows, generation)
            plan = pipeline.plan(bench.config(cell))
            named = recipe == "auto" and (not given.recipes or plan.recipe.name in given.recipes)
            # What `auto` would do is a cell already; the table says which.
            if plan.budget is not None and not named:
                found.append(cell)
    return found


def _report(out: Path, store: Store) -> None:
    lines = store.lines()
    if lines:
        (out / "recipes.md").write_text(
            markdown(lines, _auto, lambda corpus: load(corpus).majority()), encoding="utf-8"
        )
        (out / "recipes.svg").write_text(svg(lines), encoding="utf-8")


@cache
def _auto(corpus: str, epsilon: float, rows: int) -> str:
    """The recipe that `auto` stands for now; a plan reads no record."""
    from benchmarks.quality import configured

    return pipeline.plan(configured(load(corpus), "corpus.csv", epsilon, "auto", rows, Performance())).recipe.name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.recipes", description="Recipes beside each other.")
    parser.add_argument("--corpora", nargs="+", default=list(names()), choices=names())
    parser.add_argument("--recipes", nargs="+", default=None, metavar="NAME", help=f"default: all but {_HOURS}")
    parser.add_argument("--epsilons", nargs="+", type=float, default=list(_EPSILONS))
    parser.add_argument("--rows", type=int, default=_ROWS)
    parser.add_argument("--pool-factor", type=float, default=_POOL_FACTOR, help="candidates a row; a run writes more")
    parser.add_argument("--generations", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=90.0, help="start no further cell after so long")
    parser.add_argument("--fresh", action="store_true", help="run again what another commit has made")
    parser.add_argument("--report-only", action="store_true", help="table and plot from what is there")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    return parser


if __name__ == "__main__":
    main()
