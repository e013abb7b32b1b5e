"""The spaces that students read: what each stands on, and when another encoder is not another one."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import BertModel

from privdistill.config import Performance, RunConfig, Source, Synthesis
from privdistill.errors import AssetError
from privdistill.evaluation.students.seen import SEEN, seen_students
from privdistill.evaluation.students.spaces import Space, coincide, open_spaces, same_encoder, same_weights
from tests.conftest import toy_rows
from tests.privdistill.evaluation.conftest import quiet

TEXTS = [text for text, _ in toy_rows(30, seed=3)]


def opened(encoder: Path, model: Path, other: Path | None, static: bool = True) -> tuple[dict[str, Space], list[str]]:
    notes: list[str] = []
    synthesis = Synthesis(encoder=str(encoder), model=str(model))
    found = open_spaces(
        synthesis,
        Performance(dtype="float32"),
        static=static,
        other=None if other is None else str(other),
        notes=notes,
        progress=quiet,
    )
    return found, notes


def is_the_same(spaces: dict[str, Space]) -> bool:
    return same_encoder(spaces, {name: space.embed(TEXTS) for name, space in spaces.items()})


def test_every_space_names_what_it_stands_on_and_no_path(
    tiny_encoder: Path, tiny_language_model: Path, other_tiny_encoder: Path
) -> None:
    spaces, notes = opened(tiny_encoder, tiny_language_model, other_tiny_encoder)
    assert not notes
    assert {name: space.stands_on for name, space in spaces.items()} == {
        "encoder": tiny_encoder.name,
        "static": f"the input table of {tiny_language_model.name}, which wrote the rows",
        "other": other_tiny_encoder.name,
    }
    assert spaces["other"].embed(TEXTS).shape == (30, 32)
    assert set(opened(tiny_encoder, tiny_language_model, None, static=False)[0]) == {"encoder"}


def test_other_weights_are_another_encoder(
    tiny_encoder: Path, tiny_language_model: Path, other_tiny_encoder: Path
) -> None:
    assert not same_weights(tiny_encoder, other_tiny_encoder)
    assert not is_the_same(opened(tiny_encoder, tiny_language_model, other_tiny_encoder)[0])
    assert not is_the_same(opened(tiny_encoder, tiny_language_model, None)[0])


def test_a_copy_under_another_name_is_the_same_encoder_and_so_is_one_saved_in_another_type(
    tiny_encoder: Path, tiny_language_model: Path, tmp_path: Path
) -> None:
    renamed, rounded = tmp_path / "renamed", tmp_path / "rounded"
    shutil.copytree(tiny_encoder, renamed)
    (renamed / "model.safetensors").rename(renamed / "weights.safetensors")
    assert same_weights(tiny_encoder, renamed)
    shutil.copytree(tiny_encoder, rounded)
    BertModel.from_pretrained(tiny_encoder).to(torch.bfloat16).save_pretrained(rounded)
    assert not same_weights(tiny_encoder, rounded), "only what it says gives it away"
    for copy in (tiny_encoder, rounded):
        assert is_the_same(opened(tiny_encoder, tiny_language_model, copy)[0])


def test_folders_without_weights_and_embeddings_of_other_sizes_prove_nothing(tmp_path: Path) -> None:
    assert not same_weights(tmp_path, tmp_path)
    assert not same_weights(None, None)
    points = np.eye(4, dtype=np.float32)
    assert coincide(points, 2 * points)
    assert not coincide(points, points[:, :3])
    assert not coincide(points[:0], points[:0])


def test_an_encoder_that_cannot_be_had_is_an_error(
    tiny_encoder: Path, tiny_language_model: Path, tmp_path: Path
) -> None:
    with pytest.raises(AssetError, match="no model"):
        opened(tiny_encoder, tiny_language_model, tmp_path / "nowhere")


@pytest.mark.parametrize("recipe", [*SEEN, "a recipe of another package"])
def test_the_encoder_of_the_run_under_another_name_is_as_seen_as_under_its_own(recipe: str) -> None:
    settings = RunConfig(source=Source(path="x")).synthesis
    seen = seen_students([recipe], settings, same_encoder=True)
    assert ("other" in seen) is ("encoder" in seen)
    unseen = seen_students([recipe], settings)
    assert ("other" in unseen) is (recipe not in SEEN), "of an unknown recipe everything is believed"
