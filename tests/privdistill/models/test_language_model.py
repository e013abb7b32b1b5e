from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from privdistill.config import Performance, RunConfig
from privdistill.errors import AssetError, ConfigError
from privdistill.features.fields import divided
from privdistill.machine import memory
from privdistill.models import language_model
from privdistill.models.guidance import Guidance
from privdistill.models.language_model import LanguageModel

_SETTINGS = {"temperature": 1.0, "top_p": 0.95}


@pytest.fixture(scope="module")
def model(tiny_language_model: Path) -> LanguageModel:
    return LanguageModel.load(
        tiny_language_model, model_id="tiny", performance=Performance(dtype="float32", batch_size=5)
    )


def _only(model: LanguageModel, *tokens: int) -> np.ndarray:
    bias = np.full((1, model.vocabulary_size), -1e4, dtype=np.float32)
    bias[0, list(tokens)] = 0.0
    return bias


def _token(model: LanguageModel, piece: str) -> int:
    return model.pieces.index(piece)


def test_every_prompt_is_continued_once_and_lengths_are_kept(model: LanguageModel) -> None:
    prompts = ["a", "the train", "bright and calm", "the garden by the river"] * 4
    written = model.sample(prompts, max_new_tokens=6, rng=np.random.default_rng(0), **_SETTINGS)
    assert len(written) == len(prompts)
    assert all("\n" not in text for text, _ in written)
    assert any(text for text, _ in written)


def test_a_batch_of_unequal_prompts_scores_as_each_prompt_alone(model: LanguageModel) -> None:
    prompts = ["a", "the train by the river was", "calm", "the garden near the"]
    seen: list[torch.Tensor] = []

    class Watch(Guidance):
        def bend(self, scores: torch.Tensor, texts: torch.Tensor, step: int, last: torch.Tensor) -> None:
            seen.append(scores.clone())

    for one in (prompts, *([prompt] for prompt in prompts)):
        ids = [model._tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in one]
        model._continue(ids, 1, 1.0, 0.9, np.random.default_rng(0), Watch(model._stop, [0] * len(ids)))
    together, alone = seen[0], torch.cat(seen[1:])
    assert torch.allclose(together, alone, atol=1e-4)
    plain = model._model(torch.tensor([model._tokenizer(prompts[1])["input_ids"]])).logits[0, -1]
    assert torch.allclose(together[1], plain[: model.vocabulary_size].detach(), atol=1e-4)


def test_later_steps_score_as_the_whole_text_read_at_once(model: LanguageModel) -> None:
    seen: list[torch.Tensor] = []
    token = _token(model, " the")

    class Force(Guidance):
        def bend(self, scores: torch.Tensor, texts: torch.Tensor, step: int, last: torch.Tensor) -> None:
            seen.append(scores.clone())
            scores.fill_(-1e4)
            scores[:, token] = 0.0

    ids = [model._tokenizer(prompt)["input_ids"] for prompt in ("a", "the train by")]
    model._continue(ids, 3, 1.0, 0.9, np.random.default_rng(0), Force(model._stop, [0, 0]))
    for row in (0, 1):
        whole = model._model(torch.tensor([[*ids[row], token, token]])).logits[0, -1]
        assert torch.allclose(seen[2][row], whole[: model.vocabulary_size].detach(), atol=1e-4)


def test_bias_rows_decide_what_is_written(model: LanguageModel) -> None:
    the, a = _token(model, " the"), _token(model, "a")
    bias = np.vstack([_only(model, the), _only(model, a)])
    written = model.sample(
        ["x", "x", "y"], max_new_tokens=3, rng=np.random.default_rng(0), bias=bias, bias_index=[0, 1, 0], **_SETTINGS
    )
    assert [text for text, _ in written] == [" the the the", "aaa", " the the the"]


def test_opening_bias_holds_for_the_first_tokens_only(model: LanguageModel) -> None:
    the, a = _token(model, " the"), _token(model, "a")
    opening = np.zeros((1, 1, model.vocabulary_size), dtype=np.float32)
    opening[0, 0, a] = 1e6
    written = model.sample(
        ["x"], max_new_tokens=3, rng=np.random.default_rng(0), bias=_only(model, the), opening_bias=opening, **_SETTINGS
    )
    assert written[0][0] == "a the the"


def test_a_line_break_ends_a_text_but_never_begins_one(model: LanguageModel) -> None:
    newline = next(i for i, piece in enumerate(model.pieces) if piece == "\n")
    the = _token(model, " the")
    bias = np.zeros((1, model.vocabulary_size), dtype=np.float32)
    bias[0, the], bias[0, newline] = 1e3, 1e6
    ((text, ended),) = model.sample(["x"], max_new_tokens=4, rng=np.random.default_rng(0), bias=bias, **_SETTINGS)
    assert (text, ended) == (" the", True)


def test_the_same_generator_state_writes_the_same_text(model: LanguageModel) -> None:
    first, second = (
        model.sample(["the train"] * 7, max_new_tokens=8, rng=np.random.default_rng(3), **_SETTINGS) for _ in range(2)
    )
    assert first == second


def test_a_folder_without_a_model_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(AssetError, match="cannot be loaded as a causal language model"):
        LanguageModel.load(tmp_path, model_id="nothing", performance=Performance())


def test_what_speaks_for_a_token_is_spent_once_it_is_written(model: LanguageModel) -> None:
    the = _token(model, " the")
    bias = np.zeros((1, model.vocabulary_size), dtype=np.float32)
    bias[0, the] = 1e4
    settings = {"max_new_tokens": 6, "temperature": 1.0, "top_p": 0.5, "bias": bias}
    written = model.sample(["x"] * 20, rng=np.random.default_rng(0), **settings)
    assert all(text.startswith(" the") and text.count(" the") <= 2 for text, _ in written)
    bias[0, the] = -1e4
    assert not any(" the" in text for text, _ in model.sample(["x"] * 20, rng=np.random.default_rng(0), **settings))


