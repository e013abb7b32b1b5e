"""Weighted training on public texts: likelier what has a positive weight, rarer what has a negative one."""

from pathlib import Path

import numpy as np
import pytest

from privdistill.config import Performance
from privdistill.models.adaptation.weighted import WeightedTraining
from privdistill.models.language_model import LanguageModel
from privdistill.models.relaxation import mean_losses
from tests.conftest import toy_rows

PROMPT = "Notes:\n\n-"


@pytest.fixture(scope="module")
def model(tiny_language_model: Path) -> LanguageModel:
    return LanguageModel.load(tiny_language_model, model_id="tiny", performance=Performance(dtype="float32"))


def test_losses_are_those_of_the_whole_model(model: LanguageModel) -> None:
    texts = [text for text, _ in toy_rows(11)]
    training = WeightedTraining(model, layers=1, rank=4, rate=0.01)
    found = training.losses(training.read(PROMPT, texts))
    assert np.allclose(found, mean_losses(model, PROMPT, texts).numpy(), atol=1e-3)


def test_weights_of_either_sign_move_likelihoods_their_way(model: LanguageModel) -> None:
    texts = [text for text, _ in toy_rows(10)]
    before = mean_losses(model, PROMPT, texts).numpy()
    training = WeightedTraining(model, layers=2, rank=8, rate=0.02)
    reading = training.read(PROMPT, texts)
    weights = np.array([1.0, -1.0] * 5)
    for _ in range(12):
        assert np.array_equal(training.step(reading, lambda losses: weights), weights)
    adapted = model.adapted(training.corrections())
    after = mean_losses(adapted, PROMPT, texts).numpy()
    moved = after - before
    assert moved[::2].mean() < moved[1::2].mean() - 1e-3
    assert np.allclose(training.losses(reading), after, atol=0.02)
    assert np.array_equal(mean_losses(model, PROMPT, texts).numpy(), before), "the public model itself stays as it was"
