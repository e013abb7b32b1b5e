"""`python -m benchmarks.distillation`: soft labels at several temperatures and several teachers, against neither.

One run of `distribution` for each corpus and generation; everything compared is made from its candidates and its one
release, so the variants differ in labels and selection alone. A student of soft labels sees every row once for each
class, weighted by its probability. Accuracies are on the test part, differences are paired by test record. Goes on
where it stopped.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy import sparse

from benchmarks.cells import Store, commit
from benchmarks.corpora import Corpus, load, names
from benchmarks.quality import circumstances, configured
from benchmarks.sharing import SharedModels
from privdistill import pipeline
from privdistill.candidate import softened
from privdistill.config import Performance, Synthesis
from privdistill.recipes import distribution
from privdistill.recipes.distribution import Measured
from privdistill.synthesis.panel import fit_panel
from privdistill.synthesis.selection import Candidates, select

_RESULTS = Path(__file__).parent / "results"
_TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
_BASE = "hard labels, one teacher"
_LEAST_WEIGHT = 1e-3


@contextmanager
def captured() -> Iterator[list[tuple[Candidates, Measured]]]:
    """Keep what the matcher of `distribution` was given."""
    seen: list[tuple[Candidates, Measured]] = []
    original = distribution.herded

    def record(candidates: Candidates, measured: Measured) -> Any:
        seen.append((candidates, measured))
        return original(candidates, measured)

    distribution.herded = record
    try:
        yield seen
    finally:
        distribution.herded = original


def variants(candidates: Candidates, measured: Measured, encoder: Any) -> dict[str, tuple[list[int], np.ndarray]]:
    """Name -> rows chosen and the (rows, K) weights of their labels."""
    target, map_ = measured.target, measured.ground.map_
    classes = np.eye(len(target.counts))
    chosen, owners = select(candidates, target, measured.wanted)
    out = {_BASE: (chosen, classes[owners])}
    for temperature in _TEMPERATURES:
        out[f"soft labels, T = {temperature:g}"] = (chosen, softened(candidates.probabilities[chosen], temperature))
    encoded = encoder.encode(candidates.texts)
    seen = {"moment": map_.moment, "tokens": map_.tokens, "opening": map_.opening}
    panel = fit_panel(measured.release, target, **seen)
    read = replace(candidates, probabilities=panel.probabilities(encoded), disputed=panel.disputed(encoded))
    for drop in (False, True):
        rows, labels = select(replace(read, disputed_last=drop), target, measured.wanted)
        name = "several teachers, disputed rows last" if drop else "several teachers, their mean"
        out[name] = (rows, classes[labels])
    return out


def answers(
    texts: Sequence[str], weights: np.ndarray, test: Sequence[str], encoder: Any, *, student: str
) -> np.ndarray:
    """Classes (n,) that a student trained on weighted labels gives the test texts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    if student == "words":
        words = TfidfVectorizer(ngram_range=(1, 2))
        points, asked, stack = words.fit_transform(texts), words.transform(test), sparse.vstack
    else:
        points, asked, stack = encoder.encode(texts).embeddings, encoder.encode(test).embeddings, np.vstack
    owners = [np.flatnonzero(weights[:, k] > _LEAST_WEIGHT) for k in range(weights.shape[1])]
    labels = np.concatenate([np.full(len(own), k) for k, own in enumerate(owners)])
    weight = np.concatenate([weights[own, k] for k, own in enumerate(owners)])
    model = LogisticRegression(C=1.0, max_iter=1000)
    model.fit(stack([points[own] for own in owners]), labels, sample_weight=weight)
    return np.asarray(model.predict(asked))


