"""The cut of a model in two: both parts are the whole, frozen weights stay, adapters merge; wrong cuts are refused."""

import pytest
import torch

from privdistill.errors import AssetError, ConfigError
from privdistill.models.adaptation import tail as tail_module
from privdistill.models.adaptation.low_rank import merged
from privdistill.models.adaptation.tail import ROWS, Tail, padded_length
from tests.privdistill.families import FAMILIES, VOCABULARY, make_network

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def _ids(rows: int = 3, length: int = 9) -> torch.Tensor:
    return torch.randint(1, VOCABULARY, (rows, length), generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("layers", [1, 3])
@pytest.mark.parametrize("family", FAMILIES)
def test_lower_and_upper_layers_are_the_whole_model(family: str, layers: int) -> None:
    network = make_network(family)
    tail = Tail(network, layers, rank=2)
    with torch.no_grad():
        whole = network(input_ids=_ids(), use_cache=False).logits
        parts = torch.nn.functional.linear(tail.above(tail.below(_ids())), tail.head, tail.head_bias)
    assert torch.allclose(parts, whole, atol=1e-4)
    assert all(f".{i}." in name for name in tail.matrices for i in [name.split(".")[-3]] if i.isdigit())
    layer_numbers = {int(part) for name in tail.matrices for part in name.split(".") if part.isdigit()}
    assert layer_numbers == set(range(3 - layers, 3))


@pytest.mark.parametrize("rank", [3, None])
@pytest.mark.parametrize("family", FAMILIES)
def test_trained_adapters_merge_into_the_model(family: str, rank: int | None) -> None:
    network = make_network(family)
    before = {name: parameter.clone() for name, parameter in network.named_parameters()}
    tail = Tail(network, 2, rank=rank)
    trained = sum(matrix.numel() for matrix in tail.matrices.values())
    weights = sum(network.get_submodule(name).weight.numel() for name in tail.matrices)
    assert (trained == weights) == (rank is None), "whole weights, or fewer numbers"
    with torch.no_grad():
        for seed, matrix in enumerate(tail.matrices.values()):
            matrix.copy_(torch.randn(matrix.shape, generator=torch.Generator().manual_seed(seed)))
        adapted = tail.above(tail.below(_ids()))
        plain = merged(network, {name: matrix.double().numpy() for name, matrix in tail.matrices.items()})
        logits = plain(input_ids=_ids(), use_cache=False).logits
        assert torch.allclose(torch.nn.functional.linear(adapted, tail.head, tail.head_bias), logits, atol=1e-3)
        assert not torch.allclose(logits, network(input_ids=_ids(), use_cache=False).logits, atol=0.1)
    # Neither the cut nor the merge touched the original, and tied or positional embeddings are never trained.
    assert all(torch.equal(parameter, before[name]) for name, parameter in network.named_parameters())
    assert not [name for name in tail.matrices if "emb" in name or "wte" in name or "wpe" in name or "head" in name]
    assert plain.get_input_embeddings().weight is network.get_input_embeddings().weight


@pytest.mark.parametrize("family", ["gpt2", "opt", "opt-projected"])
def test_positions_that_would_be_added_twice_are_noticed(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "_silence", lambda model: None)
    with pytest.raises((AssetError, RuntimeError)):
        Tail(make_network(family), 1, rank=2)


def test_more_layers_than_there_are_is_an_error() -> None:
    with pytest.raises(AssetError, match="expected 1 to 3 layers"):
        Tail(make_network("llama"), 4, rank=2)


def test_an_adapter_of_another_model_or_an_untrained_one_is_refused() -> None:
    network = make_network("llama")
    matrices = {name: matrix.detach().double().numpy() for name, matrix in Tail(network, 1, rank=2).matrices.items()}
    with pytest.raises(ConfigError, match="was not trained"):
        merged(network, matrices)
    with pytest.raises(ConfigError, match="does not have"):
        merged(make_network("gpt2"), matrices)


def test_activations_are_bitwise_a_function_of_the_sequence() -> None:
    tail = Tail(make_network("llama"), 1, rank=2)
    length = padded_length(9)
    batch = torch.zeros((ROWS, length), dtype=torch.long)
    batch[:, :9] = torch.randint(1, VOCABULARY, (ROWS, 9), generator=torch.Generator().manual_seed(4))
    mates = batch.clone()
    mates[5:] = batch[5:].flip(0)
    mates[0], mates[4] = batch[4], batch[0]
    alone = torch.zeros_like(batch)
    alone[7] = batch[0]
    first = tail.below(batch)[0]
    assert torch.equal(first, tail.below(mates)[4])
    assert torch.equal(first, tail.below(alone)[7])
