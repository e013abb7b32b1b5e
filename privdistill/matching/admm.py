"""Continuous-to-discrete optimisation by the alternating direction method of multipliers (ADMM).

min D(X) such that X is a text: X moves freely, Z is a text, and scaled duals U make them agree,

    Z <- project(X + U),    X <- a few Adam steps on D(X) + penalty / 2 |X - Z + U|^2,    U <- U + X - Z,

with the penalty's norm averaged over positions in units of a typical token vector (Boyd et al. 2011, section 3.1.1;
GRADMM, Nguyen et al. 2025, which matches a gradient of the size of a model; here the target is a low-dimensional noised
sum that was released once, so every iteration is free). `gradient_objective` is one minus the cosine of the gradients
of some texts, added to those of texts that stay, with the target.

It does not know encoders, tokens, nor how the target was released.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from privdistill.mechanisms.release import FloatArray, HeadGradientBlock

__all__ = ["Iterate", "Schedule", "admm", "gradient_objective", "relaxed_gradients"]

Objective = Callable[[torch.Tensor], torch.Tensor]
Projection = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How long and how hard.

    Attributes:
        rounds: of projection and dual update.
        steps: of Adam on X in each round.
        rate: of Adam, in typical coordinates of a token vector.
        penalty: weight of the disagreement; 0 never hears of the text.
    """

    rounds: int = 8
    steps: int = 8
    rate: float = 0.05
    penalty: float = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Iterate:
    """Where one round ended.

    Attributes:
        vectors: (k, T, D) the free variable X.
        projected: (k, T, D) the text Z nearest to X and the duals.
        objective: D(X).
        discrete: D(Z).
        apart: root mean square distance of X and Z, in typical token vectors.
    """

    vectors: torch.Tensor
    projected: torch.Tensor
    objective: float
    discrete: float
    apart: float


def admm(
    start: torch.Tensor, counts: torch.Tensor, objective: Objective, project: Projection, scale: float, plan: Schedule
) -> Iterator[Iterate]:
    """The iterates, one a round.

    Args:
        start: (k, T, D) vectors of the texts that are to be refined: X and Z at first.
        counts: (k, T) 1 where a position counts, 0 where a row is padded.
        objective: D, differentiable.
        project: vectors to vectors of a text.
        scale: typical norm of a token vector.
        plan: how long and how hard.
    """
    where = counts.unsqueeze(-1).to(start.dtype)  # (k, T, 1)
    positions = float(counts.sum())
    free = start.detach().clone().requires_grad_(True)
    text, duals = start.detach().clone(), torch.zeros_like(start)
    rate = plan.rate * scale / start.shape[-1] ** 0.5

    def apart(gap: torch.Tensor) -> torch.Tensor:
        return ((gap * where) ** 2).sum() / (positions * scale**2)

    for _ in range(plan.rounds):
        adam = torch.optim.Adam([free], lr=rate)
        for _ in range(plan.steps):
            adam.zero_grad()
            loss = objective(free) + plan.penalty / 2 * apart(free - text + duals)
            loss.backward()
            adam.step()
        with torch.no_grad():
            text = project(free + duals)
            duals += (free - text) * where
            yield Iterate(
                free.detach().clone(),
                text.clone(),
                float(objective(free)),
                float(objective(text)),
                float(apart(free - text)) ** 0.5,
            )


def relaxed_gradients(embeddings: torch.Tensor, y: int, block: HeadGradientBlock) -> torch.Tensor:
    """What `features.blocks` computes for a record of class y, differentiably: (k, D) -> (k, R K (d + 1))."""
    centre, basis, heads = (torch.as_tensor(one) for one in (block.centre, block.basis, block.weights))
    h = _clipped((embeddings.double() - centre) @ basis, block.feature_clip)  # (k, d)
    x = torch.cat([h, torch.ones(len(h), 1, dtype=h.dtype)], dim=1)  # (k, d + 1)
    residual = torch.softmax(torch.einsum("rcd,kd->krc", heads, x), dim=2)  # (k, R, K)
    residual = residual - torch.nn.functional.one_hot(torch.tensor(y), heads.shape[1])
    return _clipped(torch.einsum("krc,kd->krcd", residual, x).flatten(1), block.clip)


def gradient_objective(
    embed: Callable[[torch.Tensor], torch.Tensor],
    y: int,
    block: HeadGradientBlock,
    stays: FloatArray,
    target: FloatArray,
) -> Objective:
    """One minus the cosine with `target` (F,) of the gradients of the embedded vectors and of what stays, (F,)."""
    fixed, goal = torch.as_tensor(stays), torch.as_tensor(target)

    def objective(vectors: torch.Tensor) -> torch.Tensor:
        total = fixed + relaxed_gradients(embed(vectors), y, block).sum(dim=0)
        return 1 - torch.nn.functional.cosine_similarity(total, goal, dim=0)

    return objective


def _clipped(rows: torch.Tensor, bound: float) -> torch.Tensor:
    norms = rows.norm(dim=1, keepdim=True)
    return rows * torch.clamp(bound / torch.clamp(norms, min=1e-12), max=1.0)
