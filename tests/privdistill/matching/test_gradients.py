"""The closed-form head gradient is Opacus' and torch's; greedy and Frank-Wolfe are what they are called."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.features.blocks import head_gradient
from privdistill.matching import gradients
from privdistill.matching.gradients import (
    cosine,
    frank_wolfe,
    gradients_of,
    greedy_cosine,
    heaviest,
    improvement,
    public_checkpoints,
    shrunk,
    softened_cosine,
)
from privdistill.mechanisms.expert import make_head

D, K, R = 4, 3, 2


def by_grad_sample_module(features: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Per-record gradients (n, K (d + 1)) of one head by Opacus."""
    from opacus import GradSampleModule

    wrapped = GradSampleModule(make_head(weights), loss_reduction="sum")
    x = torch.from_numpy(features).requires_grad_()
    torch.nn.functional.cross_entropy(wrapped(x), torch.from_numpy(labels), reduction="sum").backward()
    weight, bias = (parameter.grad_sample.numpy() for parameter in wrapped.parameters())
    return np.concatenate([weight, bias[:, :, None]], axis=2).reshape(len(features), -1)


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_the_closed_form_is_the_gradient_of_opacus_grad_sample_module(seed: int) -> None:
    rng = np.random.default_rng(seed)
    features, labels = rng.standard_normal((6, D)), rng.integers(K, size=6)
    checkpoints = 3 * rng.standard_normal((R, K, D + 1))
    ours = gradients_of(features, labels, checkpoints, np.inf).reshape(6, R, -1)
    for r in range(R):
        assert np.allclose(ours[:, r], by_grad_sample_module(features, labels, checkpoints[r]), atol=1e-12)


def test_a_planted_gradient_without_its_own_class_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((6, D)), rng.integers(K, size=6)
    weights = rng.standard_normal((1, K, D + 1))
    planted = [
        head_gradient(np.append(h, 1.0), (int(y) + 1) % K, weights) for h, y in zip(features, labels, strict=True)
    ]
    assert not np.allclose(planted, by_grad_sample_module(features, labels, weights[0]))


def test_checkpoints_are_on_their_way_to_the_public_labels() -> None:
    rng = np.random.default_rng(1)
    labels = rng.integers(2, size=200)
    features = 0.3 * rng.standard_normal((200, D))
    features[:, 0] += 0.5 * (2 * labels - 1)
    heads = public_checkpoints(features, labels, 2)
    assert (heads[0] == 0).all()
    x = np.hstack([features, np.ones((200, 1))])
    right = [np.mean((x @ head.T).argmax(axis=1) == labels) for head in heads]
    assert right[0] < right[-1]
    assert right[-1] > 0.85
    assert np.isfinite(public_checkpoints(features, np.zeros(200, dtype=np.int64), 1)).all()


