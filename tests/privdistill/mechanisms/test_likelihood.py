"""The loss of one record against the plain one, with and without a shortlist, and its gradient."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from privdistill.errors import PrivacyError
from privdistill.mechanisms.likelihood import Head, record_loss

V, H, W, T = 23, 6, 8, 5


def _problem(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn((W, H), generator=generator, requires_grad=True)
    weight, bias = torch.randn((V, H), generator=generator), torch.randn(V, generator=generator)
    return hidden, weight, bias, torch.randint(0, V, (T,), generator=generator)


def _reference(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, targets: torch.Tensor, listed: set[int]
) -> torch.Tensor:
    total = hidden.new_zeros(())
    for position, target in enumerate(targets.tolist()):
        over = sorted(listed | {target})  # the shortlist and this very target
        logits = hidden[position] @ weight[over].T + bias[over]
        total = total - torch.log_softmax(logits, dim=0)[over.index(target)]
    return total / len(targets)


@pytest.mark.parametrize("listed", [None, range(10), range(1)])
def test_loss_and_gradient_are_the_plain_ones(listed: range | None) -> None:
    hidden, weight, bias, targets = _problem()
    head = Head.of(weight, bias, None if listed is None else torch.tensor(list(listed)))
    loss = record_loss(hidden, targets, head)
    expected = _reference(hidden, weight, bias, targets, set(range(V) if listed is None else listed))
    assert torch.allclose(loss, expected, atol=1e-5)
    (found,) = torch.autograd.grad(loss, hidden)
    (wanted,) = torch.autograd.grad(expected, hidden)
    assert torch.allclose(found, wanted, atol=1e-5)
    assert not found[T:].any()  # padding has no say


def test_a_head_without_bias_in_bfloat16() -> None:
    hidden, weight, _, targets = _problem()
    loss = record_loss(hidden.bfloat16(), targets, Head.of(weight.bfloat16(), None, None))
    expected = _reference(hidden, weight, torch.zeros(V), targets, set(range(V)))
    assert torch.allclose(loss, expected, rtol=0.05)


@given(seed=st.integers(0, 10**6), listed=st.sets(st.integers(0, V - 1), min_size=1))
def test_any_shortlist_gives_the_plain_loss_over_it_and_the_target(seed: int, listed: set[int]) -> None:
    hidden, weight, bias, targets = _problem(seed)
    loss = record_loss(hidden, targets, Head.of(weight, bias, torch.tensor(sorted(listed))))
    expected = _reference(hidden, weight, bias, targets, listed)
    assert torch.allclose(loss, expected, atol=1e-4)
    (found,) = torch.autograd.grad(loss, hidden)
    (wanted,) = torch.autograd.grad(expected, hidden)
    assert torch.allclose(found, wanted, atol=1e-4)


@pytest.mark.parametrize("listed", [[], [3, 3], [-1, 2], [0, V]])
def test_a_shortlist_without_meaning_is_refused(listed: list[int]) -> None:
    _, weight, bias, _ = _problem()
    with pytest.raises(PrivacyError, match="distinct token ids"):
        Head.of(weight, bias, torch.tensor(listed, dtype=torch.long))
