"""Runs a recipe with tiny models behind a real door: planned, charged, noised."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from privdistill.config import Performance, Privacy, RunConfig, Source, Synthesis
from privdistill.features.encoded import TextEncoder
from privdistill.mechanisms.door import Door
from privdistill.mechanisms.release import MechanismRecord, MechanismRequest, PrivateUnits, Release
from privdistill.models.encoder import SentenceEncoder
from privdistill.models.language_model import LanguageModel
from privdistill.models.tokenizer import ModelTokenizer
from privdistill.planning import make_plan
from privdistill.recipes import distribution, finetune
from privdistill.recipes.base import Context, Rows, converse

PERFORMANCE = Performance(dtype="float32", batch_size=64, pool_factor=1.5)


class Bench:
    """Tiny models; remembers what was asked and charged."""

    def __init__(self, language_model: Path, encoder: Path, private: Path) -> None:
        self.private, self.located = private, language_model
        self.encoder = TextEncoder(
            SentenceEncoder(encoder, model_id="tiny", dtype="float32", max_tokens=64),
            ModelTokenizer(language_model, model_id="tiny"),
            64,
        )
        self.model = LanguageModel.load(language_model, model_id="tiny", performance=PERFORMANCE)

    def _fresh(self) -> Path:
        """A folder for what a run keeps to itself."""
        folder = self.private / str(len(list(self.private.iterdir())))
        folder.mkdir()
        return folder

    def run(
        self,
        recipe: str,
        texts: Sequence[str],
        labels: Sequence[str] | None,
        *,
        names: tuple[str, ...] | None = None,
        rows: int = 12,
        epsilon: float = 8.0,
        **synthesis: Any,
    ) -> tuple[Rows, list[MechanismRequest], list[MechanismRecord]]:
        """Rows, requests and charged mechanisms of one run; `synthesis`: settings beside the usual ones."""
        declared = names or (tuple(sorted(set(labels))) if labels else None)
        config = RunConfig(
            source=Source(path="nowhere", label_column="label" if labels else None, labels=declared, size=len(texts)),
            privacy=Privacy(epsilon=epsilon),
            synthesis=Synthesis(recipe=recipe, rows=rows, describe="short remarks", **synthesis),
            performance=PERFORMANCE,
        )
        plan = make_plan(config)
        unit_of = np.arange(len(texts), dtype=np.int64)
        units = PrivateUnits(tuple(texts), tuple(labels) if labels else None, unit_of, "record", 1)
        charged: list[MechanismRecord] = []
        asked: list[MechanismRequest] = []
        door = Door(units, self.encoder, plan.budget, charged.append, model=self.model, private=self._fresh())

        def answer(request: MechanismRequest) -> Release:
            asked.append(request)
            return door.answer(request)

        context = Context(
            plan.task,
            {planned.name: planned.noise_multiplier for planned in plan.mechanisms},
            self.encoder,
            self.model,
            PERFORMANCE,
            np.random.default_rng(0),
            lambda *_: None,
        )
        return converse(plan.recipe, context, answer), asked, charged


@pytest.fixture(scope="session")
def bench(tiny_language_model: Path, tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tiny_language_model, tiny_encoder, tmp_path_factory.mktemp("private"))


@pytest.fixture
def small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained model writes as long as it may: keep its zero-shot pool small."""
    monkeypatch.setattr(distribution, "_PUBLIC_TEXTS", (48, 48))
    monkeypatch.setattr(distribution, "_PUBLIC_TOKENS", 12)


@pytest.fixture
def small_training(small_pool: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny model has two layers, and a few steps are enough to see that they are taken."""
    monkeypatch.setattr(finetune, "_LAYERS", 1)
    monkeypatch.setattr(finetune, "_EPOCHS", 1.0)
    monkeypatch.setattr(finetune, "_POOL_TOKENS", 12)
