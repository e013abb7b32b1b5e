"""Full training: what is refused by public facts, before any charge, and the memory that it takes."""

import os
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from privdistill.accounting.budget import Sampling
from privdistill.errors import AssetError, ConfigError, PrivacyError
from privdistill.mechanisms import finetuning
from privdistill.mechanisms.checkpoints import Checkpoints
from privdistill.mechanisms.finetuning import release_adapter, require_trainable
from privdistill.mechanisms.release import FinetuneRequest, MechanismRecord
from privdistill.models.adaptation.low_rank import merged, round_maps
from privdistill.models.adaptation.placement import in_memory
from tests.privdistill.families import ToyModel, make_network
from tests.privdistill.mechanisms.test_finetuning import REQUEST, corpus, folder, train
from tests.privdistill.mechanisms.test_full_training import FULL, UPPER
from tests.privdistill.models.adaptation.test_locality import mixture

__all__ = ["folder"]


def refused(folder: Path, request: FinetuneRequest, network: Any) -> None:
    model, (units, encoded) = ToyModel(network), corpus(4)
    release_adapter(
        units, encoded, request, model, noise_multiplier=1.0, sampling=Sampling(0.5, 1),
        charge=lambda record: pytest.fail("charged"), kept=lambda record: None, checkpoints=Checkpoints(folder),
    )  # fmt: skip


def test_eight_bits_are_no_numbers_that_could_be_trained(folder: Path) -> None:
    network = make_network("llama")
    round_maps(network)
    with pytest.raises(AssetError, match="--base-weights full"):
        refused(folder, FULL, network)


def test_a_shortlist_needs_a_frozen_head(folder: Path) -> None:
    with pytest.raises(PrivacyError, match="drop --vocabulary-shortlist"):
        refused(folder, replace(FULL, shortlist=np.arange(30)), make_network("llama"))
    require_trainable(replace(UPPER, shortlist=np.arange(30)), ToyModel(make_network("llama")), 1)


def test_a_tensor_that_takes_no_part_is_not_noised_in_silence(folder: Path) -> None:
    network = make_network("llama")
    network.model.register_parameter("unused", torch.nn.Parameter(torch.zeros(3), requires_grad=False))
    with pytest.raises(AssetError, match=r"1 of \d+ tensors of this model take no part"):
        refused(folder, FULL, network)


def test_a_rank_and_full_training_exclude_each_other(folder: Path) -> None:
    for wrong in (replace(FULL, rank=2), replace(REQUEST, layers=None), replace(REQUEST, rank=None, layers=None)):
        with pytest.raises(AssetError, match="expected full training"):
            refused(folder, wrong, make_network("llama"))


def test_what_lies_below_the_cut_must_not_depend_on_batch_mates(folder: Path) -> None:
    """A mixture of experts below is computed for many records together; where nothing is cut off, none is."""
    with pytest.raises(AssetError, match="depends on the records beside it"):
        refused(folder, replace(UPPER, layers=1), mixture("grouped_mm"))


def test_the_memory_that_is_asked_for_is_what_training_takes(tmp_path: Path) -> None:
    """Six million numbers, two steps, a process of its own: the estimate is above its peak, and not far."""
    if not os.access("/proc/self/clear_refs", os.W_OK):
        pytest.skip("this system does not let a process reset the mark of its peak memory")
    with get_context("fork").Pool(1) as process:
        asked, taken = process.apply(_peak, (tmp_path,))
    assert 0.2 * asked < taken < asked, "the allocator may hold some of it from before"


def _peak(folder: Path) -> tuple[float, float]:
    """Bytes that were asked for without what lies in memory already, and bytes above what the process had at first."""
    config = transformers.LlamaConfig(
        vocab_size=4000, hidden_size=384, intermediate_size=1024, num_hidden_layers=3, num_attention_heads=6
    )
    network = transformers.LlamaForCausalLM(config).eval()
    asked: list[float] = []
    real = finetuning._require_memory

    def noted(*given: Any) -> float:
        asked.append(real(*given) - in_memory(network))
        return real(*given)

    finetuning._require_memory = noted
    train(folder, steps=1, units=corpus(4), request=FULL, network=network)  # what is imported late is there now
    (folder / "generator.checkpoint").unlink()
    before = _resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # resets the mark
    train(folder, steps=2, units=corpus(4), request=FULL, network=network)
    return asked[0], _resident("VmHWM") - before


def _resident(name: str) -> float:
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return int(line.split()[1]) * 1024.0


def test_what_does_not_fit_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finetuning, "memory", lambda: 10)
    with pytest.raises(ConfigError, match="--tuned-layers"):
        refused(folder, FULL, make_network("llama"))


def test_numbers_that_trained_and_frozen_layers_share_are_refused(folder: Path) -> None:
    network = make_network("llama")
    network.model.layers[0].mlp.down_proj.weight = network.model.layers[2].mlp.down_proj.weight
    with pytest.raises(AssetError, match="share numbers with what stays frozen"):
        refused(folder, replace(UPPER, layers=1), network)
    charged: list[MechanismRecord] = []
    release = train(folder, steps=1, units=corpus(4), request=FULL, network=network, charge=charged.append)
    tuned = merged(network, release.payload)
    assert tuned.model.layers[0].mlp.down_proj.weight is tuned.model.layers[2].mlp.down_proj.weight


def test_a_model_that_remembers_what_it_read_before_is_refused(folder: Path) -> None:
    network = make_network("llama")
    longest = [0]

    def remembering(module: Any, given: Any, output: torch.Tensor) -> torch.Tensor:
        longest[0] = max(longest[0], output.shape[1])
        return output * (1 + 1e-3 * longest[0])

    network.model.norm.register_forward_hook(remembering)
    with pytest.raises(AssetError, match="depends on what it read before"):
        refused(folder, FULL, network)
