"""Quality: what synthetic rows are worth beside real ones, over corpora, epsilons and whole generations.

Every generation runs `privdistill.pipeline.generate` from the corpus file on. References: students on real data
(train side; all private records), the majority class, the DP teacher, and the zero-shot pool (epsilon 0: prompts and
their labels only). The test part of a corpus is read here and nowhere else.
"""

import json
import platform
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.corpora import Corpus
from privdistill import pipeline
from privdistill.config import Performance, Privacy, RunConfig, Source, Synthesis
from privdistill.evaluation.fidelity import form_of, length_distance
from privdistill.evaluation.intervals import bootstrapped
from privdistill.evaluation.references import zero_shot
from privdistill.evaluation.scores import accuracy, balanced_accuracy, confusion, truth
from privdistill.evaluation.students import train_and_test
from privdistill.features.encoded import TextEncoder
from privdistill.models.loading import Models, load_models
from privdistill.recipes import distribution

Encoded = tuple[list[str], np.ndarray, list[str]]
"""Texts, embeddings, labels."""
_PACKAGES = ("privdistill", "torch", "transformers", "scikit-learn", "numpy", "opendp", "opacus")


class Bench:
    """One corpus, its models, and its encoded test part."""

    def __init__(self, corpus: Corpus, rows: int, performance: Performance) -> None:
        self.corpus, self.rows, self.performance = corpus, rows, performance
        self.models: Models = load_models(Synthesis(), performance, _quiet)
        self.test = self._encoded(corpus.test)
        self._score = balanced_accuracy if corpus.metric == "balanced_accuracy" else accuracy

    def references(self) -> dict[str, Any]:
        """Students on all private records, the majority class, and the zero-shot pool."""
        private = self._encoded(self.corpus.private)
        return {
            "real_all_private": asdict(train_and_test(private, self.test, self._score)),
            "majority": self.corpus.majority(),
            "metric": self.corpus.metric,
            "zero_shot": self.zero_shot(),
        }

    def generation(self, epsilon: float) -> dict[str, Any]:
        """Generate once, train the students, and train them on the very train side that was measured."""
        with tempfile.TemporaryDirectory() as place, recorded("fit_teacher") as made:
            folder = Path(place)
            self.corpus.write(folder / "private.csv")
            config = self._config(folder / "private.csv", epsilon)
            start = time.monotonic()
            run = pipeline.generate(config, run=folder / "run", ledger=str(folder / "ledger"), progress=_quiet)
            seconds = time.monotonic() - start
            table = pq.read_table(run / "candidate" / "data.parquet").to_pydict()
            train = pq.read_table(run / "private" / "train.parquet").to_pydict()
            claim = json.loads((run / "candidate" / "claim.json").read_text())
        texts, labels = table["text"], table["label"]
        real = self._encoded(list(zip(train["text"], train["label"], strict=True)))
        synthetic = self._encoded(list(zip(texts, labels, strict=True)))
        encoded = self._encoder().encode(list(self.test[0]))
        answers = made[-1].probabilities(encoded).argmax(axis=1)
        table = confusion(truth(self.test[2], self.corpus.labels), answers, len(self.corpus.labels))
        scores, intervals = self._scored(synthetic)
        return {
            "synthetic": scores,
            "intervals": intervals,
            "tested": len(self.test[2]),
            "real": asdict(train_and_test(real, self.test, self._score)),
            "teacher": float(self._score(table)),
            "form": asdict(form_of(texts, self.corpus.describe)),
            "length_distance": length_distance(texts, real[0]),
            "rows": len(texts),
            "seconds": round(seconds, 1),
            "epsilon_claimed": claim["epsilon"],
        }

    def _scored(self, rows: Encoded) -> tuple[dict[str, float], dict[str, list[float]]]:
        """Scores of the two students, and of each the 95 % interval over test records."""
        tables: list[np.ndarray] = []

        def score(table: np.ndarray) -> np.ndarray:
            tables.append(table)
            return self._score(table)

        scores = asdict(train_and_test(rows, self.test, score))
        found = [bootstrapped(self._score, table, np.random.default_rng(0)) for table in tables]
        return scores, {name: [one.low, one.high] for name, one in zip(scores, found, strict=True)}

    def _config(self, path: Path, epsilon: float) -> RunConfig:
        return configured(self.corpus, str(path), epsilon, "distribution", self.rows, self.performance)

    def zero_shot(self) -> dict[str, float]:
        """Prompts alone: the same number of rows, labelled by their prompts."""
        config = self._config(Path("corpus.csv"), 1.0)
        model, rng = self.models.language_model, np.random.default_rng()
        rows = zero_shot(model, self.corpus.labels, config, self.rows, rng, _quiet)
        return asdict(train_and_test(self._encoded(rows), self.test, self._score))

    def students(self, rows: Sequence[tuple[str, str]]) -> dict[str, float]:
        """Scores of the students trained on these rows."""
        return asdict(train_and_test(self._encoded(rows), self.test, self._score))

    def _encoder(self) -> TextEncoder:
        return self.models.encoder

    def _encoded(self, rows: Sequence[tuple[str, str]]) -> Encoded:
        texts = [text for text, _ in rows]
        return texts, self._encoder().encode(texts).embeddings, [label for _, label in rows]


def configured(
    corpus: Corpus, path: str, epsilon: float, recipe: str, rows: int, performance: Performance
) -> RunConfig:
    """A run on the private part of a corpus, with everything about it declared."""
    return RunConfig(
        source=Source(
            path=path,
            name=f"benchmark-{corpus.name}",
            label_column="label",
            labels=corpus.labels,
            label_descriptions=dict(corpus.label_descriptions),
            size=corpus.size,
        ),
        privacy=Privacy(epsilon=epsilon, delta=1e-6),
        synthesis=Synthesis(recipe=recipe, rows=rows, describe=corpus.describe),
        performance=performance,
    )


def circumstances(performance: Performance) -> dict[str, Any]:
    """Machine, date and versions."""
    cpuinfo = Path("/proc/cpuinfo")
    names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": names[0] if names else platform.processor(),
        "cores": len(names),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in _PACKAGES},
        "performance": performance.model_dump(mode="json"),
    }


@contextmanager
def recorded(name: str) -> Iterator[list[Any]]:
    """Keep what a function of the recipe returns: the teacher is not part of a run's output."""
    made: list[Any] = []
    original = getattr(distribution, name)

    def record(*args: Any, **options: Any) -> Any:
        made.append(original(*args, **options))
        return made[-1]

    setattr(distribution, name, record)
    try:
        yield made
    finally:
        setattr(distribution, name, original)


def _quiet(stage: str, done: int, total: int) -> None:
    del stage, done, total
