"""Cells of the recipe benchmark: recipe x epsilon x corpus x generation, each one line of JSON, so that slices add up.

A cell that is already there is not run again. Every cell starts from the corpus file and goes through
`privdistill.pipeline.generate`. What is refused or fails is a cell too: the table says so.
"""

import json
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.corpora import Corpus
from benchmarks.quality import circumstances, configured, recorded
from benchmarks.recipe_lines import cells_of
from benchmarks.sharing import SharedModels
from benchmarks.trained import Overheard, overheard
from privdistill import pipeline
from privdistill.config import Performance, RunConfig
from privdistill.errors import PrivdistillError
from privdistill.evaluation.references import zero_shot
from privdistill.evaluation.scores import accuracy, balanced_accuracy, confusion, truth
from privdistill.evaluation.students import STUDENTS
from privdistill.evaluation.students.static import StaticEncoder
from privdistill.evaluation.subsets import Sample, proportional
from privdistill.evaluation.trials import Bench
from privdistill.models.loading import Models

__all__ = ["Cell", "CorpusBench", "Store", "commit", "made_under"]

STUDENT_NAMES = ("words", "encoder", "static")
_LIKELIHOOD_TEXTS = 128
_TRAIN_SIDE = 0.7


@dataclass(frozen=True)
class Cell:
    """What is run once."""

    corpus: str
    recipe: str
    epsilon: float
    rows: int
    generation: int

    def key(self) -> tuple[Any, ...]:
        return (self.corpus, self.recipe, f"{self.epsilon:g}", self.rows, self.generation)


