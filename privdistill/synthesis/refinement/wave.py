"""Refinement by way of the language model: adapters make texts likelier that improve the match; one more wave.

The model learns from its own candidates only, each weighted by the slope of the matching loss in its likelihood (DiLM,
Maekawa et al. 2024); see `matching.gradients.improvement`. Inputs are releases and public text: free post-processing.
It does not know private text.
"""

from collections.abc import Sequence
from functools import partial

import numpy as np

from privdistill.matching.gradients import improvement, softened_cosine
from privdistill.models.adaptation.weighted import WeightedTraining
from privdistill.recipes.base import Context
from privdistill.synthesis.refinement.goal import Goal
from privdistill.synthesis.selection import Candidates
from privdistill.synthesis.waves import Waves

__all__ = ["by_language_model"]

_LAYERS, _RANK, _RATE = 4, 8, 2e-3
_STEPS, _BATCH, _LEAST_BATCH = 12, 64, 8
_TRAINED = 384
"""Candidates that the language model is trained on; like a batch, over all classes."""


def by_language_model(
    context: Context, candidates: Candidates, goals: Sequence[Goal], waves: Waves, factor: float
) -> tuple[Candidates, dict[str, object]]:
    """One more wave by a model whose adapters went down the matching loss on its own candidates."""
    training = WeightedTraining(context.language_model, layers=_LAYERS, rank=_RANK, rate=_RATE)
    rng, pools = context.rng, []
    most, size = (max(_LEAST_BATCH, total // max(len(goals), 1)) for total in (_TRAINED, _BATCH))
    for goal in goals:
        own = rng.permutation(len(goal.members))[:most]
        pools.append((goal, own, training.read(goal.prompt, [candidates.texts[goal.members[i]] for i in own])))
    first = [softened_cosine(training.losses(read), goal.gradients[own], goal.target) for goal, own, read in pools]
    for step in range(_STEPS):
        context.progress("refining the language model", step, _STEPS)
        for goal, own, read in pools:
            batch = rng.permutation(len(read))[:size]
            weigh = partial(improvement, gradients=goal.gradients[own[batch]], target=goal.target)
            training.step([read[i] for i in batch], weigh)
    last = [softened_cosine(training.losses(read), goal.gradients[own], goal.target) for goal, own, read in pools]
    context.progress("refining the language model", _STEPS, _STEPS)
    sizes = np.zeros(candidates.probabilities.shape[1], dtype=np.int64)
    before, learnt = len(candidates.texts), training.corrections()
    if any(one.any() for one in learnt.values()):  # with a single class there is no gradient to match
        for goal in goals:
            sizes[goal.k] = int(np.ceil(goal.quota * factor))
        candidates += waves.again(context.language_model.adapted(learnt), sizes)
    said = {
        "kind": "language-model",
        "weighted_cosine": [round(float(np.mean(one)), 5) for one in (first, last)],
        "sampled": int(sizes.sum()),
        "kept": len(candidates.texts) - before,
    }
    return candidates, {"refinement": said}