def measure(
    corpus: Corpus, shared: SharedModels, generation: int, given: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """One run, and a line for each variant and student."""
    performance = Performance(batch_size=256)
    with tempfile.TemporaryDirectory() as place, shared.of(generation) as models, captured() as seen:
        corpus.write(Path(place) / "corpus.csv")
        path = str(Path(place) / "corpus.csv")
        config = configured(corpus, path, given.epsilon, "distribution", given.rows, performance)
        start = time.monotonic()
        pipeline.generate(
            config, run=Path(place) / "run", ledger=str(Path(place) / "ledger"), progress=lambda *said: None
        )
        seconds = time.monotonic() - start
        ((candidates, measured),) = seen
        encoder = models.encoder
        test = [text for text, _ in corpus.test]
        truth = np.array([corpus.labels.index(label) for _, label in corpus.test])
        around = circumstances(performance)
        made = variants(candidates, measured, encoder)
        for student in ("words", "encoder"):
            right = {
                name: answers([candidates.texts[i] for i in rows], weights, test, encoder, student=student) == truth
                for name, (rows, weights) in made.items()
            }
            for name, hits in right.items():
                ahead = hits.astype(float) - right[_BASE]
                yield {
                    "corpus": corpus.name,
                    "epsilon": given.epsilon,
                    "rows": given.rows,
                    "generation": generation,
                    "variant": name,
                    "student": student,
                    "accuracy": float(hits.mean()),
                    "ahead": float(ahead.mean()),
                    "ahead_standard_error": float(ahead.std(ddof=1) / np.sqrt(len(ahead))),
                    "test_records": len(ahead),
                    "seconds": round(seconds, 1),
                    "code": {"commit": commit(), "versions": around["versions"]},
                    "date": around["date"],
                    "machine": f"{around['processor']}, {around['cores']} cores",
                }


def markdown(lines: Sequence[dict[str, Any]]) -> str:
    """One table a corpus: means over generations, differences with 95 % intervals over test records."""
    first = lines[0]
    text = [
        "# Soft labels and several teachers, against using neither",
        "",
        f"{min(line['date'] for line in lines)[:10]}, {first['machine']}; `python -m benchmarks.distillation`. Recipe",
        "`distribution`; the variants share candidates and release. Accuracy: mean over generations (n = test records",
        "of one). Ahead: paired difference to the first line, mean over generations, with a 95 % normal interval over",
        "test records; that noise and sampling differ between generations is not part of it. A difference",
        "whose interval holds zero is none that was shown.",
    ]
    for corpus, epsilon, rows in sorted({(line["corpus"], line["epsilon"], line["rows"]) for line in lines}):
        of = [line for line in lines if (line["corpus"], line["epsilon"], line["rows"]) == (corpus, epsilon, rows)]
        generations = len({line["generation"] for line in of})
        text += [
            "",
            f"## {corpus}, epsilon {epsilon:g}, {rows} rows, {generations} generations, n = {of[0]['test_records']}",
            "",
            "| variant | TF-IDF | ahead | MiniLM | ahead |",
            "| --- | --- | --- | --- | --- |",
        ]
        for variant in dict.fromkeys(line["variant"] for line in of):
            cells = [variant]
            for student in ("words", "encoder"):
                own = [line for line in of if (line["variant"], line["student"]) == (variant, student)]
                error = 1.96 * np.sqrt(np.mean([line["ahead_standard_error"] ** 2 for line in own]) / len(own))
                ahead = np.mean([line["ahead"] for line in own])
                cells += [f"{np.mean([line['accuracy'] for line in own]):.3f}"]
                cells += ["" if variant == _BASE else f"{ahead:+.3f} ± {error:.3f}"]
            text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.distillation", description="Labels and teachers.")
    parser.add_argument("--corpora", nargs="+", default=["reviews", "questions"], choices=names())
    parser.add_argument("--epsilon", type=float, default=8.0)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--generations", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=60.0, help="begin no further run after so long")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    given = parser.parse_args()
    store, end = Store(given.out / "distillation.jsonl"), time.monotonic() + 60 * given.minutes
    shared = SharedModels(Synthesis(), Performance(batch_size=256))
    for generation in range(given.generations):
        for name in given.corpora:
            key = (name, given.epsilon, given.rows, generation)
            there = {(line["corpus"], line["epsilon"], line["rows"], line["generation"]) for line in store.lines()}
            if key in there or time.monotonic() > end:
                continue
            for line in list(measure(load(name), shared, generation, given)):
                store.append(line)
            (given.out / "distillation.md").write_text(markdown(store.lines()))
            print(key, flush=True)


if __name__ == "__main__":
    main()
