"""Vectors and back: the relaxed encoder agrees with the real one, and what is decoded is near and is text."""

from pathlib import Path

import numpy as np
import pytest
import torch

from privdistill.config import Performance
from privdistill.errors import UsageError
from privdistill.models.encoder import SentenceEncoder
from privdistill.models.language_model import LanguageModel
from privdistill.models.relaxation import Relaxation, decoded, mean_losses
from tests.conftest import toy_rows


@pytest.fixture(scope="module")
def sentences(tiny_encoder: Path) -> SentenceEncoder:
    return SentenceEncoder(tiny_encoder, model_id="tiny", dtype="float32", max_tokens=64)


@pytest.fixture(scope="module")
def model(tiny_language_model: Path) -> LanguageModel:
    return LanguageModel.load(tiny_language_model, model_id="tiny", performance=Performance(dtype="float32"))


def test_texts_of_whole_words_have_the_embedding_of_the_real_encoder(sentences: SentenceEncoder) -> None:
    words = ["the", " bakery", " was", " noisy", "."]
    relaxation = Relaxation(sentences, words)
    vectors = torch.stack([relaxation.table, relaxation.table.roll(1, 0)])
    found = relaxation.embed(vectors, [5, 3]).numpy()
    real = sentences.embed(["the bakery was noisy.", ". the bakery"])
    assert np.allclose(found, real, atol=1e-4)


def test_the_embedding_is_differentiable_in_the_vectors(sentences: SentenceEncoder) -> None:
    relaxation = Relaxation(sentences, ["the", " bakery", " garden"])
    vectors = relaxation.table[None].clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(relaxation.embed(vectors, [2]).sum() + relaxation.embed(vectors, [2])[0, 0], vectors)
    assert slope[0, :2].abs().max() > 0
    assert not slope[0, 2].any(), "a row's padding says nothing"


def test_with_one_neighbour_a_text_is_decoded_to_itself(sentences: SentenceEncoder, model: LanguageModel) -> None:
    relaxation = Relaxation(sentences, model.pieces)
    usable = relaxation.usable[[3, 30, 60, 90]]
    twins = (relaxation.table[relaxation.usable] @ relaxation.table[usable].T).argmax(dim=0)
    vectors = relaxation.table[usable][None]  # (1, 4, D)
    (tokens,) = decoded(model, "Notes:\n\n-", relaxation, vectors, [4], 1).tolist()
    near = [relaxation.nearest(v[None], 1)[0, 0].item() for v in vectors[0]]
    assert tokens == near
    assert twins.shape == (4,)
    (short,) = decoded(model, "Notes:\n\n-", relaxation, vectors, [2], 8).tolist()
    assert short[2:] == [0, 0]
    for position, token in enumerate(short[:2]):
        assert token in relaxation.nearest(vectors[:, position], 8)[0].tolist()


def test_decoding_follows_the_language_model_among_the_nearest(
    sentences: SentenceEncoder, model: LanguageModel
) -> None:
    relaxation = Relaxation(sentences, model.pieces)
    vectors = torch.randn(2, 3, relaxation.table.shape[1], generator=torch.Generator().manual_seed(0))
    tokens = decoded(model, "Notes:\n\n-", relaxation, vectors, [3, 3], 12)
    for i in range(2):
        read = torch.as_tensor([[*model.token_ids("Notes:\n\n-"), *tokens[i, :2].tolist()]])
        with torch.no_grad():
            scores = model.network(read).logits[0, -1]
        near = relaxation.nearest(vectors[i, 2][None], 12)[0]
        assert tokens[i, 2] == near[scores[near].argmax()]


def test_losses_are_those_of_the_text_after_its_prompt(model: LanguageModel) -> None:
    texts = [text for text, _ in toy_rows(5)] + ["a"]
    found = mean_losses(model, "Notes:\n\n-", texts, batch=4)
    alone = torch.cat([mean_losses(model, "Notes:\n\n-", [text]) for text in texts])
    assert torch.allclose(found, alone, atol=1e-4)
    head, own = model.token_ids("Notes:\n\n-"), model.token_ids(" " + texts[0])
    with torch.no_grad():
        odds = torch.log_softmax(model.network(torch.as_tensor([[*head, *own]])).logits[0], dim=1)
    expected = -sum(odds[len(head) - 1 + i, token] for i, token in enumerate(own)) / len(own)
    assert found[0] == pytest.approx(float(expected), abs=1e-4)


def test_an_encoder_without_vectors_is_refused() -> None:
    with pytest.raises(UsageError, match="reads no vectors"):
        Relaxation(object(), ["a"])
