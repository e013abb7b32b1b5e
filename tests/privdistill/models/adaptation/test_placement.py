"""Models that lie in several places: cut, trained and adapted as if they lay in one."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from privdistill.errors import AssetError, ConfigError
from privdistill.models.adaptation.locality import require_local
from privdistill.models.adaptation.low_rank import merged
from privdistill.models.adaptation.placement import corrected, in_memory, is_spread, settled
from privdistill.models.adaptation.tail import Tail
from tests.privdistill.families import FAMILIES, VOCABULARY, make_network
from tests.privdistill.mechanisms.test_finetuning import REQUEST, corpus, loss_of, train
from tests.privdistill.models.adaptation.test_locality import mixture


def spread(family: str, folder: Path, *, tied: bool = True, kept: bool = False) -> Any:
    """All weights on disk, computed where they are needed; or some of them in memory."""
    from accelerate import disk_offload, dispatch_model

    network = make_network(family, tied=tied)
    if not kept:
        return disk_offload(network, str(folder), execution_device=torch.device("cpu"))
    names = [name for name, part in network.named_modules() if isinstance(part, torch.nn.ModuleList)]
    stack = names[0]
    places = {name: "cpu" for name, part in network.named_modules() if not any(part.children())}
    places = {name: at for name, at in places.items() if not name.startswith(f"{stack}.")}
    places |= {f"{stack}.0": "disk", f"{stack}.1": "cpu", f"{stack}.2": "disk"}
    return dispatch_model(network, places, main_device="cpu", offload_dir=str(folder), force_hooks=True)


def ids() -> torch.Tensor:
    return torch.arange(24).reshape(2, 12) % VOCABULARY


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=ids(), use_cache=False).logits
    return found


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_named_is_in_memory_and_the_model_stays_where_it_is(family: str, tied: bool, tmp_path: Path) -> None:
    plain, far = make_network(family, tied=tied), spread(family, tmp_path, tied=tied)
    assert is_spread(far)
    assert not is_spread(plain)
    where = [part.device.type for part in far.parameters()]
    everything = [name for name, part in far.named_modules() if not any(part.children())]
    near = settled(far, everything)
    assert [part.device.type for part in far.parameters()] == where
    assert not is_spread(near)
    assert torch.equal(logits(near), logits(plain))
    none = settled(far, [])
    assert {part.device.type for part in none.parameters()} == {"meta"}


@pytest.mark.parametrize("rank", [2, None])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_tail_of_a_spread_model_is_that_of_the_model(family: str, rank: int | None, tmp_path: Path) -> None:
    tails = [Tail(network, 2, rank) for network in (make_network(family), spread(family, tmp_path))]
    for tail in tails:
        require_local(tail)
        with torch.no_grad():
            for seed, matrix in enumerate(tail.matrices.values()):
                matrix.copy_(torch.randn(matrix.shape, generator=torch.Generator().manual_seed(seed)) * 0.1)
    with torch.no_grad():
        below = [tail.below(ids()) for tail in tails]
        assert torch.equal(*below)
        assert torch.equal(*(tail.above(one) for tail, one in zip(tails, below, strict=True)))
    assert torch.equal(tails[0].head, tails[1].head)
    assert tails[1].head.device.type == "cpu"


def test_training_of_a_spread_model_moves_every_cell_and_not_the_model(tmp_path: Path) -> None:
    for kept in (False, True):
        folder, private = tmp_path / f"weights-{kept}", tmp_path / f"private-{kept}"
        folder.mkdir()
        private.mkdir()
        network = spread("llama", folder, kept=kept)
        before = logits(network)
        release = train(private, units=corpus(12), network=network)
        assert all(np.abs(one).min() > 0 for one in release.payload.values())
        assert torch.equal(logits(network), before)


@pytest.mark.parametrize("rank", [2, None])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_spread_model_computes_with_corrections_as_a_merged_one_does(
    family: str, rank: int | None, tmp_path: Path
) -> None:
    plain, far = make_network(family), spread(family, tmp_path)
    loss = loss_of(family, *corpus(4), replace(REQUEST, rank=rank), plain)
    corrections = {name: one.detach().double().numpy() for name, one in loss._tail.matrices.items()}
    untouched = logits(far)
    with corrected(far, corrections):
        found = logits(far)
    assert not torch.allclose(found, untouched, atol=1e-2)
    assert torch.allclose(found, logits(merged(plain, corrections)), rtol=1e-4, atol=1e-4 * float(found.abs().max()))
    assert torch.equal(logits(far), untouched), "afterwards it is what it was"


def test_corrections_that_do_not_fit_or_change_nothing_are_refused(tmp_path: Path) -> None:
    far = spread("llama", tmp_path)
    for wrong, said in (
        ({"model.layers.9.mlp.up_proj": np.ones((24, 2))}, "does not have"),
        ({"model.layers.2.mlp.up_proj": np.ones((5, 2))}, "does not fit"),
        ({"model.layers.2.mlp.up_proj": np.zeros((24, 2))}, "it was not trained"),
    ):
        with pytest.raises(ConfigError, match=said), corrected(far, wrong):
            pass
    assert not any(part._forward_hooks for part in far.modules())


def test_a_spread_mixture_of_experts_is_refused_as_one_in_memory_is(tmp_path: Path) -> None:
    from accelerate import disk_offload

    far = disk_offload(mixture("grouped_mm"), str(tmp_path), execution_device=torch.device("cpu"))
    with pytest.raises(AssetError, match="depends on the records beside it"):
        require_local(Tail(far, 2, 2))


def test_bytes_in_memory_are_those_that_wait_there_too(tmp_path: Path) -> None:
    network = make_network("llama")
    everything = sum(one.nbytes for one in network.parameters())
    assert in_memory(network) == everything
    far = spread("llama", tmp_path, kept=True)
    layers = [sum(one.nbytes for one in layer.parameters()) for layer in network.model.layers]
    assert in_memory(far) == everything - layers[0] - layers[2]
    tail = Tail(far, 1, 2)
    head = network.lm_head.weight.nbytes
    assert tail.copied == layers[2] + network.model.norm.weight.nbytes + head
    assert Tail(network, 1, 2).copied == 0


def test_maps_that_are_called_by_keyword_compute_with_their_corrections_too(tmp_path: Path) -> None:
    far = spread("llama", tmp_path)
    part = far.get_submodule("model.layers.2.mlp.up_proj")
    given = torch.ones(1, 2, 16)
    with torch.no_grad(), corrected(far, {"model.layers.2.mlp.up_proj": np.ones((24, 2))}):
        assert torch.equal(part(input=given), part(given))


def test_full_training_needs_the_model_in_memory(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="--device-map cpu"):
        Tail(spread("llama", tmp_path), None, None, full=True)
