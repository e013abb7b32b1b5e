"""One audit of one cell and seed; re-drawn sides of fixed features; one audit of many long documents for its cost.

Nothing of the texts leaves: what is kept is who failed, p-values and seconds.
"""

import hashlib
import json
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from audits.evidence import Evidence, Settings
from audits.examination import Request, _run, examine
from audits.features.alignment import nearest, spell
from audits.features.likelihood import likelihood_ratio
from audits.features.rarity import rarity
from audits.features.runs import shared_runs
from audits.features.survivors import surviving
from audits.features.tokens import Vocabulary
from audits.inputs.files import Table
from audits.inputs.units import make_source, make_synthetic
from audits.registry import Outcome, load
from audits.split import SplitEvidence
from audits.statistics.families import concentration, maximum
from audits.statistics.holm import holm
from audits.statistics.tops import ranked, tops
from benchmarks.audit.cells import Cell, Corpora
from benchmarks.audit.others import close_rows, dcr_share

__all__ = ["one_audit", "one_long_audit", "redrawn_sides"]

_COMPARED = 10
_LIKELY = {"addresses": "PD401", "verbatim": "PD201", "tail": "PD201", "near": "PD201", "people": "PD201"}


def one_audit(cell: Cell, seed: int) -> dict[str, Any]:
    """Run every check and the correction on one seed, the sides being verified coins.

    Power is left out: it cannot make a fail. Where something is planted, all but the first seeds stop at the first
    check whose p-value is a fail whatever the others say (Holm multiplies the smallest by the number of tests at most).
    """
    corpora = cell.draw(seed)
    started = time.process_time()
    checks = [check for check in load(plug_ins=False)[0] if check.tier == "core" and check.threat_model != "none"]
    checks.sort(key=lambda check: (check.id != _LIKELY.get(cell.kind), check.id))
    given = _evidence(corpora)
    outcomes: dict[str, Outcome | str] = {}
    for check in checks:
        outcome = outcomes[check.id] = _run(check, given, seed)
        surely = isinstance(outcome, Outcome) and (outcome.p_value or 1.0) * len(checks) <= given.settings.alpha
        if surely and outcome.harmful and cell.count and seed >= _COMPARED:
            break
    ran = {id: o for id, o in outcomes.items() if isinstance(o, Outcome)}
    p_values = {id: o.p_value for id, o in ran.items() if o.p_value is not None}
    missing = {f"not run {number}": 1.0 for number in range(len(checks) - len(p_values))}
    adjusted = holm(p_values | missing)
    found: dict[str, Any] = {
        "cell": cell.name,
        "seed": seed,
        "failed": sorted(id for id in p_values if adjusted[id] <= given.settings.alpha and ran[id].harmful),
        "error": sorted(id for id, outcome in outcomes.items() if isinstance(outcome, str)),
        "p": {id: float(f"{value:.4g}") for id, value in sorted(p_values.items())},
        "seconds": round(time.process_time() - started, 1),
    }
    if seed < _COMPARED:
        found["dcr_share"] = round(dcr_share(corpora.train, corpora.holdout, corpora.rows), 4)
        found["close_rows"] = round(close_rows(corpora.train, corpora.rows), 5)
    return found


def _evidence(corpora: Corpora) -> Evidence:
    tables = []
    for name, texts, owners in (
        ("source", corpora.train, corpora.train_owners),
        ("holdout", corpora.holdout, corpora.holdout_owners),
    ):
        columns = {"text": texts} | ({"who": owners} if owners is not None else {})
        tables.append(Table(name, "", columns, len(texts)))
    unit = "who" if corpora.train_owners is not None else None
    digest = hashlib.sha256("\0".join(corpora.rows).encode()).hexdigest()
    return Evidence(
        source=make_source(tables[0], tables[1], "text", unit, by_content=True),
        synthetic=make_synthetic(corpora.rows),
        synthetic_sha256=digest,
        read_claim=None,
        split=SplitEvidence("own", key_given=True, holdout=0.5),
        settings=Settings(),
        key=bytes(32),
    )


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
    test = maximum(tops(2 * side), 2 * side, side, rng)
    base = units < side
    for split in range(splits):
        sides = rng.permutation(base)
        p_values = {name: concentration(found, sides, rng, redraws=999).p_value for name, found in flags.items()}
        p_values["PD301"] = test.p_value(sides[ranked(scores, rng)])
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
        paths = {}
        for name, given in (("source", corpora.train), ("holdout", corpora.holdout), ("synthetic", corpora.rows)):
            paths[name] = Path(folder) / f"{name}.jsonl"
            paths[name].write_text("".join(json.dumps({"text": text}) + "\n" for text in given), encoding="utf-8")
        request = Request(**paths, plug_ins=False, max_bytes=2**31)
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
