"""Linear maps in eight bits: how far a weight moves, what is saved, and that nothing looks at the rest of a batch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from privdistill.config import Performance, Synthesis
from privdistill.models.adaptation.eight_bit import EightBit
from privdistill.models.adaptation.low_rank import linear_maps, merged, round_maps
from privdistill.models.adaptation.tail import Tail
from privdistill.models.language_model import LanguageModel
from privdistill.models.loading import load_models
from tests.privdistill.families import FAMILIES, VOCABULARY, make_network
from tests.privdistill.mechanisms import test_finetuning
from tests.privdistill.mechanisms.test_finetuning import REQUEST, gradient_is_its_own

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Full backward hook is firing"),
]


def _rounded(family: str) -> object:
    network = make_network(family)
    round_maps(network)
    return network


def _ids() -> torch.Tensor:
    return torch.randint(1, VOCABULARY, (3, 9), generator=torch.Generator().manual_seed(3))


@given(seed=st.integers(0, 10**6), size=st.floats(1e-6, 1e4), outlier=st.floats(0, 1e3))
def test_no_weight_moves_by_more_than_half_a_step_of_its_row(seed: int, size: float, outlier: float) -> None:
    weight = torch.randn((5, 7), generator=torch.Generator().manual_seed(seed)) * size
    weight[0, 0] *= outlier
    weight[3] = 0.0
    map_ = EightBit(weight, None)
    step = map_.scale[:, None]
    assert bool(((map_.weight - weight).abs() <= step / 2 * (1 + 1e-5)).all())
    largest = weight.abs().amax(dim=1)
    assert torch.allclose(map_.scale[largest > 0] * 127, largest[largest > 0])
    assert not map_.weight[3].any()


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_the_product_and_its_slope_are_those_of_the_rounded_weights(kind: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(0)
    map_ = EightBit(torch.randn((6, 9), generator=draw).to(kind), torch.randn(6, generator=draw).to(kind))
    x = torch.randn((2, 3, 9), generator=draw).to(kind).requires_grad_()
    plain = map_.full()
    found, wanted = map_(x), plain(x)
    assert found.dtype == kind
    tolerance = 1e-5 if kind == torch.float32 else 0.05
    assert torch.allclose(found, wanted, atol=tolerance)
    slope = torch.randn((2, 3, 6), generator=draw).to(kind)
    (first,), (second,) = (torch.autograd.grad(one, x, slope) for one in (found, wanted))
    assert torch.allclose(first, second, atol=tolerance)


def test_maps_take_about_half_the_memory_of_bfloat16() -> None:
    weight = torch.randn(1536, 576).bfloat16()
    map_ = EightBit(weight, None)
    held = sum(one.untyped_storage().nbytes() for one in (*map_.parameters(), *map_.buffers()))
    assert held <= 0.51 * weight.untyped_storage().nbytes()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_map_but_the_head_is_rounded_and_the_model_says_nearly_the_same(family: str) -> None:
    network, rounded = make_network(family), _rounded(family)
    head = rounded.get_output_embeddings()
    assert isinstance(head, torch.nn.Linear)
    assert all(isinstance(part, EightBit) for part in linear_maps(rounded).values() if part is not head)
    assert len(linear_maps(rounded)) == len(linear_maps(network))
    for one in ("get_input_embeddings", "get_output_embeddings"):
        assert torch.equal(getattr(rounded, one)().weight, getattr(network, one)().weight)
    with torch.no_grad():
        first, second = (model(input_ids=_ids(), use_cache=False).logits for model in (network, rounded))
    assert 0 < float((first - second).abs().max()) < 0.2 * float(first.std())


@pytest.mark.parametrize("family", FAMILIES)
def test_adapters_on_rounded_maps_merge_in_full_precision(family: str) -> None:
    network = _rounded(family)
    tail = Tail(network, 2, rank=3)
    with torch.no_grad():
        for seed, matrix in enumerate(tail.matrices.values()):
            matrix.copy_(torch.randn(matrix.shape, generator=torch.Generator().manual_seed(seed)))
        adapted = tail.above(tail.below(_ids()))
        plain = merged(network, {name: matrix.double().numpy() for name, matrix in tail.matrices.items()})
        logits = plain(input_ids=_ids(), use_cache=False).logits
        assert torch.allclose(torch.nn.functional.linear(adapted, tail.head, tail.head_bias), logits, atol=1e-3)
    kinds = {name: type(part) for name, part in linear_maps(plain).items()}
    assert {kinds[name] for name in tail.matrices} == {torch.nn.Linear}
    assert EightBit in kinds.values()  # layers below the cut stay rounded
    assert isinstance(network.get_submodule(next(iter(tail.matrices))), EightBit)  # and the original as it was


@pytest.fixture
def everything_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_finetuning, "make_network", _rounded)


@pytest.mark.usefixtures("everything_rounded")
@pytest.mark.parametrize("family", FAMILIES)
def test_a_records_gradient_does_not_depend_on_its_batch_mates(family: str) -> None:
    assert gradient_is_its_own(family, request=REQUEST)


class _BatchScaled(EightBit):
    """Planted: activations rounded too, by one scale over the whole batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        step = x.detach().abs().amax() / 127
        return super().forward(x + ((x / step).round() * step - x).detach())


def test_activations_rounded_over_the_batch_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(family: str) -> object:
        network = _rounded(family)
        for part in linear_maps(network).values():
            if isinstance(part, EightBit):
                part.__class__ = _BatchScaled
        return network

    monkeypatch.setattr(test_finetuning, "make_network", planted)
    assert not gradient_is_its_own("llama", request=REQUEST)


def test_the_claim_names_the_rounded_model_and_it_writes(tiny_language_model: Path, tiny_encoder: Path) -> None:
    performance = Performance(dtype="float32")
    asked = Synthesis(model=str(tiny_language_model), encoder=str(tiny_encoder), base_weights="8-bit")
    models = load_models(asked, performance, lambda *said: None)
    plain = LanguageModel.load(tiny_language_model, model_id="tiny", performance=performance)
    (named,) = [model for model in models.named if model.role == "language-model"]
    assert named.id == models.language_model.id == f"{tiny_language_model.name}, linear maps rounded to 8 bits"
    assert any(isinstance(part, EightBit) for part in models.language_model.network.modules())
    assert not any(isinstance(part, EightBit) for part in plain.network.modules())
    written = models.language_model.sample(
        ["Notes:\n-"] * 2, max_new_tokens=4, temperature=1.0, top_p=0.9, rng=np.random.default_rng(0)
    )
    assert len(written) == 2
