"""Recipe `distribution`: one noised statistic, then as much free matching as the machine allows.

A zero-shot public pool fixes the public map; one Gaussian statistic is measured through it; the language model,
steered by that statistic, writes candidates in waves; a teacher read off the same statistic labels them; and exactly
as many as asked for are selected so that their words, embeddings and lengths match it. Only the statistic costs
privacy.

It does not know private text: it sees a release.
"""

from collections.abc import Mapping

import numpy as np

from privdistill.errors import MechanismError
from privdistill.features.encoded import Encoded
from privdistill.matching.quotas import quotas
from privdistill.matching.target import NoisyTarget, read_target
from privdistill.mechanisms.release import ClassRule, Release, StatisticRequest
from privdistill.recipes.base import Context, PlannedMechanism, RecipeRun, Rows, Task
from privdistill.synthesis.clusters import cluster_rule
from privdistill.synthesis.measurement import PublicMap, make_public_map, record_sensitivity
from privdistill.synthesis.pool import Draft, public_pool
from privdistill.synthesis.prompts import label_words
from privdistill.synthesis.selection import select
from privdistill.synthesis.teacher import fit_teacher
from privdistill.synthesis.waves import Waves

__all__ = ["DistributionRecipe"]

_STATISTIC = "statistic"
_POOL_FACTOR = 2.5
"""Candidates written per row, when the performance settings do not say otherwise."""
_PUBLIC_TEXTS = (384, 768)
_PUBLIC_TOKENS = 48
_CLUSTERS = 8
_NOISE_FLOOR = 5.0
"""A class is told apart from nothing when its count stands so many noise deviations above zero."""


class DistributionRecipe:
    """Noised class statistics, matched by steered sampling and selection."""

    name = "distribution"

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """One full-batch Gaussian statistic takes the whole budget."""
        return (PlannedMechanism(_STATISTIC, "gaussian", 1.0),)

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """Five noise deviations of a class count."""
        return _NOISE_FLOOR * noise_multipliers[_STATISTIC] * record_sensitivity()

    def run(self, context: Context) -> RecipeRun:
        """Measure once, then generate and select."""
        task = context.task
        labels = task.labels if task.labelled and task.labels else None
        words: list[str | None] = label_words(labels, task.label_descriptions, task.other) if labels else [None]
        size = int(np.clip(task.rows, *_PUBLIC_TEXTS))
        public = public_pool(
            context.language_model,
            task.describe,
            words,
            size,
            max_tokens=_PUBLIC_TOKENS,
            rng=context.rng,
            progress=lambda done, total: context.progress("writing the public pool", done, total),
        )
        if len(public) < 2:
            raise MechanismError("the language model wrote no usable text; choose another --model or add --describe")
        encoded = context.encoder.encode([draft.text for draft in public])
        rule = (
            ClassRule(labels, other=task.other)
            if labels
            else cluster_rule(encoded.embeddings.astype(np.float64), min(_CLUSTERS, task.rows), context.rng)
        )
        noise = context.noise_multipliers[_STATISTIC]
        if noise is None:
            raise MechanismError("the statistic was planned without noise; nothing is asked for")
        map_ = make_public_map(encoded, context.encoder.vocabulary_size, noise)
        release = yield StatisticRequest(_STATISTIC, rule, map_.blocks)
        return _match(context, rule, words, map_, public, encoded, release)


def _match(
    context: Context,
    rule: ClassRule,
    words: list[str | None],
    map_: PublicMap,
    public: list[Draft],
    encoded: Encoded,
    release: Release,
) -> Rows:
    """Everything after the release: post-processing."""
    task = context.task
    target = read_target(release)
    teacher = fit_teacher(
        release,
        target,
        moment=map_.moment,
        tokens=map_.tokens,
        opening=map_.opening,
    )
    wanted = quotas(task.rows, target.shares)
    factor = context.performance.pool_factor or _POOL_FACTOR
    spoken: list[str | None] = words if len(words) == len(wanted) else [None] * len(wanted)
    waves = Waves(context, map_, release, target, teacher, spoken)
    candidates = waves.write(wanted, factor, public, encoded)
    chosen, owners = select(candidates, target, wanted)
    if not chosen:
        raise MechanismError("the language model wrote no usable text; choose another --model or describe the texts")
    order = context.rng.permutation(task.rows) % len(chosen)  # repeats rows only when the model wrote too few texts
    chosen, owners = [chosen[i] for i in order], owners[order]
    names = rule.names
    floor = _NOISE_FLOOR * release.noise["count"]
    return Rows(
        texts=tuple(candidates.texts[i] for i in chosen),
        labels=tuple(names[k] for k in owners),
        soft_labels=candidates.probabilities[chosen],
        class_names=names,
        below_noise=tuple(name for name, n in zip(names, release.block("count"), strict=True) if n < floor),
        facts=_facts(target, waves, candidates.agreement),
    )


def _facts(target: NoisyTarget, waves: Waves, agreement: float) -> dict[str, object]:
    """Numbers for the run report, all of them noised or synthetic."""
    return {
        "noised_counts": {name: round(float(n), 1) for name, n in zip(target.names, target.counts, strict=True)},
        "token_columns_above_noise": int(target.columns.size),
        "candidates_sampled": waves.sampled,
        "candidates_kept": waves.kept,
        "prompt_and_teacher_agree": round(agreement, 3),
        "waves": waves.count,
    }
