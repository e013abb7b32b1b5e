"""ADMM reaches texts that a plain projection misses, and the differentiable gradient is the one that is released."""

import numpy as np
import pytest
import torch

from privdistill.features.blocks import clip, head_gradient, project
from privdistill.matching.admm import Schedule, admm, gradient_objective, relaxed_gradients
from privdistill.mechanisms.release import HeadGradientBlock

WIDTH = 6


def block(classes: int = 3) -> HeadGradientBlock:
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.standard_normal((WIDTH, 4)))[0]
    return HeadGradientBlock(
        1.0, rng.standard_normal(WIDTH) * 0.1, basis, 0.7, rng.standard_normal((2, classes, 5)), 0.6
    )


def lattice(vectors: torch.Tensor) -> torch.Tensor:
    """Texts are rows of a small table: the nearest row at each position."""
    table = torch.as_tensor(np.random.default_rng(1).standard_normal((40, WIDTH)))
    return table[torch.cdist(vectors, table.expand(len(vectors), -1, -1)).argmin(dim=2)]


def test_the_relaxed_gradient_is_that_of_the_released_sum() -> None:
    rng, spec = np.random.default_rng(0), block()
    points = rng.standard_normal((20, WIDTH)).astype(np.float32)
    points[0] *= 100  # both clips bite
    expected = [
        clip(
            head_gradient(np.append(project(x, spec.centre, spec.basis, spec.feature_clip), 1.0), 1, spec.weights),
            spec.clip,
        )
        for x in points
    ]
    found = relaxed_gradients(torch.as_tensor(points), 1, spec).numpy()
    assert np.allclose(found, expected, atol=1e-9)
    assert np.linalg.norm(found, axis=1).max() <= spec.clip * (1 + 1e-9)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_objective_falls_and_ends_at_a_text(seed: int) -> None:
    rng, spec = np.random.default_rng(seed), block()
    start = lattice(torch.as_tensor(rng.standard_normal((3, 2, WIDTH))))
    stays = rng.standard_normal(30) * 0.05
    target = rng.standard_normal(30)

    def embed(vectors: torch.Tensor) -> torch.Tensor:
        return vectors.mean(dim=1)

    objective = gradient_objective(embed, 2, spec, stays, target)
    scale = float(start.norm(dim=2).median())
    plan = Schedule(rounds=12, steps=10, rate=0.1, penalty=0.05)
    walk = list(admm(start, torch.ones(3, 2), objective, lattice, scale, plan))
    assert walk[-1].objective < float(objective(start)) - 0.01
    for one in walk:
        assert torch.equal(lattice(one.projected), one.projected), "Z is a text in every round"
    assert min(one.discrete for one in walk) < float(objective(start)), "and one of them matches better"


def test_duals_bring_text_and_vectors_together() -> None:
    start = lattice(torch.as_tensor(np.random.default_rng(3).standard_normal((2, 3, WIDTH))))
    goal = lattice(torch.as_tensor(np.random.default_rng(4).standard_normal((2, 3, WIDTH))))

    def objective(vectors: torch.Tensor) -> torch.Tensor:
        return ((vectors - goal) ** 2).mean()

    walk = list(admm(start, torch.ones(2, 3), objective, lattice, 2.0, Schedule(30, 10, 0.2, 1.0)))
    assert torch.equal(walk[-1].projected, goal)
    assert walk[-1].apart < 0.2
    assert walk[0].objective > walk[-1].objective


def test_padding_does_not_move() -> None:
    start = torch.zeros(1, 3, WIDTH, dtype=torch.float64)
    counts = torch.tensor([[1, 1, 0]])
    walk = list(admm(start, counts, lambda x: ((x[:, :2] - 1) ** 2).sum(), lambda x: x, 1.0, Schedule(2, 3)))
    assert torch.equal(walk[-1].vectors[0, 2], start[0, 2])
    assert not torch.equal(walk[-1].vectors[0, 0], start[0, 0])
