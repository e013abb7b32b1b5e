"""Recipe `gradient`: rows whose gradients at public checkpoints point where those of the private records do.

A linear head is trained on the zero-shot pool; at several of its public checkpoints the per-record gradients of the
private records are clipped, summed by class and noised once, beside the statistic that steers the language model (that
of `distribution`). Rows are chosen from the candidates by the cosine with that target, greedily or by Frank-Wolfe,
whichever comes closer.

On request candidates are refined first: token by token against the same target, or by way of the language model (see
`synthesis.refinement`). A class whose rows come closer without refined candidates does without them.

It does not know private text: it sees a release.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from privdistill.features.blocks import class_of
from privdistill.matching.gradients import (
    cosine,
    frank_wolfe,
    gradient_cells,
    gradients_of,
    greedy_cosine,
    heaviest,
    public_checkpoints,
    shrunk,
)
from privdistill.mechanisms.release import Block, FloatArray, HeadGradientBlock, IntArray, StatisticRequest
from privdistill.recipes.base import Context, PlannedMechanism, RecipeRun, Task
from privdistill.recipes.distribution import (
    OPTIONS,
    STATISTIC,
    Choice,
    Ground,
    Matching,
    Measured,
    Measuring,
    expected_classes,
    expected_texts,
    measure_and_match,
)
from privdistill.recipes.forecast import Forecast, statistic_forecast
from privdistill.synthesis.measurement import most_dimensions, record_sensitivity
from privdistill.synthesis.near_duplicates import NearDuplicates
from privdistill.synthesis.prompts import item_prompts
from privdistill.synthesis.refinement.goal import Goal
from privdistill.synthesis.refinement.tokens import by_admm
from privdistill.synthesis.refinement.wave import by_language_model
from privdistill.synthesis.selection import Candidates, filled
from privdistill.synthesis.teacher import projected
from privdistill.synthesis.waves import Waves

__all__ = ["GradientRecipe", "aligned", "closer", "head_gradients"]

_WEIGHT = 1.5
"""Scale times norm bound of the gradient block: it weighs as much as the moments."""
_CLIP_QUANTILE = 0.9
_NOISE_FLOOR = 5.0
_STEPS_PER_ROW = 4
_WAVE_FACTOR = 0.85
"""Candidates a row that a refined language model writes: as many as one wave of the usual three."""


class GradientRecipe:
    """Noised head gradients, matched by cosine."""

    name = "gradient"
    options = (*OPTIONS, "refinement")

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """One full-batch Gaussian statistic takes the whole budget."""
        return (PlannedMechanism(STATISTIC, "gaussian", 1.0),)

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """Five noise deviations of a class count; the gradient block makes every other block a little noisier."""
        return _NOISE_FLOOR * noise_multipliers[STATISTIC] * float(np.hypot(record_sensitivity(), _WEIGHT))

    def forecast(self, task: Task, noise_multipliers: Mapping[str, float]) -> Forecast:
        """The statistic with one more block."""
        noise = noise_multipliers[STATISTIC]
        classes = expected_classes(task)
        cells = None if classes is None else gradient_cells(classes, most_dimensions(noise))
        more = {"gradient": (_WEIGHT, cells)}
        expected = statistic_forecast(noise, expected_texts(task), classes, more=more)
        if task.refinement == "none":
            return expected
        remark = f"refinement {task.refinement} costs no privacy; what it costs in time is not in the figure above"
        return replace(expected, remarks=(remark,))

    def measure(self, ground: Ground) -> Measuring:
        """The statistic with one more block."""
        more = head_gradients(ground)
        release = yield StatisticRequest(STATISTIC, ground.rule, (*ground.map_.blocks, *more))
        return Matching(release, aligned, more)

    def run(self, context: Context) -> RecipeRun:
        """Measure once, then generate, refine if asked to, and align."""
        refine = None if context.task.refinement == "none" else partial(refined, context)
        return (yield from measure_and_match(context, self, refine))


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


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """Rows, the class of each, and for each class the target, who found its rows, and how close they come.

    Attributes:
        rows: indices of candidates.
        owners: (rows,) class of each.
        targets: class -> (F,) noised and shrunk.
        matchers: class -> `greedy` or `frank-wolfe`.
        cosines: class -> cosine of the gradients of all its rows, those that fill its quota included.
    """

    rows: list[int]
    owners: IntArray
    targets: Mapping[int, FloatArray]
    matchers: Mapping[int, str]
    cosines: Mapping[int, float]

    def count(self, k: int) -> int:
        """Rows of a class."""
        return int((self.owners == k).sum())


def aligned(candidates: Candidates, measured: Measured) -> Choice:
    """Gradient matching, class by class.

    Where candidates were refined, the choice is also made without the refined ones, and each class keeps the one whose
    rows, as many as the other's, come closer to the target. All of it is post-processing.
    """
    names, found = measured.target.names, _matched(candidates, measured)
    said: dict[str, object] = {}
    if len(candidates.texts) > measured.sampled:
        # Unrefined under these very quotas: those that refinement started from may have been divided otherwise.
        before = _matched(candidates.take(np.arange(measured.sampled)), measured)
        found, kept = _better(candidates, measured, found, before)
        said = {"gradient_cosine_before": _rounded(before.cosines, names), "unrefined_kept": [names[k] for k in kept]}
    said["gradient_cosine"] = _rounded(found.cosines, names)
    said["gradient_matcher"] = {names[k]: matcher for k, matcher in found.matchers.items()}
    return Choice(found.rows, found.owners, facts=said)


def _matched(candidates: Candidates, measured: Measured) -> _Matched:
    goals, seen = goals_of(candidates, measured)
    chosen = [int(goal.members[i]) for goal in goals for i in goal.chosen]
    rows, owners = filled(candidates, measured.wanted, chosen, [goal.k for goal in goals for _ in goal.chosen], seen)
    targets, matchers = {goal.k: goal.target for goal in goals}, {goal.k: goal.matcher for goal in goals}
    return _Matched(rows, owners, targets, matchers, _reached(candidates, measured, rows, owners, targets))


def _reached(
    candidates: Candidates, measured: Measured, rows: list[int], owners: IntArray, targets: Mapping[int, FloatArray]
) -> dict[int, float]:
    block = gradient_block(measured)
    gradients = gradients_of(candidates.means[rows], owners, block.weights, block.clip)  # (rows, F)
    return {k: cosine(gradients[owners == k], target) for k, target in targets.items()}


def _better(
    candidates: Candidates, measured: Measured, found: _Matched, before: _Matched
) -> tuple[_Matched, list[int]]:
    """Rows of `before` for the classes in which as many of them come closer, those of `found` for all others.

    Returns:
        The rows, and the classes that keep those of `before`.
    """
    kept = [k for k, least in before.cosines.items() if before.count(k) >= found.count(k) and least > found.cosines[k]]
    if not kept:
        return found, kept
    seen = NearDuplicates()
    chosen = {i: int(k) for i, k in zip(before.rows, before.owners, strict=True) if k in kept}
    for i in chosen:
        seen.add(candidates.texts[i])
    for i, k in zip(found.rows, found.owners, strict=True):
        # What a kept class has taken already is no longer free; `filled` finds another one for it.
        if k not in kept and i not in chosen and seen.add(candidates.texts[i]):
            chosen[i] = int(k)
    rows, owners = filled(candidates, measured.wanted, list(chosen), list(chosen.values()), seen)
    targets = {**found.targets, **{k: before.targets[k] for k in kept}}
    matchers = {**found.matchers, **{k: before.matchers[k] for k in kept}}
    reached = _reached(candidates, measured, rows, owners, targets)
    return _Matched(rows, owners, targets, matchers, reached), kept


def _rounded(cosines: Mapping[int, float], names: Sequence[str]) -> dict[str, float]:
    return {names[k]: round(value, 4) for k, value in cosines.items()}


def refined(
    context: Context, candidates: Candidates, measured: Measured, waves: Waves
) -> tuple[Candidates, dict[str, object]]:
    """More candidates, made for the target; `aligned` says what choosing among them was worth."""
    goals, _ = goals_of(candidates, measured, context.task.describe, context.task.fields)
    goals = [goal for goal in goals if goal.chosen]
    if context.task.refinement == "admm":
        return by_admm(context, candidates, goals, gradient_block(measured), waves)
    return by_language_model(context, candidates, goals, waves, _WAVE_FACTOR)


def goals_of(
    candidates: Candidates, measured: Measured, describe: str | None = None, fields: Sequence[str] = ()
) -> tuple[list[Goal], NearDuplicates]:
    """For each class that wants rows: the noised target, its members' gradients, and which of them come closest.

    Returns:
        The goals, and all texts that were chosen.
    """
    block, counts = gradient_block(measured), measured.target.counts
    noise, words = measured.release.noise["gradient"], measured.ground.words
    seen = NearDuplicates()
    goals = []
    for k, quota in enumerate(measured.wanted):
        members = np.flatnonzero(candidates.labels == k)
        if not members.size or not quota:
            continue
        gradients = gradients_of(candidates.means[members], candidates.labels[members], block.weights, block.clip)
        noised = measured.release.block("gradient")[k].ravel() / counts[k]
        # Refined candidates must not move the goal posts: the prior is the mean of those that were sampled.
        prior = gradients[members < measured.sampled] if (members < measured.sampled).any() else gradients
        target = shrunk(noised, prior.mean(axis=0), float(noise / counts[k]))
        texts = [candidates.texts[int(i)] for i in members]
        chosen, matcher, seen = closer(gradients, target, quota, texts, seen)
        prompt = item_prompts(describe, words[k] if len(words) > k else None, fields)[0]
        goals.append(Goal(k, prompt, members, gradients, target, chosen, quota, matcher))
    return goals, seen


def gradient_block(measured: Measured) -> HeadGradientBlock:
    """What `head_gradients` made."""
    return next(block for block in measured.more if isinstance(block, HeadGradientBlock))


def closer(
    gradients: FloatArray, target: FloatArray, quota: int, texts: Sequence[str], seen: NearDuplicates
) -> tuple[list[int], str, NearDuplicates]:
    """The greedy or the Frank-Wolfe rows of one class, whichever comes closer to the target; near-duplicates left out.

    A Frank-Wolfe solution with fewer rows of positive weight than the quota is filled up greedily. It is taken only
    where it has as many rows as the greedy choice and a higher cosine, so the choice is never worse than the greedy
    one.

    Returns:
        The rows, which of the two found them, and `seen` with them.
    """
    greedy, heavy = deepcopy(seen), deepcopy(seen)
    first = greedy_cosine(gradients, target, quota, accept=lambda i: greedy.add(texts[i]))
    weights = frank_wolfe(gradients, target, _STEPS_PER_ROW * quota)
    support = heaviest(weights, quota, accept=lambda i: heavy.add(texts[i]))
    second = greedy_cosine(gradients, target, quota, start=support, accept=lambda i: heavy.add(texts[i]))
    # Sorted, so that the same rows in another order do not differ by rounding.
    reached = [cosine(gradients[sorted(rows)], target) for rows in (first, second)]
    if len(second) == len(first) and reached[1] > reached[0]:
        return second, "frank-wolfe", heavy
    return first, "greedy", greedy
