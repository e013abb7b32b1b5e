"""One audit of one cell and seed; re-drawn sides of fixed features; one audit of many long documents for its cost.

Nothing of the texts leaves: what is kept is who failed, p-values and seconds.
"""

import json
import resource
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from audits.checks.membership import _order, _tops
from audits.examination import Request, _findings, _run, examine, read
from audits.features.alignment import nearest, spell
from audits.features.likelihood import likelihood_ratio
from audits.features.rarity import rarity
from audits.features.runs import shared_runs
from audits.features.survivors import surviving
from audits.features.tokens import Vocabulary
from audits.registry import Outcome, load
from audits.statistics.families import concentration, maximum
from audits.statistics.holm import holm
from benchmarks.audit.cells import Cell, Corpora
from benchmarks.audit.others import close_rows, dcr_share

__all__ = ["one_audit", "one_long_audit", "redrawn_sides"]

_COMPARED = 20


def one_audit(cell: Cell, seed: int) -> dict[str, Any]:
    """Audit one seed. Where nothing is planted the whole product runs; else power is not worked out."""
    corpora = cell.draw(seed)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        request = _request(Path(folder), corpora, seed)
        if cell.count:
            findings, verdict = _tested(request), None
        else:
            report = examine(request)
            findings, verdict = report.findings, report.verdict
    found: dict[str, Any] = {
        "cell": cell.name,
        "seed": seed,
        "failed": [f.id for f in findings if f.status == "fail"],
        "error": [f.id for f in findings if f.status == "error"],
        "p": {f.id: float(f"{f.p_value:.4g}") for f in findings if f.p_value is not None},
        "seconds": round(time.process_time() - started, 1),
    }
    if verdict is not None:
        found["verdict"] = verdict
    if seed < _COMPARED:
        found["dcr_share"] = round(dcr_share(corpora.train, corpora.holdout, corpora.rows), 4)
        found["close_rows"] = round(close_rows(corpora.train, corpora.rows), 5)
    return found


def _request(folder: Path, corpora: Corpora, seed: int) -> Request:
    paths = {}
    for name, texts, owners in (
        ("source", corpora.train, corpora.train_owners),
        ("holdout", corpora.holdout, corpora.holdout_owners),
        ("synthetic", corpora.rows, None),
    ):
        lines = ({"text": text, **({"who": owners[i]} if owners is not None else {})} for i, text in enumerate(texts))
        paths[name] = folder / f"{name}.jsonl"
        paths[name].write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    unit = "who" if corpora.train_owners is not None else None
    return Request(**paths, seed=seed, plug_ins=False, unit_column=unit, max_bytes=2**31)


def _tested(request: Request) -> tuple[Any, ...]:
    """The product's checks and correction, without the power of those that do not fail."""
    checks, _ = load(plug_ins=False)
    evidence, _ = read(request)
    outcomes: dict[str, Outcome | str] = {}
    for check in checks:
        outcome = _run(check, evidence, request.seed)
        outcomes[check.id] = replace(outcome, power=None) if isinstance(outcome, Outcome) else outcome
    return _findings(checks, outcomes, evidence)


def redrawn_sides(cell: Cell, splits: int) -> Iterator[dict[str, Any]]:
    """Tests and correction on sides re-drawn over the fixed features of one clean corpus."""
    corpora = cell.draw(0)
    private, side = corpora.train + corpora.holdout, cell.side
    vocabulary, units = Vocabulary(), np.arange(2 * side)
    source, synthetic = vocabulary.encode(private), vocabulary.encode(corpora.rows)
    rare = rarity(source, units, None)
    runs = shared_runs(source, synthetic, rare.bits)
    close = nearest(spell(vocabulary.spell(source)), spell(vocabulary.spell(synthetic))).similarity
    flags = {
        "PD201": np.stack([runs.bits >= b for b in (40, 60, 90, 140)] + [runs.length >= 50, runs.equal], axis=1),
        "PD202": surviving(source, units, synthetic, None, (4, 6, 8), (1, 2, 5)).flags,
        "PD203": close[:, None] >= np.array((0.95, 0.9, 0.85, 0.8, 0.7, 0.6))[None, :],
    }
    scores = likelihood_ratio(source, synthetic, rare)
    rng = np.random.default_rng(0)
    test = maximum(_tops(2 * side), 2 * side, side, rng)
    base = units < side
    for split in range(splits):
        sides = rng.permutation(base)
        p_values = {name: concentration(found, sides, rng, redraws=999).p_value for name, found in flags.items()}
        p_values["PD301"] = test.p_value(sides[_order(scores, rng)])
        yield {
            "cell": f"re-drawn sides ({cell.corpus})",
            "seed": split,
            "p": {name: float(f"{value:.4g}") for name, value in p_values.items()},
            "holm": float(f"{min(holm(p_values).values()):.4g}"),
        }


def one_long_audit(documents: int) -> dict[str, Any]:
    """Audit a third each of train, holdout and rows, of about 150 words; processor time and peak memory."""
    rng = np.random.default_rng(documents)
    words = np.array([f"{a}{b}{c}" for a in _SOUNDS for b in _SOUNDS for c in _SOUNDS])[:40_000]
    weights = 1 / np.arange(3.0, len(words) + 3)
    weights /= weights.sum()
    third = documents // 3

    def texts(count: int) -> list[str]:
        return [" ".join(rng.choice(words, int(size), p=weights)) for size in rng.integers(100, 200, count)]

    corpora = Corpora(texts(third), texts(third), texts(third))
    with tempfile.TemporaryDirectory() as folder:
        request = _request(Path(folder), corpora, 0)
        del corpora
        cpu, wall = time.process_time(), time.perf_counter()
        report = examine(request)
    return {
        "cell": "cost",
        "seed": documents,
        "processor_seconds": round(time.process_time() - cpu, 1),
        "seconds": round(time.perf_counter() - wall, 1),
        "peak_gib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
        "verdict": report.verdict,
    }


_SOUNDS = [c + v for c in "bcdfghjklmnprstvz" for v in "aeiou"]
