"""What each part of `distribution` is worth: `python -m benchmarks.ablation` (or `make bench-ablation`).

Every row is one switch of `benchmarks.switches` on one shared release, so a difference is never the noise of another
draw of the mechanism. Rows that only choose anew share their candidates as well; rows that write anew differ by chance
too, and how much a mere rewrite moves the score is a row of its own. Students are tested on the holdout side of the
private part: the test part of a corpus is not read, and nothing is tuned on it.

Lines are appended to `ablation.jsonl`; whoever starts it again goes on where it stopped.
"""

import argparse
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.ablation_table import markdown
from benchmarks.cells import STUDENT_NAMES, Store, commit
from benchmarks.corpora import load
from benchmarks.quality import circumstances
from benchmarks.reweighting import ROW_WEIGHTS
from benchmarks.shared_release import SharedRelease
from benchmarks.sharing import SharedModels
from benchmarks.switches import SWITCHES, Switch, switched
from privdistill.config import Performance, Synthesis
from privdistill.errors import PrivdistillError
from privdistill.evaluation.scores import right, truth
from privdistill.evaluation.students import STUDENTS
from privdistill.evaluation.students.static import StaticEncoder
from privdistill.evaluation.subsets import Sample
from privdistill.features.words import TERM
from privdistill.recipes.base import Rows

__all__ = ["Study", "main"]

_RESULTS = Path(__file__).parent / "results"
_CORPORA = ("reviews", "questions")
_POOL_FACTOR = 6.0
"""Candidates a row, half of what the recipe writes for 400 rows by its own rule: rows are many, and compare with each
other only if their pools are of one size."""


class Study:
    """One corpus: its shared release, and students tested on its holdout side."""

    def __init__(self, shared: SharedModels, release: SharedRelease) -> None:
        self._shared, self.release = shared, release
        self._static = StaticEncoder.load(shared.folder, shared.models.encoder.tokenizer)
        self._tested = self._sample(release.holdout)
        self._classes = release.corpus.labels
        self._real = truth(self._tested.labels, self._classes)

    def line(self, switch: Switch, redraw: int) -> dict[str, Any]:
        """Make the rows of one switch and test students on them; hits are kept, so that rows can be paired."""
        start = time.monotonic()
        with switched(switch):
            rows = self.release.rows(switch.recipe, switch.refinement, redraw, switch.writes)
        made = time.monotonic() - start
        facts = {name: fact for name, fact in rows.facts.items() if name != ROW_WEIGHTS}
        return {"seconds": round(made, 1), "hits": self._hits(rows, switch.temperature), "facts": facts}

    def _hits(self, rows: Rows, temperature: float | None) -> dict[str, str]:
        made = self._sample(list(zip(rows.texts, rows.labels, strict=True)))
        weights: Any = rows.facts.get(ROW_WEIGHTS)
        found = {}
        for name in STUDENT_NAMES:
            if weights is not None:
                answers = self._weighed(name, made, np.array([weights[text] for text in rows.texts]))
            elif temperature is None or rows.soft_labels is None:
                answers = STUDENTS[name].answer(made, self._tested, self._classes).classes
            else:
                answers = self._softly(name, made, rows, temperature)
            found[name] = packed(right(self._real, answers))
        return found

    def _weighed(self, name: str, made: Sample, weights: np.ndarray) -> np.ndarray:
        """The same student, each row counting as much as its weight."""
        first, second = self._features(name, made)
        model = regression(name)
        model.fit(first, list(made.labels), sample_weight=weights)
        place = {label: k for k, label in enumerate(self._classes)}
        return np.array([place[label] for label in model.predict(second)])

    def _softly(self, name: str, made: Sample, rows: Rows, temperature: float) -> np.ndarray:
        """The same student, each row once for every class, weighed by its probability to the power 1 / temperature."""
        soft = np.asarray(rows.soft_labels)  # (n, K)
        weights = soft ** (1 / temperature)
        weights /= weights.sum(axis=1, keepdims=True)
        first, second = self._features(name, made)
        copies = np.tile(np.arange(len(rows.texts)), soft.shape[1])
        labels = np.repeat(np.arange(soft.shape[1]), len(rows.texts))
        model = regression(name)
        model.fit(first[copies], labels, sample_weight=weights.T.ravel())
        order = [rows.class_names.index(one) for one in self._classes]
        return np.argsort(order)[model.predict(second)]

    def _features(self, name: str, made: Sample) -> tuple[Any, Any]:
        """What a student reads of the rows, and of the records it is tested on."""
        space = STUDENTS[name].space
        return features(name, *(one.texts if space is None else one.spaces[space] for one in (made, self._tested)))

    def _sample(self, rows: Sequence[tuple[str, str]]) -> Sample:
        texts = [text for text, _ in rows]
        spaces = {"encoder": self._shared.models.encoder.encode(texts).embeddings, "static": self._static.embed(texts)}
        return Sample(tuple(texts), tuple(label for _, label in rows), spaces)


