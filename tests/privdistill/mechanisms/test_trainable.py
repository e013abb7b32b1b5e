"""What training is refused for by public facts: before any charge, and whatever the corpus."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from privdistill.errors import ConfigError, PrivacyError
from privdistill.mechanisms.finetuning import require_trainable
from privdistill.models.adaptation.tail import ROWS
from tests.privdistill.families import ToyModel, make_network
from tests.privdistill.mechanisms.test_finetuning import REQUEST, corpus, folder, train

__all__ = ["folder"]


def test_gradients_that_do_not_fit_are_refused_before_any_charge(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 1)
    with pytest.raises(ConfigError, match="--tuned-layers"):
        train(folder, charge=lambda record: pytest.fail("charged"))


def test_another_model_and_units_too_large_for_one_pass_are_refused(folder: Path) -> None:
    with pytest.raises(PrivacyError, match="train the declared one"):
        train(folder, request=replace(REQUEST, model="another"))
    with pytest.raises(PrivacyError, match="lower --contribution-bound"):
        train(folder, units=corpus(ROWS + 1, ROWS + 1))


@pytest.mark.parametrize("family", ["gpt2", "opt", "llama"])
def test_texts_that_may_not_fit_into_the_positions_are_refused_whatever_the_corpus(family: str, folder: Path) -> None:
    """Else whether a run ends would depend on the longest record."""
    few = corpus(4)  # short records, all of them
    network, charged = make_network(family), (lambda record: pytest.fail("charged"))
    with pytest.raises(PrivacyError, match="this model has 64; lower --max-tokens"):
        train(folder, units=few, request=replace(REQUEST, max_tokens=80), network=network, charge=charged)


def test_looking_ahead_leaves_the_model_as_it_was() -> None:
    model = ToyModel(make_network("llama"))
    before = {name: weight.clone() for name, weight in model.network.state_dict().items()}
    for _ in range(2):
        tail, ghost = require_trainable(REQUEST, model, 1)
        assert not ghost
        assert len(tail.matrices) > 0
    after = model.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