def losses(points: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Cross-entropy at each checkpoint, one a step."""
    x = np.hstack([points, np.ones((len(points), 1))])
    scores = x @ public_checkpoints(points, labels, classes).transpose(0, 2, 1)  # (R, n, K)
    peak = scores.max(axis=2, keepdims=True)
    scores = scores - peak - np.log(np.exp(scores - peak).sum(axis=2, keepdims=True))
    return -scores[:, np.arange(len(x)), labels].mean(axis=1)


def test_at_the_rate_of_the_pool_the_loss_never_rises_for_centred_features_and_does_for_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gradients, "_CHECKPOINTS", tuple(range(41)))
    for seed in range(40):
        rng = np.random.default_rng(seed)
        classes, n = int(rng.integers(2, 6)), 60
        labels = np.minimum(rng.geometric(0.4, size=n) - 1, classes - 1)  # some classes are small
        points = rng.standard_normal((n, D)) + rng.standard_normal((classes, D))[labels]
        points -= points.mean(axis=0)
        points /= np.sqrt((points**2).sum(axis=1).mean())  # as far out as unit vectors less their mean can be
        assert np.diff(losses(points, labels, classes)).max() < 1e-12
    aside = np.zeros((400, D))
    aside[:, 0] = 1.0
    assert np.diff(losses(aside, np.arange(400) % 10 // 7, 2)).max() > 0.1, "features that all lie on one side"


@given(st.integers(0, 1000))
@settings(max_examples=20)
def test_each_greedy_step_is_the_one_with_the_highest_cosine(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gradients, target = rng.standard_normal((15, 6)), rng.standard_normal(6)
    taken: list[int] = []
    for _ in range(6):
        options = {i: cosine(gradients[[*taken, i]], target) for i in range(15) if i not in taken}
        taken.append(max(options, key=options.__getitem__))
    assert greedy_cosine(gradients, target, 6) == taken


@given(st.integers(0, 1000), st.integers(0, 5))
@settings(max_examples=20)
def test_a_greedy_choice_goes_on_from_what_is_taken_already(seed: int, given_rows: int) -> None:
    rng = np.random.default_rng(seed)
    gradients, target = rng.standard_normal((15, 6)), rng.standard_normal(6)
    start = rng.permutation(15)[:given_rows].tolist()
    taken = list(start)
    while len(taken) < 7:
        options = {i: cosine(gradients[[*taken, i]], target) for i in range(15) if i not in taken}
        taken.append(max(options, key=options.__getitem__))
    assert greedy_cosine(gradients, target, 7, start=start) == taken
    assert greedy_cosine(gradients, target, given_rows, start=start) == start, "nothing is added beyond the count"
    whole = greedy_cosine(gradients, target, 7)
    assert greedy_cosine(gradients, target, 7, start=whole[:3]) == whole


def test_frank_wolfe_converges_to_the_projection_and_stays_on_the_simplex() -> None:
    rng = np.random.default_rng(2)
    gradients = rng.standard_normal((30, 5))
    inside = rng.dirichlet(np.ones(30)) @ gradients
    weights = frank_wolfe(gradients, inside, 3000)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1)
    assert np.linalg.norm(weights @ gradients - inside) < 0.02
    gaps = [np.linalg.norm(frank_wolfe(gradients, inside, n) @ gradients - inside) for n in (1, 5, 25, 125)]
    assert gaps == sorted(gaps, reverse=True)
    assert heaviest(weights, 3) == np.argsort(-weights)[:3].tolist()
    assert frank_wolfe(gradients[:0], inside, 5).size == 0


def test_selected_rows_come_closer_than_random_ones() -> None:
    rng = np.random.default_rng(3)
    gradients = rng.standard_normal((300, 10))
    target = gradients[:40].mean(axis=0) + 0.2
    assert cosine(gradients[greedy_cosine(gradients, target, 20)], target) > 0.95
    assert cosine(gradients[rng.choice(300, 20, replace=False)], target) < 0.9


def test_noise_alone_is_drawn_to_the_public_prior() -> None:
    rng = np.random.default_rng(4)
    prior, noise = rng.standard_normal(200), 5.0
    assert np.linalg.norm(shrunk(prior + noise * rng.standard_normal(200), prior, noise) - prior) < 30
    assert np.allclose(shrunk(prior + 1.0, prior, 1e-9), prior + 1.0)


def test_refused_candidates_are_never_taken() -> None:
    chosen = greedy_cosine(np.eye(6), np.ones(6), 6, accept=lambda i: i % 2 == 0)
    assert sorted(chosen) == [0, 2, 4]
    assert heaviest(np.array([0.5, 0.3, 0.2, 0.0]), 4, accept=lambda i: i != 1) == [0, 2]


@pytest.mark.parametrize("seed", range(5))
def test_the_weights_of_the_language_model_are_the_slope_of_the_match(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gradients, target, losses = rng.standard_normal((9, 6)), rng.standard_normal(6), rng.gamma(4.0, size=9)
    weights = improvement(losses, gradients, target)
    assert abs(weights.sum()) < 1e-12
    for i in range(9):
        step = np.zeros(9)
        step[i] = 1e-6
        up, down = (1 - softened_cosine(losses + sign * step, gradients, target) for sign in (1, -1))
        assert weights[i] == pytest.approx((up - down) / 2e-6, abs=1e-7)


def test_a_text_that_points_at_the_target_should_become_likelier() -> None:
    target = np.array([1.0, 0.0])
    weights = improvement(np.ones(3), np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.1]]), target)
    assert weights[0] > 0 > weights[2]
    assert not improvement(np.ones(2), np.zeros((2, 2)), target).any(), "nothing to match, nothing to learn"
