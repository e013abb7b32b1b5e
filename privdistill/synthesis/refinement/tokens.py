"""Refinement token by token: the rows that fit worst are moved as vectors and projected back to text (ADMM).

See `matching.admm` for the method and `models.relaxation` for vectors and tokens. What comes out passes the filters of
any candidate, is of its class by the teacher's word, and costs the language model no more than usual rows do; the
matcher chooses again, and no row has to be taken. Inputs are releases and public text: free post-processing. It does
not know private text.
"""

from collections.abc import Sequence

import numpy as np
import torch

from privdistill.matching.admm import Schedule, admm, gradient_objective
from privdistill.mechanisms.release import HeadGradientBlock
from privdistill.models.relaxation import Relaxation, decoded, mean_losses
from privdistill.recipes.base import Context
from privdistill.synthesis.refinement.goal import Goal
from privdistill.synthesis.selection import Candidates
from privdistill.synthesis.waves import Waves

__all__ = ["by_admm"]

_REFINED = 32
"""Rows that are moved, over all classes."""
_NEAREST = 100
_TOKENS = (3, 40)
_FLUENCY_QUANTILE = 0.95
"""A refined text may cost the language model as much as all but a few of the rows that were chosen without it."""
_READ = 64
"""Rows a class from which the cost of usual text is taken."""


def by_admm(
    context: Context, candidates: Candidates, goals: Sequence[Goal], block: HeadGradientBlock, waves: Waves
) -> tuple[Candidates, dict[str, object]]:
    """Rows that fit worst, optimised as vectors and projected to text."""
    relaxation = Relaxation(context.encoder.sentences, context.language_model.pieces)
    plan, most = Schedule(), max(1, _REFINED // max(len(goals), 1))
    counts = dict.fromkeys(("rows", "proposed", "well_formed_and_new", "kept"), 0)
    reached: list[tuple[float, float, float]] = []
    for done, goal in enumerate(goals):
        context.progress("refining rows", done, len(goals))
        picked = _worst(context, candidates, goal, relaxation, most)
        if not picked:
            continue
        texts, objectives = _walk(context, goal, picked, relaxation, block, plan)
        reached.append(objectives)
        fresh, formed = _filtered(context, candidates, goal, waves, texts)
        found = (len(picked), len(texts), formed, len(fresh.texts))
        counts = {name: n + more for (name, n), more in zip(counts.items(), found, strict=True)}
        candidates += fresh
    context.progress("refining rows", len(goals), len(goals))
    means = dict(zip(("start", "vectors", "texts"), np.mean(reached, axis=0).tolist() if reached else (), strict=False))
    objective = {name: round(value, 5) for name, value in means.items()}
    return candidates, {"refinement": {"kind": "admm", **counts, "objective": objective}}


def _worst(
    context: Context, candidates: Candidates, goal: Goal, relaxation: Relaxation, most: int
) -> list[tuple[int, list[int]]]:
    """Chosen members without which the rest would point closest to the target, and their tokens."""
    gradients, target = goal.gradients[list(goal.chosen)], goal.target
    rest = gradients.sum(axis=0) - gradients  # (c, F)
    without = rest @ target / np.maximum(np.linalg.norm(rest, axis=1), 1e-12)
    usable = set(relaxation.usable.tolist())
    picked: list[tuple[int, list[int]]] = []
    for i in np.argsort(-without, kind="stable"):
        member = goal.chosen[int(i)]
        tokens = context.language_model.token_ids(" " + candidates.texts[int(goal.members[member])])
        if _TOKENS[0] <= len(tokens) <= _TOKENS[1] and usable.issuperset(tokens):
            picked.append((member, tokens))
        if len(picked) == most:
            break
    return picked


def _walk(
    context: Context,
    goal: Goal,
    picked: Sequence[tuple[int, list[int]]],
    relaxation: Relaxation,
    block: HeadGradientBlock,
    plan: Schedule,
) -> tuple[list[str], tuple[float, float, float]]:
    """The texts of every round, and the objective at the start, of the best vectors and of the best (relaxed) text."""
    model, lengths = context.language_model, [len(tokens) for _, tokens in picked]
    ids = torch.zeros(len(picked), max(lengths), dtype=torch.long)  # (k, T)
    counts = torch.zeros_like(ids)
    for row, mark, (_, tokens) in zip(ids, counts, picked, strict=True):
        row[: len(tokens)] = torch.as_tensor(tokens)
        mark[: len(tokens)] = 1
    texts: dict[str, None] = {}

    def project(vectors: torch.Tensor) -> torch.Tensor:
        tokens = decoded(model, goal.prompt, relaxation, vectors, lengths, _NEAREST)
        for row, n in zip(tokens.tolist(), lengths, strict=True):
            texts.setdefault("".join(model.pieces[i] for i in row[:n]).strip())
        return relaxation.table[tokens]

    chosen = list(goal.chosen)
    stays = goal.gradients[chosen].sum(axis=0) - goal.gradients[[member for member, _ in picked]].sum(axis=0)
    objective = gradient_objective(lambda x: relaxation.embed(x, lengths), goal.k, block, stays, goal.target)
    walk = list(admm(relaxation.table[ids], counts, objective, project, relaxation.scale, plan))
    start = float(objective(relaxation.table[ids]))
    return list(texts), (start, min(one.objective for one in walk), min(one.discrete for one in walk))


def _filtered(
    context: Context, candidates: Candidates, goal: Goal, waves: Waves, texts: Sequence[str]
) -> tuple[Candidates, int]:
    """Texts that are well formed, new, of the class by the teacher's word, and as fluent as usual rows.

    Returns:
        They, and how many were well formed and new.
    """
    drafts = waves.proposed(texts, goal.k)
    scored = waves.score(drafts, context.encoder.encode([draft.text for draft in drafts]))
    model, usual = context.language_model, [candidates.texts[int(goal.members[i])] for i in goal.chosen[:_READ]]
    limit = float(np.quantile(mean_losses(model, goal.prompt, usual).numpy(), _FLUENCY_QUANTILE))
    losses = mean_losses(model, goal.prompt, scored.texts).numpy()
    return scored.take(np.flatnonzero((scored.labels == goal.k) & (losses <= limit))), len(drafts)
