"""What training is refused for by public facts: before any charge, and whatever the corpus."""

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from privdistill.errors import ConfigError, PrivacyError
from privdistill.mechanisms import finetuning
from privdistill.mechanisms.finetuning import require_trainable
from privdistill.models.adaptation import tail as tail_module
from privdistill.models.adaptation.tail import ROWS
from tests.privdistill.families import ToyModel, make_network
from tests.privdistill.mechanisms.test_finetuning import REQUEST, corpus, folder, loss_of, train

__all__ = ["folder"]


def test_gradients_that_do_not_fit_are_refused_before_any_charge(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 1)
    with pytest.raises(ConfigError, match="--tuned-layers"):
        train(folder, charge=lambda record: pytest.fail("charged"))


@pytest.mark.parametrize(
    ("family", "kind", "size"),
    [("llama", torch.float32, 64), ("llama", torch.bfloat16, 32), ("opt-projected", torch.float32, 64)],
)
def test_activations_of_all_declared_records_are_refused_at_their_longest(
    family: str, kind: torch.dtype, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen numbers a position, also where the head is narrower; what the records are is not asked for."""
    model = ToyModel(make_network(family).to(kind))
    positions = finetuning._positions(REQUEST, model)
    taken: list[float] = []
    real = finetuning._require_memory
    with monkeypatch.context() as patch:
        patch.setattr(finetuning, "_require_memory", lambda *given: taken.append(real(*given)) or taken[-1])
        require_trainable(REQUEST, model, 1)
    needed = 10**6 * positions * size + taken[0]
    monkeypatch.setattr(finetuning, "memory", lambda: needed)
    require_trainable(REQUEST, model, 1, 10**6)
    monkeypatch.setattr(finetuning, "memory", lambda: needed - 1)
    require_trainable(REQUEST, model, 1)
    said = f"about 1,000,000 declared records of up to {positions} positions"
    with pytest.raises(ConfigError, match=re.escape(said) + ".*lower --max-tokens"):
        require_trainable(REQUEST, model, 1, 10**6)


@pytest.mark.parametrize("bound", [1, 4])
@pytest.mark.parametrize(
    "more",
    [{}, {"rank": None}, {"rank": None, "full": True}, {"rank": None, "full": True, "layers": None}],
    ids=["low-rank", "whole", "full", "everything"],
)
def test_what_a_pass_of_the_longest_records_holds_is_reckoned_with(
    more: dict[str, Any], bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Persons of many records pass together, and whether a run ends must not depend on how long records are."""
    model, asked = ToyModel(make_network("llama")), list[tuple[Any, ...]]()
    real = finetuning._require_memory
    monkeypatch.setattr(finetuning, "_require_memory", lambda *given: asked.append(given) or real(*given))
    request = replace(REQUEST, **more)
    require_trainable(request, model, bound)
    ((_, way, held),) = asked
    units, encoded = corpus(64, bound)
    tokens = tuple(np.arange(2, 40) for _ in encoded.tokens)
    loss = loss_of("llama", units, replace(encoded, tokens=tokens), request, model.network)
    seen = dict[int, int]()

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            seen[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    part = next(iter(loss.passes(units.spans())))
    records = np.concatenate([np.arange(*span) for span in part])
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        kept = loss(loss.module, records)
    assert (way == "alone") == bool(more.get("full"))
    assert 0 < sum(seen.values()) + kept.nbytes <= held


def test_what_long_rows_hold_is_reckoned_from_shorter_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    tail = loss_of("llama", *corpus(2))._tail
    whole = tail.held(48)
    monkeypatch.setattr(tail_module, "_LOOKED_AT", 16)
    assert tail.held(48) == pytest.approx(whole, rel=0.05)


def test_what_is_kept_is_at_most_what_was_reckoned_with() -> None:
    units, encoded = corpus(60)
    kept = [one.hidden for one in loss_of("llama", units, encoded)._kept if one is not None]
    positions = finetuning._positions(REQUEST, ToyModel(make_network("llama")))
    assert max(len(one) for one in kept) == positions, "and one of them is that long"
    assert all(one.untyped_storage().nbytes() <= positions * 64 for one in kept)


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
        tail, clipping = require_trainable(REQUEST, model, 1)
        assert clipping == "per-unit"
        assert len(tail.matrices) > 0
    after = model.network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
