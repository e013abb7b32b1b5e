"""The lines of results/audit.jsonl as Markdown: power, false alarms, other tools' rules, cost."""

import importlib.metadata
import math
import os
import platform
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from audits.statistics.holm import holm
from audits.statistics.intervals import clopper_pearson
from benchmarks.audit.cells import CELLS, Cell
from benchmarks.audit.others import COSINE, COSINE_SHARE, DCR_SHARE

__all__ = ["markdown"]

_LEVEL = 0.05
_LIBRARIES = ("numpy", "scipy", "rapidfuzz")
Line = Mapping[str, Any]
GENERATED = "rows of `"
"""How the lines of `benchmarks.audit.generated` begin."""


def markdown(lines: Sequence[Line]) -> str:
    """The whole report."""
    by: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        by[line["cell"]].append(line)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)
    out = [
        "# The examiner, measured",
        "",
        f"{datetime.now(UTC):%Y-%m-%d}, {platform.machine()}, {os.cpu_count()} shared cores, Python "
        f"{platform.python_version()}, {versions}. Made by `make bench-audit`; every audit is a line of `audit.jsonl`.",
        "Film reviews, questions, messages and e-mails are real texts; invented are sentences of a grammar, drawn anew",
        "for every seed. Unless a line says otherwise: 4,000 train units, 4,000 holdout units, 2,000 rows, core tier,",
        "level 5 % after Holm over all checks of a run. Intervals are 95 % Clopper-Pearson.",
        "",
        "## Power",
        "",
        "An audit counts when its verdict is fail. `DCR` and `cosine` are rules of other tools on the same rows: the",
        f"share of rows closer to train than to holdout (alarm above {DCR_SHARE:g}), and the share of rows with a",
        f"TF-IDF cosine of {COSINE:g} or more to a train record (alarm above {COSINE_SHARE:.0%}); alarms of the first",
        "10 seeds, and the mean. By check: of these 10 seeds; later ones stop at the first check that decides.",
        "",
        "| planted | audits that fail | by check | DCR | cosine |",
        "| --- | --- | --- | --- | --- |",
    ]
    out += [_power(cell, by[cell.name]) for cell in CELLS.values() if cell.count and by[cell.name]]
    out += [
        "",
        "## False alarms",
        "",
        "Nothing is planted; all checks and their correction run (power, which cannot make a fail, is left out).",
        "`single` is the share of runs with an uncorrected p <= .05.",
        "",
    ]
    out += ["| corpus | runs that fail | one-sided 95 % upper bound | single | DCR | cosine |"]
    out += ["| --- | --- | --- | --- | --- | --- |"]
    out += [_alarms(cell, by[cell.name]) for cell in CELLS.values() if not cell.count and by[cell.name]]
    for name in sorted(name for name in by if name.startswith(GENERATED)):
        out += _generated(name, by[name])
    out += _redrawn(by["re-drawn sides (reviews)"]) + _cost(by["cost"])
    pending = [f"{c.name} ({len(by[c.name])} of {c.seeds})" for c in CELLS.values() if len(by[c.name]) < c.seeds]
    if pending:
        out += ["", "## Not measured in full", "", *(f"* {cell}" for cell in pending)]
    return "\n".join(out) + "\n"


def _power(cell: Cell, lines: Sequence[Line]) -> str:
    fails = sum(bool(line["failed"]) for line in lines)
    checks = Counter(id for line in lines if "dcr_share" in line for id in line["failed"])
    asked = " (asked: .95)" if cell.asked else ""
    by = ", ".join(f"{id} {count}" for id, count in sorted(checks.items())) or "none"
    return f"| {cell.name}{asked} | {_share(fails, len(lines))} | {by} | {_rule(lines, 'dcr_share', DCR_SHARE)} | " + (
        f"{_rule(lines, 'close_rows', COSINE_SHARE)} |"
    )


def _share(hits: int, n: int) -> str:
    low, high = clopper_pearson(hits, n)
    return f"{hits}/{n} ({low:.3f} to {high:.3f})"


def _rule(lines: Sequence[Line], key: str, limit: float) -> str:
    values = [line[key] for line in lines if key in line]
    return f"{sum(value > limit for value in values)}/{len(values)}, {np.mean(values):.4f}" if values else ""


def _alarms(cell: Cell, lines: Sequence[Line]) -> str:
    fails = sum(bool(line["failed"]) for line in lines)
    upper = clopper_pearson(fails, len(lines), confidence=0.9)[1]
    ids = sorted({id for line in lines for id in line["p"]})
    single = ", ".join(f"{id} {np.mean([line['p'].get(id, 1) <= _LEVEL for line in lines]):.3f}" for id in ids)
    return (
        f"| {cell.name} | {_share(fails, len(lines))} | {upper:.3f} | {single} | "
        f"{_rule(lines, 'dcr_share', DCR_SHARE)} | {_rule(lines, 'close_rows', COSINE_SHARE)} |"
    )


def _generated(name: str, lines: Sequence[Line]) -> list[str]:
    """Honest private rows are no null: how often they are failed is a measurement."""
    fails = sum(bool(line["failed"]) for line in lines)
    upper = clopper_pearson(fails, len(lines), confidence=0.9)[1]
    unclear = sum(line["verdict"] == "inconclusive" for line in lines)
    checks = Counter(id for line in lines for id in line["failed"])
    by = "; by check: " + ", ".join(f"{id} {count}" for id, count in sorted(checks.items())) if checks else ""
    written = sum(bool(line["written_anew"]) for line in lines)
    return [
        "",
        f"{name[:1].upper()}{name[1:]}: whole runs with a split, noise and selection of their own, "
        f"{lines[0]['rows']:,} rows of each examined with power: {_share(fails, len(lines))} fail,",
        f"one-sided 95 % upper bound {upper:.3f}{by}; {unclear} inconclusive. The texts were written in {written} of "
        "these runs and chosen from anew in the others.",
    ]


def _redrawn(lines: Sequence[Line]) -> list[str]:
    if not lines:
        return []
    alarms = sum(min(holm(line["p"]).values()) <= _LEVEL for line in lines)
    upper = clopper_pearson(alarms, len(lines), confidence=0.9)[1]
    single = ", ".join(
        f"{id} {np.mean([line['p'][id] <= _LEVEL for line in lines]):.3f}" for id in sorted(lines[0]["p"])
    )
    return [
        "",
        f"Over {len(lines)} re-drawn sides of the fixed features of one clean corpus (film reviews): family-wise "
        f"{alarms / len(lines):.4f},",
        f"one-sided 95 % upper bound {upper:.4f}; single {single}.",
    ]


def _cost(lines: Sequence[Line]) -> list[str]:
    if not lines:
        return []
    ordered = sorted(lines, key=lambda line: line["seed"])
    out = [
        "",
        "## Cost",
        "",
        "A third each of train, holdout and rows, about 150 words a document; the whole product, one thread of numpy.",
        "",
        "| documents | processor time | time on this shared machine | peak memory | growth exponent |",
        "| --- | --- | --- | --- | --- |",
    ]
    for place, line in enumerate(ordered):
        growth = ""
        if place:
            before = ordered[place - 1]
            ratio = line["processor_seconds"] / before["processor_seconds"]
            growth = f"{math.log(ratio) / math.log(line['seed'] / before['seed']):.2f}"
        out.append(
            f"| {line['seed']:,} | {line['processor_seconds']:.0f} s | {line['seconds']:.0f} s | "
            f"{line['peak_gib']:.2f} GiB | {growth} |"
        )
    return out
