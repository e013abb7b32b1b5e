"""Models that compute a record by itself are let through, and those that do not, or cannot be cut, are refused."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from privdistill.errors import AssetError
from privdistill.mechanisms import finetuning
from privdistill.models.adaptation import locality
from privdistill.models.adaptation.locality import require_local
from privdistill.models.adaptation.low_rank import round_maps
from privdistill.models.adaptation.tail import Tail
from tests.privdistill.families import FAMILIES, VOCABULARY, make_network
from tests.privdistill.mechanisms.test_finetuning import train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:.*deprecated")

COMMON = {"vocab_size": VOCABULARY, "hidden_size": 16, "num_hidden_layers": 3}
WIDE = {**COMMON, "intermediate_size": 24, "max_position_embeddings": 64, "num_attention_heads": 4}
WIDE["num_key_value_heads"] = 2


def mixture(experts: str) -> Any:
    """A tiny random Mixtral of two experts, computed in the way that transformers calls `experts`."""
    import transformers as tf

    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = tf.MixtralConfig(**WIDE, num_local_experts=2, num_experts_per_tok=1, experts_implementation=experts)
        return tf.MixtralForCausalLM(config).eval()


@pytest.mark.parametrize("rank", [2, None])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("family", FAMILIES)
def test_models_whose_records_are_computed_each_by_itself_pass(
    family: str, dtype: torch.dtype, rank: int | None
) -> None:
    tail = Tail(make_network(family).to(dtype), 2, rank)
    require_local(tail)
    assert all(bool((matrix == 0).all()) and matrix.grad is None for matrix in tail.matrices.values()), "as it was"


@pytest.mark.parametrize("recompute", [False, True])
def test_so_with_rounded_maps_and_with_layers_computed_twice(recompute: bool) -> None:
    network = make_network("llama").to(torch.bfloat16)
    round_maps(network)
    require_local(Tail(network, 2, 2, recompute=recompute))


@pytest.mark.parametrize("experts", ["eager", "grouped_mm"])
def test_a_mixture_of_experts_is_refused_in_whatever_way_it_is_computed(experts: str) -> None:
    with pytest.raises(AssetError, match="choose a dense --model"):
        require_local(Tail(mixture(experts), 2, 2))


def test_it_is_refused_before_anything_is_charged(tmp_path: Any) -> None:
    with pytest.raises(AssetError, match="choose a dense --model"):
        train(tmp_path, network=mixture("eager"), charge=lambda record: pytest.fail("charged"))
    assert not list(tmp_path.glob("*.checkpoint"))


def _bloom(tf: Any) -> Any:
    return tf.BloomForCausalLM(tf.BloomConfig(vocab_size=VOCABULARY, hidden_size=16, n_layer=3, n_head=4))


def _falcon(tf: Any) -> Any:
    return tf.FalconForCausalLM(tf.FalconConfig(**COMMON, num_attention_heads=4))


def _gpt_j(tf: Any) -> Any:
    shape = {"n_embd": 16, "n_layer": 3, "n_head": 4, "n_positions": 64, "rotary_dim": 4}
    return tf.GPTJForCausalLM(tf.GPTJConfig(vocab_size=VOCABULARY, **shape))


def _gpt_neo(tf: Any) -> Any:
    shape = {"hidden_size": 16, "num_layers": 3, "num_heads": 4, "max_position_embeddings": 64}
    kinds = [[["global", "local", "global"], 1]]
    return tf.GPTNeoForCausalLM(tf.GPTNeoConfig(vocab_size=VOCABULARY, attention_types=kinds, **shape))


def _mamba(tf: Any) -> Any:
    return tf.MambaForCausalLM(tf.MambaConfig(**COMMON))


def _phimoe(tf: Any) -> Any:
    return tf.PhimoeForCausalLM(tf.PhimoeConfig(**WIDE, num_local_experts=4, num_experts_per_tok=2))


def _llama_4(tf: Any) -> Any:
    return tf.Llama4ForCausalLM(tf.Llama4TextConfig(**WIDE, num_local_experts=2, head_dim=4, intermediate_size_mlp=24))


@pytest.mark.parametrize("make", [_bloom, _falcon, _gpt_j, _gpt_neo, _mamba, _phimoe, _llama_4])
def test_architectures_that_cannot_be_cut_are_refused_with_a_sentence(make: Callable[[Any], Any]) -> None:
    import transformers as tf

    with pytest.raises(AssetError, match=r"cannot be cut into lower and upper layers \(\w+Error .*choose another"):
        require_local(Tail(make(tf).eval(), 2, 2))


# ------------------------------------------------------------------------------------------------------- planted bugs


class _Planted(torch.nn.Module):
    """The output of a layer, changed by `change`."""

    def __init__(self, layer: torch.nn.Module, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.layer, self.change = layer, change

    def forward(self, hidden_states: torch.Tensor, **named: Any) -> torch.Tensor:
        return self.change(self.layer(hidden_states, **named))


def _mean(hidden: torch.Tensor) -> torch.Tensor:
    return hidden + 1e-3 * hidden.mean(dim=0)


def _by_row(hidden: torch.Tensor) -> torch.Tensor:
    return hidden * torch.linspace(1.0, 1.01, len(hidden))[:, None, None]


def _slope_of_mates(hidden: torch.Tensor) -> torch.Tensor:
    """Forward a record is on its own; backward it is not."""
    mean = hidden.mean(dim=0)
    return hidden + (mean - mean.detach())


def _shape_of_mates(hidden: torch.Tensor) -> torch.Tensor:
    """Bitwise the same, but in a shape that is decided by what all records say."""
    rows = hidden.flatten(0, 1)
    first = int((rows[:, 0] > 0).sum())
    return torch.cat([rows[:first] * 1.0, rows[first:] * 1.0]).view(hidden.shape)


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("change", [_mean, _by_row, _slope_of_mates, _shape_of_mates])
def test_planted_layers_that_mix_records_are_refused(change: Callable, place: int) -> None:
    network = make_network("llama")
    network.model.layers[place] = _Planted(network.model.layers[place], change)
    if change is _slope_of_mates and place == 0:
        return  # below the cut nothing has a slope
    with pytest.raises(AssetError, match="choose a dense --model"):
        require_local(Tail(network, 2, 2))


def test_a_map_that_is_computed_twice_a_record_is_refused() -> None:
    class Twice(_Planted):
        def forward(self, hidden_states: torch.Tensor, **named: Any) -> torch.Tensor:
            return self.layer(self.layer(hidden_states, **named), **named)

    network = make_network("llama")
    network.model.layers[2] = Twice(network.model.layers[2], _mean)
    with pytest.raises(AssetError, match="not computed once for each record"):
        require_local(Tail(network, 2, 2))


def test_the_check_stands_at_the_door_of_the_mechanism(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[SimpleNamespace] = []
    monkeypatch.setattr(finetuning, "require_local", asked.append)
    train(tmp_path)
    assert len(asked) == 1
    assert finetuning.require_local is not locality.require_local