def features(name: str, train: Any, test: Any) -> tuple[Any, Any]:
    """What the linear student of that name reads (see `evaluation.students.families`)."""
    if name == "words":
        from sklearn.feature_extraction.text import TfidfVectorizer

        reader = TfidfVectorizer(ngram_range=(1, 2), token_pattern=TERM)
        return reader.fit_transform(train), reader.transform(test)
    if name == "static":
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler().fit(train)
        return scaler.transform(train), scaler.transform(test)
    return train, test


def regression(name: str) -> Any:
    """Its regression."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=0.003 if name == "static" else 1.0, max_iter=1000)


def packed(hits: np.ndarray) -> str:
    """One bit a record, as hexadecimal."""
    return np.packbits(hits.astype(bool)).tobytes().hex()


def main(arguments: Sequence[str] | None = None) -> None:
    given = _parser().parse_args(arguments)
    store = Store(given.out / "ablation.jsonl")
    if not given.report_only:
        _run(given, store)
    lines = store.lines()
    if lines:
        (given.out / "ablation.md").write_text(markdown(lines), encoding="utf-8")


def _run(given: argparse.Namespace, store: Store) -> None:
    performance, end = Performance(batch_size=256, pool_factor=_POOL_FACTOR), time.monotonic() + 60 * given.minutes
    shared = SharedModels(Synthesis(), performance)
    switches = [one for one in SWITCHES if not given.switches or one.name in given.switches]
    for name in given.corpora:
        place = given.work / f"{name}-{given.epsilon:g}-{given.rows}"
        if given.fresh and place.exists():
            shutil.rmtree(place)
        with shared.of(0) as models:
            release = SharedRelease(load(name), given.epsilon, given.rows, models, place, performance)
            study = Study(shared, release)
            drawn = release.drawn()
            for redraw in range(given.redraws):
                for switch in switches:
                    key = {"corpus": name, "epsilon": given.epsilon, "rows": given.rows, "redraw": redraw}
                    key |= {"switch": switch.name, "release": drawn}
                    if any(all(line.get(k) == v for k, v in key.items()) for line in store.lines()):
                        continue
                    if time.monotonic() > end:
                        print("time is up; start again to go on", flush=True)
                        return
                    store.append({**key, **_around(performance, study), **_made(study, switch, redraw)})
                    print(name, switch.name, redraw, flush=True)
                    (given.out / "ablation.md").write_text(markdown(store.lines()), encoding="utf-8")


def _made(study: Study, switch: Switch, redraw: int) -> Mapping[str, Any]:
    try:
        return {"status": "done", **study.line(switch, redraw)}
    except PrivdistillError as error:
        return {"status": "failed", "reason": f"{type(error).__name__}: {error}"}


def _around(performance: Performance, study: Study) -> dict[str, Any]:
    around = circumstances(performance)
    return {
        "tested": len(study.release.holdout),
        "code": {"commit": commit(), "versions": around["versions"]},
        "date": around["date"],
        "machine": f"{around['processor']}, {around['cores']} cores",
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description="What each part is worth.")
    parser.add_argument("--corpora", nargs="+", default=list(_CORPORA), choices=_CORPORA)
    parser.add_argument("--switches", nargs="+", default=None, metavar="NAME", help="default: all of them")
    parser.add_argument("--epsilon", type=float, default=4.0)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--redraws", type=int, default=3, help="pools of candidates, and rewrites")
    parser.add_argument("--minutes", type=float, default=90.0, help="start no further row after so long")
    parser.add_argument("--work", type=Path, default=_RESULTS / "ablation", help="where release and pools are kept")
    parser.add_argument("--fresh", action="store_true", help="draw a new release")
    parser.add_argument("--report-only", action="store_true", help="the table from what is there")
    parser.add_argument("--out", type=Path, default=_RESULTS)
    return parser


if __name__ == "__main__":
    main()
