"""Recipe `distribution`: one noised statistic, then as much free matching as the machine allows.

A zero-shot public pool fixes the public map; one Gaussian statistic is measured through it; the language model,
steered by that statistic, writes candidates in waves; a teacher read off the same statistic labels them; and exactly
as many as asked for are selected so that their words, embeddings and lengths match it. Only the statistic costs
privacy.

It does not know private text: it sees a release.
"""

import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import numpy.typing as npt

from privdistill.errors import MechanismError
from privdistill.features.encoded import Encoded
from privdistill.matching.quotas import quotas, tempered
from privdistill.matching.target import NoisyTarget, read_target
from privdistill.mechanisms.release import (
    Block,
    ClassRule,
    FloatArray,
    IntArray,
    MechanismRequest,
    Release,
    StatisticRequest,
)
from privdistill.recipes.base import Context, PlannedMechanism, RecipeRun, Rows, Task
from privdistill.recipes.forecast import Forecast, statistic_forecast
from privdistill.synthesis.clusters import cluster_rule
from privdistill.synthesis.measurement import PublicMap, make_public_map, record_sensitivity
from privdistill.synthesis.panel import Panel, fit_panel
from privdistill.synthesis.pool import Draft, public_pool
from privdistill.synthesis.prompts import item_prompts, label_words
from privdistill.synthesis.selection import Candidates, select
from privdistill.synthesis.selection.rehearsal import divided_rows
from privdistill.synthesis.teacher import Teacher, fit_teacher
from privdistill.synthesis.waves import Author, Waves

__all__ = [
    "OPTIONS",
    "STATISTIC",
    "Choice",
    "DistributionRecipe",
    "Ground",
    "Matcher",
    "Matching",
    "Measured",
    "Measuring",
    "Refine",
    "expected_classes",
    "expected_texts",
    "herded",
    "make_ground",
    "match",
    "measure_and_match",
    "public_texts",
]

STATISTIC = "statistic"
"""Plan name of the one statistic."""
OPTIONS = ("class_shares", "teachers", "soft_label_temperature")
"""What the recipes of this spine heed beside the settings that every recipe does."""
_POOL_FACTOR, _MORE_TEXTS = 6.0, 12_000
"""Candidates written per row, when the performance settings do not say otherwise, and up to how many as many again:
those cost a quarter of an hour of two cores at most."""
_PUBLIC_TEXTS = (384, 768)
_PUBLIC_TOKENS = 48
_PADDING = 15
"""The most that training adds to a prompt and a text by padding each to a multiple of eight tokens."""
_CLUSTERS = 8
_NOISE_FLOOR = 5.0
"""A class is told apart from nothing when its count stands so many noise deviations above zero."""


