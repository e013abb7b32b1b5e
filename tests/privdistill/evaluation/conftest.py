"""Planted runs: texts whose class can be read off their words, with toy encoders instead of real models."""

from pathlib import Path

import numpy as np
import pytest

from privdistill.config import RunConfig, Source, Synthesis
from privdistill.evaluation import utility
from privdistill.evaluation.generations import Generation, Generations, Labelled
from privdistill.evaluation.schema import GeneratedRun
from tests.conftest import toy_rows
from tests.privdistill.mechanisms.conftest import ToySentences, ToyTokens

CONFIG = RunConfig(
    source=Source(path="x.csv", label_column="label", labels=("good", "bad")),
    synthesis=Synthesis(rows=200, describe="notes about places"),
)
UNLABELLED = CONFIG.model_copy(update={"source": Source(path="x.csv")})


def quiet(stage: str, done: int, total: int) -> None:
    pass


def labelled(n: int, seed: int, wrong: float = 0.0) -> Labelled:
    """Toy records; a share `wrong` of the labels is drawn by chance."""
    rows, rng = toy_rows(n, seed=seed), np.random.default_rng(seed)
    noise = rng.random(n) < wrong
    labels = tuple(str(rng.choice(["good", "bad"])) if flip else y for (_, y), flip in zip(rows, noise, strict=True))
    groups = tuple("north" if i % 3 else "south" for i in range(n))
    return Labelled(tuple(text for text, _ in rows), labels, groups)


def generation(records: Labelled, name: str = "one", seconds: float = 100.0) -> Generation:
    facts = GeneratedRun(run_id=name, recipe="toy", epsilon=8.0, delta=1e-6, rows=len(records.texts), seconds=seconds)
    return Generation(facts, records.texts, records.labels or ("",) * len(records.texts))


def planted(*seeds: int, config: RunConfig = CONFIG, wrong: float = 0.0, real: bool = True) -> Generations:
    """Runs of 200 rows, made from 500 real records."""
    runs = tuple(generation(labelled(200, seed, wrong), f"run-{seed}") for seed in seeds)
    return Generations(runs, config, labelled(500, 99) if real else None)


@pytest.fixture
def toy_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toy embedders in place of the real ones, and no static table."""
    monkeypatch.setattr(utility.assets, "resolve", lambda *args: Path("."))
    monkeypatch.setattr("privdistill.models.encoder.SentenceEncoder", lambda *args, **kwargs: ToySentences())
    monkeypatch.setattr("privdistill.models.tokenizer.ModelTokenizer", lambda *args, **kwargs: ToyTokens())
