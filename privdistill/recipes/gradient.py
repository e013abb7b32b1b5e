"""Recipe `gradient`: rows whose gradients at public checkpoints point where those of the private records do.

A linear head is trained on the zero-shot pool; at several of its public checkpoints the per-record gradients of the
private records are clipped, summed by class and noised once, beside the statistic that steers the language model (that
of `distribution`). Rows are chosen from the candidates by the cosine with that target, greedily or by Frank-Wolfe,
whichever comes closer.

It does not know private text: it sees a release.
"""

from collections.abc import Mapping
from copy import deepcopy

import numpy as np

from privdistill.features.blocks import class_of
from privdistill.matching.gradients import (
    cosine,
    frank_wolfe,
    gradients_of,
    greedy_cosine,
    heaviest,
    public_checkpoints,
    shrunk,
)
from privdistill.mechanisms.release import Block, FloatArray, HeadGradientBlock
from privdistill.recipes.base import Context, PlannedMechanism, RecipeRun, Task
from privdistill.recipes.distribution import STATISTIC, Choice, Ground, Measured, expected_texts, measure_and_match
from privdistill.recipes.forecast import Forecast, statistic_forecast
from privdistill.synthesis.measurement import record_sensitivity
from privdistill.synthesis.near_duplicates import NearDuplicates
from privdistill.synthesis.selection import Candidates, filled
from privdistill.synthesis.teacher import projected

__all__ = ["GradientRecipe", "aligned", "head_gradients"]

_WEIGHT = 1.5
"""Scale times norm bound of the gradient block: it weighs as much as the moments."""
_CLIP_QUANTILE = 0.9
_NOISE_FLOOR = 5.0
_STEPS_PER_ROW = 4


class GradientRecipe:
    """Noised head gradients, matched by cosine."""

    name = "gradient"

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """One full-batch Gaussian statistic takes the whole budget."""
        return (PlannedMechanism(STATISTIC, "gaussian", 1.0),)

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """Five noise deviations of a class count; the gradient block makes every other block a little noisier."""
        return _NOISE_FLOOR * noise_multipliers[STATISTIC] * float(np.hypot(record_sensitivity(), _WEIGHT))

    def forecast(self, task: Task, noise_multipliers: Mapping[str, float]) -> Forecast:
        """The statistic with one more block."""
        noise = noise_multipliers[STATISTIC]
        return statistic_forecast(noise, expected_texts(task.rows), more={"gradient": _WEIGHT})

    def run(self, context: Context) -> RecipeRun:
        """Measure once, then generate and align."""
        return (yield from measure_and_match(context, aligned, head_gradients))


def head_gradients(ground: Ground) -> tuple[Block, ...]:
    """The gradient block: public checkpoints, and a clipping norm from the public pool."""
    moment, names = ground.map_.moment, ground.rule.names
    features = projected(ground.encoded, moment)
    aims = [draft.aim for draft in ground.public]
    if ground.rule.centres is not None:
        aims = [class_of(ground.rule, None, one) or 0 for one in ground.encoded.embeddings]
    labels = np.array(aims, dtype=np.int64)
    checkpoints = public_checkpoints(features, labels, len(names))
    norms = np.linalg.norm(gradients_of(features, labels, checkpoints, np.inf), axis=1)
    bound = max(float(np.quantile(norms, _CLIP_QUANTILE)), 1e-3)
    return (HeadGradientBlock(_WEIGHT / bound, moment.centre, moment.basis, moment.clip, checkpoints, bound),)


def aligned(candidates: Candidates, measured: Measured) -> Choice:
    """Gradient matching, class by class."""
    (block,) = measured.more
    assert isinstance(block, HeadGradientBlock)  # noqa: S101  (what `head_gradients` made)
    counts, noise = measured.target.counts, measured.release.noise["gradient"]
    seen = NearDuplicates()
    chosen: list[int] = []
    labels: list[int] = []
    reached: dict[str, float] = {}
    for k, quota in enumerate(measured.wanted):
        members = np.flatnonzero(candidates.labels == k)
        if not members.size or not quota:
            continue
        gradients = gradients_of(candidates.means[members], candidates.labels[members], block.weights, block.clip)
        noised = measured.release.block("gradient")[k].ravel() / counts[k]
        target = shrunk(noised, gradients.mean(axis=0), float(noise / counts[k]))
        found, seen = _closer(gradients, target, quota, [candidates.texts[int(i)] for i in members], seen)
        reached[measured.target.names[k]] = round(cosine(gradients[found], target), 4)
        chosen += [int(members[i]) for i in found]
        labels += [k] * len(found)
    rows, owners = filled(candidates, measured.wanted, chosen, labels, seen)
    return Choice(rows, owners, facts={"gradient_cosine": reached})


def _closer(
    gradients: FloatArray, target: FloatArray, quota: int, texts: list[str], seen: NearDuplicates
) -> tuple[list[int], NearDuplicates]:
    """The greedy or the Frank-Wolfe rows of one class, whichever comes closer to the target; near-duplicates left out.

    Returns:
        The rows, and `seen` with them.
    """
    greedy, heavy = deepcopy(seen), deepcopy(seen)
    first = greedy_cosine(gradients, target, quota, accept=lambda i: greedy.add(texts[i]))
    weights = frank_wolfe(gradients, target, _STEPS_PER_ROW * quota)
    second = heaviest(weights, quota, accept=lambda i: heavy.add(texts[i]))
    if len(second) == len(first) and cosine(gradients[second], target) > cosine(gradients[first], target):
        return second, heavy
    return first, greedy