@dataclass(frozen=True, slots=True, eq=False)
class Ground:
    """What is fixed in public before anything is measured.

    Attributes:
        rule: how a record finds its class.
        words: what each class is called in a prompt, or None.
        public: the zero-shot pool.
        encoded: the same, encoded.
        map_: the public map.
    """

    rule: ClassRule
    words: list[str | None]
    public: list[Draft]
    encoded: Encoded
    map_: PublicMap


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What a matcher may look at, beside the candidates: the ground, the release, and what was read off it.

    Attributes:
        ground: public.
        release: the noised statistic.
        target: the same, read.
        wanted: rows of each class.
        more: the blocks that were measured beside those of the public map.
        sampled: candidates that were there before any refinement, the first of the pool.
    """

    ground: Ground
    release: Release
    target: NoisyTarget
    wanted: Sequence[int]
    more: tuple[Block, ...] = ()
    sampled: int = sys.maxsize


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """Rows that a matcher chose.

    Attributes:
        rows: indices of candidates, near-duplicates left out as far as possible.
        owners: (rows,) class of each.
        soft_labels: (rows, K), or None for the teacher's probabilities.
        facts: what the matcher has to say, for the run report.
    """

    rows: list[int]
    owners: IntArray
    soft_labels: FloatArray | None = None
    facts: Mapping[str, object] = field(default_factory=dict)


Refine = Callable[[Candidates, Measured, Waves], tuple[Candidates, dict[str, object]]]
"""Improves candidates by what was released, and says what came of it."""


@dataclass(frozen=True, slots=True, eq=False)
class Matching:
    """What a matcher had measured, and how it chooses by that.

    Attributes:
        release: the noised statistic.
        choose: rows from candidates.
        more: the blocks that were measured beside those of the public map.
    """

    release: Release
    choose: Callable[[Candidates, Measured], Choice]
    more: tuple[Block, ...] = ()


Measuring = Generator[MechanismRequest, Release, Matching]
"""Asks for what a matcher needs, and ends with how it matches."""


class Matcher(Protocol):
    """A recipe of this spine: these differ in what they measure and how they choose."""

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """As of a recipe."""

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """As of a recipe."""

    def forecast(self, task: Task, noise_multipliers: Mapping[str, float]) -> Forecast:
        """As of a recipe."""

    def measure(self, ground: Ground) -> Measuring:
        """Ask for the releases, each by its plan name."""


def herded(candidates: Candidates, measured: Measured) -> Choice:
    """Distribution matching: words, embeddings and lengths of each class (see `synthesis.selection`)."""
    return Choice(*select(candidates, measured.target, measured.wanted))


class DistributionRecipe:
    """Noised class statistics, matched by steered sampling and selection."""

    name = "distribution"
    options = OPTIONS

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """One full-batch Gaussian statistic takes the whole budget."""
        return (PlannedMechanism(STATISTIC, "gaussian", 1.0),)

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """Five noise deviations of a class count."""
        return _NOISE_FLOOR * noise_multipliers[STATISTIC] * record_sensitivity()

    def forecast(self, task: Task, noise_multipliers: Mapping[str, float]) -> Forecast:
        """What to expect of the statistic and of the candidates."""
        return statistic_forecast(noise_multipliers[STATISTIC], expected_texts(task), expected_classes(task))

    def measure(self, ground: Ground) -> Measuring:
        """The statistic and no more."""
        return Matching((yield StatisticRequest(STATISTIC, ground.rule, ground.map_.blocks)), herded)

    def run(self, context: Context) -> RecipeRun:
        """Measure once, then generate and select."""
        return (yield from measure_and_match(context, self))


def expected_texts(task: Task) -> int:
    """About how many texts the language model writes."""
    return public_texts(task.rows) + int(np.ceil(_pool_factor(task) * task.rows))


def expected_classes(task: Task) -> int | None:
    """Classes that are measured: those declared, or clusters of unlabelled texts; None while labels are not known."""
    if not task.labelled:
        return min(_CLUSTERS, task.rows)
    return len(task.labels) if task.labels else None


def public_texts(rows: int) -> int:
    """Texts that are written from prompts alone, for so many rows."""
    return int(np.clip(rows, *_PUBLIC_TEXTS))


def _pool_factor(task: Task) -> float:
    """Candidates per row: what a choice can say is what its candidates say (docs/recipes.md)."""
    return task.pool_factor or _POOL_FACTOR + min(_POOL_FACTOR, _MORE_TEXTS / task.rows)


def measure_and_match(context: Context, matcher: Matcher, refine: Refine | None = None) -> RecipeRun:
    """The spine of the recipes that match a noised target.

    Args:
        context: public models and the task.
        matcher: what is measured, and how rows are chosen by it.
        refine: what improves the candidates before they are chosen from.
    """
    ground = make_ground(context)
    found = yield from matcher.measure(ground)
    return match(context, ground, found.release, found.choose, found.more, refine)


def make_ground(context: Context) -> Ground:
    """Everything before the release: public."""
    task = context.task
    labels = task.labels if task.labelled and task.labels else None
    words: list[str | None] = label_words(labels, task.label_descriptions, task.other) if labels else [None]
    if context.labels_released:
        words = [_with_room(context, word) for word in words]
    public = public_pool(
        context.language_model,
        task.describe,
        words,
        public_texts(task.rows),
        max_tokens=_PUBLIC_TOKENS,
        rng=context.rng,
        progress=lambda done, total: context.progress("writing the public pool", done, total),
        fields=task.fields,
    )
    if len(public) < 2:
        raise MechanismError("the language model wrote no usable text; choose another --model or add --describe")
    encoded = context.encoder.encode([draft.text for draft in public])
    rule = (
        ClassRule(labels, other=task.other)
        if labels
        else cluster_rule(encoded.embeddings.astype(np.float64), min(_CLUSTERS, task.rows), context.rng)
    )
    noise = context.noise_multipliers[STATISTIC]
    if noise is None:
        raise MechanismError("the statistic was planned without noise; nothing is asked for")
    map_ = make_public_map(encoded, context.encoder.vocabulary_size, noise)
    return Ground(rule, words, public, encoded, map_)


def _with_room(context: Context, word: str | None) -> str | None:
    """The words of a released label that leave the model room for a text: the list is paid for, so none is refused.

    What a prompt without it takes is looked at before anything is charged; both limits are public.
    """
    task, model = context.task, context.language_model
    if model.positions is None:
        return word
    room = model.positions - max(context.encoder.max_tokens, _PUBLIC_TOKENS) - _PADDING
    while word is not None:
        if max(len(model.token_ids(prompt)) for prompt in item_prompts(task.describe, word, task.fields)) <= room:
            break
        word = word.rpartition(" ")[0] or None
    return word


def match(
    context: Context,
    ground: Ground,
    release: Release,
    choose: Callable[[Candidates, Measured], Choice],
    more: tuple[Block, ...] = (),
    refine: Refine | None = None,
    author: Author | None = None,
) -> Rows:
    """Everything after the release: post-processing. An author writes half of the candidates."""
    task, map_ = context.task, ground.map_
    target = read_target(release)
    moment, tokens, opening = map_.moment, map_.tokens, map_.opening
    teacher = fit_teacher(release, target, moment=moment, tokens=tokens, opening=opening)
    labeller: Teacher | Panel = teacher
    if task.teachers != "one":
        labeller = fit_panel(release, target, moment=moment, tokens=tokens, opening=opening)
    floor = _NOISE_FLOOR * release.noise["count"]
    believed = release.block("count") >= floor  # (K,)
    wanted = quotas(task.rows, _class_shares(task, target.shares, believed))
    words = ground.words
    spoken: list[str | None] = words if len(words) == len(wanted) else [None] * len(wanted)
    waves = Waves(context, map_, release, target, labeller, spoken)
    candidates = waves.write(wanted, _pool_factor(task), ground.public, ground.encoded, author)
    measured, said = Measured(ground, release, target, wanted, more, len(candidates.texts)), dict[str, object]()
    if refine is not None:
        candidates, said = refine(candidates, measured, waves)
    if _rule(task) == "tempered":
        context.progress("dividing rows among classes", 0, 1)
        division = divided_rows(candidates, target, task.rows, believed)
        context.progress("dividing rows among classes", 1, 1)
        measured = replace(measured, wanted=division.wanted)
        said = {**said, "class_share_exponent": division.exponent, "exponents_tried": division.scores}
    choice = choose(candidates, measured)
    if not choice.rows:
        raise MechanismError("the language model wrote no usable text; choose another --model or describe the texts")
    # Repeats rows only when the model wrote too few texts, which is said.
    order = context.rng.permutation(task.rows) % len(choice.rows)
    chosen, owners = [choice.rows[i] for i in order], choice.owners[order]
    names = ground.rule.names
    return Rows(
        texts=tuple(candidates.texts[i] for i in chosen),
        labels=tuple(names[k] for k in owners),
        soft_labels=candidates.probabilities[chosen] if choice.soft_labels is None else choice.soft_labels[order],
        class_names=names,
        below_noise=tuple(name for name, seen in zip(names, believed, strict=True) if not seen),
        facts={
            **_facts(target, waves, candidates),
            **(_disputes(candidates) if task.teachers != "one" else {}),
            "rows_repeated": max(task.rows - len(choice.rows), 0),
            "class_shares": _rule(task),
            **choice.facts,
            **said,
        },
        teacher=teacher,
    )


def _rule(task: Task) -> str:
    """How rows are divided among classes: clusters of unlabelled texts are no labels that a student must tell apart."""
    return task.class_shares if task.labelled else "counted"


def _class_shares(task: Task, shares: FloatArray, believed: npt.NDArray[np.bool_]) -> FloatArray:
    return tempered(shares, believed) if _rule(task) == "tempered" else shares


def _facts(target: NoisyTarget, waves: Waves, candidates: Candidates) -> dict[str, object]:
    """Numbers for the run report, all of them noised or synthetic."""
    return {
        "noised_counts": {name: round(float(n), 1) for name, n in zip(target.names, target.counts, strict=True)},
        "token_columns_above_noise": int(target.columns.size),
        "candidates_sampled": waves.sampled,
        "candidates_kept": waves.kept,
        "prompt_and_teacher_agree": round(candidates.agreement, 3),
        "waves": waves.count,
    }


def _disputes(candidates: Candidates) -> dict[str, object]:
    """What several teachers disagree about; one teacher has nobody to disagree with, which is not agreement."""
    return {"disputed_by_teachers": round(1 - float(candidates.agreed.mean()), 3)}