class Store:
    """Lines of JSON, appended as they come."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._path.read_text().splitlines()] if self._path.exists() else []

    def append(self, line: Mapping[str, Any]) -> None:
        with self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line, sort_keys=True, allow_nan=False) + "\n")

    def done(self, commit: str | None) -> set[tuple[Any, ...]]:
        """Keys of what is there already; with a commit, only of what that commit made."""
        return {
            _key(line)
            for line in cells_of(self.lines())
            if line["status"] != "failed" and commit in (None, line["code"]["commit"])
        }


class CorpusBench:
    """One corpus and its encoded test part; runs cells and references on shared models."""

    def __init__(self, corpus: Corpus, shared: SharedModels, performance: Performance) -> None:
        self.corpus, self._shared, self._performance = corpus, shared, performance
        self._static = StaticEncoder.load(shared.folder, shared.models.encoder.tokenizer)
        students = [STUDENTS[name] for name in STUDENT_NAMES]
        self._bench = Bench(students, corpus.labels, self._sample(corpus.test), np.random.default_rng(0))

    def references(self, rows: int, generation: int, done: set[tuple[Any, ...]]) -> Iterator[dict[str, Any]]:
        """The floor (prompts alone), the ceilings (real records), as many real records as rows."""
        rng = np.random.default_rng(generation)
        private = self.corpus.private
        side = [private[i] for i in rng.permutation(len(private))[: round(_TRAIN_SIDE * len(private))]]

        def reference(name: str) -> bool:
            return (
                _key({"corpus": self.corpus.name, "recipe": name, "epsilon": 0, "rows": rows, "generation": generation})
                not in done
            )

        if reference("zero-shot pool"):
            with self._shared.of(generation) as models:
                config = configured(self.corpus, self.corpus.name, 1.0, "distribution", rows, self._performance)
                start = time.monotonic()
                made = zero_shot(
                    models.language_model, self.corpus.labels, config, rows, np.random.default_rng(), lambda *step: None
                )
            seconds = time.monotonic() - start
            yield self._line(
                "zero-shot pool", "public", self._sample(made), rows, generation, seconds=round(seconds, 1)
            )
        if reference("real, train side"):
            yield self._line("real, train side", "non-private reference", self._sample(side), rows, generation)
        if reference("real, random"):
            real = self._sample(side)
            wanted = proportional(real, rows)
            members = real.members()
            part = real.take(np.concatenate([rng.permutation(members[name])[:n] for name, n in wanted.items()]))
            yield self._line("real, random", "non-private reference", part, rows, generation)

    def cell(self, cell: Cell) -> dict[str, Any]:
        """Generate once and train the students on it."""
        with (
            tempfile.TemporaryDirectory() as place,
            self._shared.of(cell.generation) as models,
            recorded("fit_teacher") as teachers,
            overheard() as heard,
        ):
            folder = Path(place)
            self.corpus.write(folder / "private.csv")
            config = configured(
                self.corpus, str(folder / "private.csv"), cell.epsilon, cell.recipe, cell.rows, self._performance
            )
            start = time.monotonic()
            try:
                plan = pipeline.plan(config)
                if plan.refusal is not None:
                    return self._outcome(cell, "refused", reason=plan.refusal)
                run = pipeline.generate(
                    config, run=folder / "run", ledger=str(folder / "ledger"), progress=lambda *step: None
                )
            except PrivdistillError as error:
                return self._outcome(cell, "failed", reason=f"{type(error).__name__}: {error}")
            seconds = time.monotonic() - start
            table = pq.read_table(run / "candidate" / "data.parquet", columns=["text", "label"]).to_pydict()
            claim = json.loads((run / "candidate" / "claim.json").read_text())
            trained = self._trained(heard, models, cell.rows)
        made = self._sample(list(zip(table["text"], table["label"], strict=True)))
        return self._outcome(
            cell,
            "done",
            origin="synthetic",
            scores=self._scores(made),
            teacher=self._taught(teachers[-1]) if teachers else None,
            seconds=round(seconds, 1),
            epsilon_claimed=claim["epsilon"],
            chosen=claim["recipe"],
            **trained,
        )

    def _trained(self, heard: Overheard, models: Models, rows: int) -> dict[str, Any]:
        """Of a recipe that trains the language model: likelihood of test texts, and its texts without any choice."""
        likelihood = heard.likelihood(self.corpus, models, _LIKELIHOOD_TEXTS)
        if likelihood is None:
            return {}
        sampled = self._sample(heard.sampled[:rows])
        return {"likelihood": likelihood, "sampled": {"rows": len(sampled), "scores": self._scores(sampled)}}

    def peer(self, name: str, rows: Sequence[tuple[str, str]], facts: Mapping[str, Any]) -> dict[str, Any]:
        """What another tool made, measured like our own."""
        return self._line(name, "peer", self._sample(rows), len(rows), 0, seconds=facts["seconds"], peer=dict(facts))

    def config(self, cell: Cell) -> RunConfig:
        """What a cell would run, for its plan."""
        return configured(self.corpus, "corpus.csv", cell.epsilon, cell.recipe, cell.rows, self._performance)

    def _line(self, name: str, origin: str, sample: Sample, rows: int, generation: int, **more: Any) -> dict[str, Any]:
        cell = Cell(self.corpus.name, name, 0.0, rows, generation)
        return self._outcome(cell, "done", origin=origin, scores=self._scores(sample), trained_rows=len(sample), **more)

    def _outcome(self, cell: Cell, status: str, **more: Any) -> dict[str, Any]:
        return {
            **cell.__dict__,
            "status": status,
            "metric": self.corpus.metric,
            "test_records": len(self.corpus.test),
            **made_under(self._performance),
            **more,
        }

    def _scores(self, sample: Sample) -> dict[str, dict[str, list[float]]]:
        """Student -> measure -> value and both ends of its interval."""
        trial = self._bench.trial("rows", "synthetic", [sample], lambda *step: None)
        return {
            one.student: {
                name: [round(getattr(getattr(one, name), end), 6) for end in ("value", "low", "high")]
                for name in ("accuracy", "balanced_accuracy", "macro_f1")
            }
            for one in self._bench.table([trial])
        }

    def _taught(self, teacher: Any) -> float:
        """What the DP teacher itself answers on the test records: the corpus's metric."""
        texts, labels = [text for text, _ in self.corpus.test], [label for _, label in self.corpus.test]
        answers = teacher.probabilities(self._shared.models.encoder.encode(texts)).argmax(axis=1)
        table = confusion(truth(labels, self.corpus.labels), answers, len(self.corpus.labels))
        of = accuracy if self.corpus.metric == "accuracy" else balanced_accuracy
        return round(float(of(table)), 6)

    def _sample(self, rows: Sequence[tuple[str, str]]) -> Sample:
        texts = [text for text, _ in rows]
        spaces = {"encoder": self._shared.models.encoder.encode(texts).embeddings, "static": self._static.embed(texts)}
        return Sample(tuple(texts), tuple(label for _, label in rows), spaces)


def made_under(performance: Performance) -> dict[str, Any]:
    """Code, date and machine, as every line has them."""
    around = circumstances(performance)
    return {
        "code": {"commit": commit(), "versions": around["versions"]},
        "date": around["date"],
        "machine": f"{around['processor']}, {around['cores']} cores",
        "pool_factor": performance.pool_factor,
    }


def commit() -> str:
    """Short name of the code's commit; `unknown` outside a repository."""
    asked = ["git", "rev-parse", "--short=10", "HEAD"]
    done = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _key(line: Mapping[str, Any]) -> tuple[Any, ...]:
    return (line["corpus"], line["recipe"], f"{line['epsilon']:g}", line["rows"], line["generation"])
