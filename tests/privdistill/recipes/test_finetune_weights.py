"""Recipe `finetune` beyond its default: every number is trained, and a model of which a part lies on disk."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import transformers

from privdistill.mechanisms.release import FinetuneRequest, StatisticRequest
from privdistill.models import language_model
from privdistill.models.language_model import LanguageModel
from privdistill.recipes import finetune
from privdistill.recipes.base import Task
from tests.conftest import toy_rows
from tests.privdistill.recipes.conftest import PERFORMANCE, Bench

pytestmark = pytest.mark.usefixtures("small_training")


@pytest.mark.parametrize("layers", [None, 1])
def test_every_number_may_be_trained(bench: Bench, monkeypatch: pytest.MonkeyPatch, layers: int | None) -> None:
    texts, labels = zip(*toy_rows(150), strict=True)
    adapted: list[LanguageModel] = []
    real = LanguageModel.adapted
    monkeypatch.setattr(LanguageModel, "adapted", lambda *given: adapted.append(real(*given)) or adapted[-1])
    rows, asked, charged = bench.run("finetune", texts, labels, tuned_weights="full", tuned_layers=layers)
    assert len(rows.texts) == 12
    before = {name: one.detach().float().numpy() for name, one in bench.model.network.named_parameters()}
    (tuned,) = adapted
    moved = {
        name
        for name, one in tuned.network.named_parameters()
        if not np.array_equal(one.detach().float().numpy(), before[name])
    }
    trained = {name for name in before if layers is None or ".1." in name or name == "model.norm.weight"}
    assert moved == trained
    assert asked[1].layers == layers
    assert charged[1].dimension == charged[1].steps * sum(before[name].size for name in trained)


def test_rates_of_weights_follow_the_width_of_any_kind_of_configuration() -> None:
    nested = transformers.Gemma3Config(text_config={"hidden_size": 288, "num_hidden_layers": 8})
    plain = transformers.LlamaConfig(hidden_size=576, num_hidden_layers=30)
    wide, embedded = (SimpleNamespace(body=SimpleNamespace(config=one)) for one in (nested, plain))
    for layers in (4, 16):
        assert finetune.learning_rate("low-rank", layers, wide) == 1.5e-2 * 4 / layers
        assert finetune.learning_rate("whole", layers, wide) == 2 * 3e-3 * 4 / layers
        assert finetune.learning_rate("full", layers, embedded) == 3e-3 * 4 / layers
    assert finetune.learning_rate("full", None, wide) == 3e-3
    assert finetune.learning_rate("full", None, embedded) == pytest.approx(4e-4)


def test_the_cells_of_full_training_are_those_of_the_embedded_model() -> None:
    """134,515,008 parameters, 3,540,096 in each of 30 layers, one matrix for embeddings and head."""
    task = Task(True, ("a", "b"), None, {}, None, 12, 100, 8.0, 1e-6, tuned_weights="full")
    assert finetune._cells(task) == 134_515_008
    assert finetune._cells(replace(task, tuned_layers=2)) == 2 * 3_540_096 + 576
    assert finetune._cells(replace(task, tuned_weights="whole", tuned_layers=30)) == 30 * 3_538_944


@pytest.mark.parametrize("weights", ["low-rank", "whole"])
def test_a_model_of_which_a_part_lies_on_disk_is_trained_and_writes(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: str
) -> None:
    texts, labels = zip(*toy_rows(150), strict=True)
    places = {"model.embed_tokens": "cpu", "model.layers.0": "disk", "model.layers.1": "disk", "model.norm": "cpu"}
    places |= {"model.rotary_emb": "cpu", "lm_head": "cpu"}
    monkeypatch.setattr(
        language_model, "_placement", lambda performance: {"device_map": places, "offload_folder": str(tmp_path)}
    )
    spread = LanguageModel.load(bench.located, model_id="tiny", performance=PERFORMANCE)
    assert {one.device.type for one in spread.body.parameters()} == {"cpu", "meta"}
    written: dict[bool, int] = {}
    real = LanguageModel.sample

    def watched(self: LanguageModel, prompts: Sequence[str], **options: object) -> list[tuple[str, bool]]:
        trained = self._corrections is not None
        written[trained] = written.get(trained, 0) + len(prompts)
        return real(self, prompts, **options)

    monkeypatch.setattr(LanguageModel, "sample", watched)
    monkeypatch.setattr(bench, "model", spread)
    rows, asked, _ = bench.run("finetune", texts, labels, tuned_weights=weights)
    assert len(rows.texts) == 12
    assert written[True] > 0
    assert written[False] > 0
    assert [type(one) for one in asked] == [StatisticRequest, FinetuneRequest]
    assert {one.device.type for one in spread.body.parameters()} == {"cpu", "meta"}, "it lies where it lay"