def test_texts_end_only_where_they_may(model: LanguageModel) -> None:
    newline = next(i for i, piece in enumerate(model.pieces) if piece == "\n")
    dot = _token(model, ".")
    opening = np.zeros((1, 9, model.vocabulary_size), dtype=np.float32)
    opening[0, :, newline] = 1e6
    opening[0, 3, dot] = 1e5
    may_end = np.zeros(model.vocabulary_size, dtype=bool)
    may_end[dot] = True
    written = model.sample(
        ["x"] * 10, max_new_tokens=9, rng=np.random.default_rng(0), opening_bias=opening, may_end=may_end, **_SETTINGS
    )
    assert all(text.endswith(".") for text, ended in written if ended)
    assert any(ended for _, ended in written)


@pytest.mark.parametrize("fields", [2, 3])
@pytest.mark.parametrize("mark", [False, True])
def test_a_text_of_fields_is_divided_where_a_field_would_end(
    model: LanguageModel, fields: int, mark: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a divider of several tokens, and of one that the model may write by itself."""
    stop, word, other = (_token(model, piece) for piece in ("\n", "a", " the"))
    if mark:  # let another piece of one token be the divider
        monkeypatch.setattr("privdistill.models.language_model.DIVIDER", "the")
        assert model.token_ids(" the") == [other]
    written = model.sample(
        ["the garden"] * 30, max_new_tokens=200, rng=np.random.default_rng(0), bias=_only(model, stop, word, other),
        bias_index=[0] * 30, fields=fields, **_SETTINGS,
    )  # fmt: skip
    whole = [" ".join(text.split()) for text, ended in written if ended]
    assert len(set(whole)) > 10
    for text in whole:
        parts = text.split("the") if mark else divided(text, fields)
        assert parts is not None, text
        assert len(parts) == fields
        assert all(part.strip() for part in parts)


@pytest.mark.parametrize("where", ["disk", "meta"])
def test_a_model_whose_layers_lie_on_disk_writes_the_same(
    model: LanguageModel, tiny_language_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """`meta` stands for any other device: weights that are not in memory are noticed by whatever looks inside."""
    placed = {name: "cpu" for name, _ in model.network.model.named_children()} | {"lm_head": "cpu"}
    placed.pop("layers")
    placed |= {"model.layers.0": "cpu", "model.layers.1": "disk"}
    spread = {(name if "." in name or name == "lm_head" else f"model.{name}"): at for name, at in placed.items()}
    monkeypatch.setattr(
        language_model, "_placement", lambda performance: {"device_map": spread, "offload_folder": str(tmp_path)}
    )
    performance = Performance(dtype="float32", batch_size=5, device_map="auto")
    other = LanguageModel.load(tiny_language_model, model_id="tiny", performance=performance)
    assert {part.device.type for part in other._model.parameters()} == {"cpu", "meta"}
    if where == "disk":
        prompts = ["a", "the train by the river was", "calm"] * 3
        written = [
            one.sample(prompts, max_new_tokens=6, rng=np.random.default_rng(4), **_SETTINGS) for one in (model, other)
        ]
        assert written[0] == written[1]
        corrections = {"model.layers.1.mlp.up_proj": np.random.default_rng(0).normal(size=(64, 2))}
        adapted = [
            one.adapted(corrections).sample(prompts, max_new_tokens=6, rng=np.random.default_rng(4), **_SETTINGS)
            for one in (model, other)
        ]
        assert adapted[0] == adapted[1] != written[0]
        with pytest.raises(ConfigError, match="adapted before"):
            other.adapted(corrections).adapted(corrections)
        after = other.sample(prompts, max_new_tokens=6, rng=np.random.default_rng(4), **_SETTINGS)
        assert after == written[1], "the public model is what it was"
    else:
        with pytest.raises(ConfigError, match="--device-map cpu"):
            _ = other.network
        assert other.body is other._model
        with pytest.raises(ConfigError, match="it was not trained"):
            other.adapted({})


def test_where_weights_may_lie(tiny_language_model: Path) -> None:
    assert language_model._placement(Performance()) == {}
    placed = language_model._placement(Performance(device_map="auto"))
    assert placed["device_map"] == "auto"
    assert placed["max_memory"]["cpu"] <= (memory() or 0) / 2, "the rest is for everything that is not the model"
    assert Path(placed["offload_folder"]).is_dir()
    fits = LanguageModel.load(tiny_language_model, model_id="tiny", performance=Performance(device_map="auto"))
    assert len(fits.sample(["a"], max_new_tokens=3, rng=np.random.default_rng(0), **_SETTINGS)) == 1


@pytest.mark.parametrize(
    ("synthesis", "said"),
    [
        ({"recipe": "finetune", "tuned_weights": "full"}, "tuned_weights full needs"),
        ({"base_weights": "8-bit"}, "8-bit base weights needs"),
        ({"refinement": "admm"}, "refinement admm needs"),
    ],
)
def test_what_looks_inside_the_model_is_refused_where_it_may_be_spread(synthesis: dict, said: str) -> None:
    told = {"source": {"path": "c.csv"}, "synthesis": synthesis}
    assert RunConfig.model_validate(told)
    with pytest.raises(ValidationError, match=said):
        RunConfig.model_validate(told | {"performance": {"device_map": "auto"}})
