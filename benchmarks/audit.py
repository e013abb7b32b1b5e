"""Power and false alarms of the examiner, on text of your own or on invented sentences.

    python -m benchmarks.audit [--texts FILE.jsonl] [--seeds 10] [--splits 2000] [--side 4000] [--rows 2000]

Prints Markdown: the share of audits that fail per planted leak (verbatim, near-copy, identifiers, none), with the
DCR-share rule and a fixed-similarity rule on the same rows beside it, and the family-wise false-alarm rate over
re-drawn sides of fixed features. FILE has one JSON object with a `text` per line; nothing of it is printed.
"""

import argparse
import json
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from audits.checks.membership import _order, _tops
from audits.evidence import Settings
from audits.examination import Request, examine
from audits.features.alignment import changed_words, nearest, spell
from audits.features.likelihood import likelihood_ratio
from audits.features.rarity import rarity
from audits.features.runs import shared_runs
from audits.features.survivors import surviving
from audits.features.tokens import Vocabulary
from audits.statistics.families import concentration, maximum
from audits.statistics.holm import holm
from audits.statistics.intervals import clopper_pearson
from tests.leaky_generators import sentences

Rows = tuple[list[str], list[str], list[str]]


def no_leak(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    return rows


def verbatim(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    return rows[:-20] + [str(text) for text in rng.choice(train, 20, replace=False)]


def near_copies(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    chosen = [str(text).split() for text in rng.choice(train, 40, replace=False)]
    return rows[:-40] + list(changed_words(chosen, rng))


def identifiers(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    carriers = [text for text in train if "@example" in text]
    found = [text.rsplit(" ", 1)[1] for text in rng.choice(carriers, 20, replace=False)]
    return [f"{row} {found[i]}" if i < 20 else row for i, row in enumerate(rows)]


LEAKS: dict[str, Callable[[list[str], list[str], np.random.Generator], list[str]]] = {
    "none": no_leak,
    "20 rows verbatim": verbatim,
    "40 near-copies (1 word in 12)": near_copies,
    "20 addresses replayed": identifiers,
}


def corpus(texts: list[str] | None, seed: int, side: int, rows: int) -> Rows:
    """Draw disjoint train, holdout and rows; every tenth private record carries an address of its own."""
    rng = np.random.default_rng(seed)
    pool = texts if texts is not None else sentences(2 * side + rows, seed, vocabulary=20_000)
    chosen = [pool[i] for i in rng.permutation(len(pool))[: 2 * side + rows]]
    private = [
        f"{text} write to u{rng.integers(10**9)}@example.org" if i % 10 == 0 else text
        for i, text in enumerate(chosen[: 2 * side])
    ]
    return private[:side], private[side:], chosen[2 * side :]


def audit(train: list[str], holdout: list[str], rows: list[str], seed: int) -> tuple[str, list[str], float]:
    """Run a whole audit; return verdict, failed checks and seconds."""
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        paths = {}
        for name, texts in (("source", train), ("holdout", holdout), ("synthetic", rows)):
            paths[name] = Path(folder) / f"{name}.jsonl"
            paths[name].write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf-8")
        report = examine(Request(**paths, seed=seed, settings=Settings(), plug_ins=False))
    failed = [found.id for found in report.findings if found.status == "fail"]
    return report.verdict, failed, time.perf_counter() - started


def rules(train: list[str], holdout: list[str], rows: list[str]) -> tuple[float, float]:
    """What other tools say: DCR share (alarm above .55), and the share of rows closer than 0.9 (alarm above 1 %)."""
    vocabulary = Vocabulary()
    ours, sides = vocabulary.encode(rows), [vocabulary.encode(train), vocabulary.encode(holdout)]
    spelt = spell(vocabulary.spell(ours))
    near = [nearest(spelt, spell(vocabulary.spell(side))).similarity for side in sides]
    share = float(np.mean(near[0] > near[1]) + 0.5 * np.mean(near[0] == near[1]))
    return share, float(np.mean(near[0] >= 0.9))


def power(texts: list[str] | None, seeds: int, side: int, rows: int) -> None:
    print("| planted | audits that fail | by check | DCR share (rule: > .55) | rows >= .9 similar (rule: > 1 %) |")
    print("| --- | --- | --- | --- | --- |")
    spent = []
    for name, leak in LEAKS.items():
        fails, checks, shares, close = 0, dict[str, int](), [], []
        for seed in range(seeds):
            train, holdout, clean = corpus(texts, seed, side, rows)
            leaky = leak(train, clean, np.random.default_rng(1_000 + seed))
            verdict, failed, seconds = audit(train, holdout, leaky, seed)
            spent.append(seconds)
            fails += verdict == "fail"
            for id in failed:
                checks[id] = checks.get(id, 0) + 1
            if seed < 3:
                one, other = rules(train, holdout, leaky)
                shares.append(one)
                close.append(other)
        low, high = clopper_pearson(fails, seeds)
        by = ", ".join(f"{id} {count}" for id, count in sorted(checks.items())) or "none"
        print(
            f"| {name} | {fails}/{seeds} ({low:.2f} to {high:.2f}) | {by} "
            f"| {np.mean(shares):.3f} | {np.mean(close):.4f} |"
        )
        sys.stdout.flush()
    print(f"\n{side} train, {side} holdout, {rows} rows; {np.median(spent):.1f} s per audit (median).\n")


def false_alarms(texts: list[str] | None, splits: int, side: int, rows: int) -> None:
    train, holdout, clean = corpus(texts, 0, side, rows)
    private = train + holdout
    vocabulary, units = Vocabulary(), np.arange(2 * side)
    source, synthetic = vocabulary.encode(private), vocabulary.encode(clean)
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
    base, single, family = units < side, dict.fromkeys([*flags, "PD301"], 0), 0
    for _ in range(splits):
        sides = rng.permutation(base)
        p_values = {name: concentration(found, sides, rng, redraws=999).p_value for name, found in flags.items()}
        p_values["PD301"] = test.p_value(sides[_order(scores, rng)])
        for name, value in p_values.items():
            single[name] += value <= 0.05
        family += min(holm(p_values).values()) <= 0.05
    upper = clopper_pearson(family, splits, confidence=0.9)[1]
    print(
        f"False alarms over {splits} re-drawn sides of fixed features, nominal 5 %: family-wise {family / splits:.3f}"
    )
    print(
        f"(one-sided 95 % upper bound {upper:.3f}); single: "
        + ", ".join(f"{k} {v / splits:.3f}" for k, v in single.items())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Power and false alarms of the examiner.")
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--splits", type=int, default=2_000)
    parser.add_argument("--side", type=int, default=4_000)
    parser.add_argument("--rows", type=int, default=2_000)
    options = parser.parse_args()
    texts = None
    if options.texts is not None:
        lines = options.texts.read_text(encoding="utf-8").splitlines()
        texts = sorted({json.loads(line)["text"] for line in lines})
    print(f"numpy {np.__version__}, Python {platform.python_version()}, {platform.machine()}\n")
    if options.seeds:
        power(texts, options.seeds, options.side, options.rows)
    if options.splits:
        false_alarms(texts, options.splits, options.side, options.rows)


if __name__ == "__main__":
    main()
