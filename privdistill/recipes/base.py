"""The contract of a recipe: what it is told, what it may ask, what it returns.

A recipe never receives the corpus. It states its mechanisms up front (`mechanisms`), so that all parameters are
calibrated and charged before the first noise is drawn; then `run` is a Python generator that yields
`MechanismRequest`s, receives `Release`s and returns `Rows`. Everything in a `Context` is public.

It does not know the corpus, the ledger, the audit or the gate.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, cast, runtime_checkable

import numpy as np

from privdistill.config import Performance
from privdistill.errors import ConfigError
from privdistill.features.encoded import TextEncoder
from privdistill.mechanisms.release import FloatArray, MechanismRequest, Release, Reservation
from privdistill.models.interface import TunableModel
from privdistill.models.loading import Located, Models
from privdistill.recipes.memory import RememberingModel, sampling_generator
from privdistill.synthesis.rationales.writing import Rationales, write_rationales
from privdistill.synthesis.teacher import Teacher

__all__ = [
    "Context",
    "Foreseeing",
    "PlannedMechanism",
    "Progress",
    "Recipe",
    "RecipeRun",
    "Rows",
    "Task",
    "converse",
    "explained",
    "make_context",
]


class Progress(Protocol):
    """Where a recipe reports how far it is; silent off a terminal."""

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Say that `done` of `total` steps of `stage` are behind us (stage is a few words in lower case)."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is declared or released about the job.

    Attributes:
        labelled: whether the corpus has a label column.
        labels: class labels, declared or released; None while unknown, or when unlabelled.
        other: index in `labels` that stands for every label outside the list, or None.
        label_descriptions: label -> words for the prompts (declared).
        describe: declared description of the texts, e.g. `short movie reviews`.
        rows: exactly how many rows must come out.
        size: declared corpus size in records, or None.
        epsilon: total epsilon of the run (None for a recipe that claims nothing).
        delta: total delta of the run.
        class_shares: `tempered` or `counted`, see `matching.quotas`.
        refinement: how candidates are refined after they were sampled, for recipes that can.
        matcher: the recipe that chooses from candidates, for one that trains the language model.
        tuned_weights: what a recipe that trains the language model trains (see `config.Synthesis`).
        tuned_layers: of how many of the last layers; None: by the recipe's rule.
        vocabulary_shortlist: over how many tokens of public text its softmax runs; None: over all.
        recompute: whether trained layers are computed twice instead of kept (`config.Performance`).
        pool_factor: candidates per row; None: by the recipe's rule (`config.Performance`).
        teachers: how many teachers label candidates, and what is done where they disagree (see `config.Synthesis`).
        fields: names of the fields that a text is made of (see `features.fields`), or none.
        rationales: whether rows are explained once they are there (see `synthesis.rationales`).
        holdout: share of units that no mechanism reads.
    """

    labelled: bool
    labels: tuple[str, ...] | None
    other: int | None
    label_descriptions: Mapping[str, str]
    describe: str | None
    rows: int
    size: int | None
    epsilon: float | None
    delta: float | None
    class_shares: Literal["tempered", "counted"] = "tempered"
    refinement: Literal["none", "admm", "language-model"] = "none"
    matcher: Literal["distribution", "gradient", "metamodel", "trajectory"] = "distribution"
    tuned_weights: Literal["low-rank", "whole", "full"] = "low-rank"
    tuned_layers: int | None = None
    vocabulary_shortlist: int | None = None
    recompute: bool = False
    pool_factor: float | None = None
    teachers: Literal["one", "mean", "drop"] = "one"
    fields: tuple[str, ...] = ()
    rationales: bool = False
    holdout: float = 0.0

    @property
    def train_size(self) -> float | None:
        """About how many of the declared records mechanisms read."""
        return None if self.size is None else self.size * (1 - self.holdout)


@dataclass(frozen=True, slots=True)
class PlannedMechanism:
    """One mechanism a recipe will ask for, once.

    Attributes:
        name: what requests call it.
        kind: `sampled-gaussian` for DP-SGD.
        share: its part of the recipe's budget (of mu squared, see `accounting.budget`); shares add up to 1.
        sample_rate: of DP-SGD.
        steps: of DP-SGD.
    """

    name: str
    kind: Literal["gaussian", "sampled-gaussian", "none"]
    share: float
    sample_rate: float = 1.0
    steps: int = 1


@dataclass(frozen=True, slots=True)
class Rows:
    """What a recipe returns: exactly `task.rows` texts.

    Attributes:
        texts: the synthetic texts.
        labels: one label a text (cluster names when unlabelled).
        soft_labels: (rows, K) class probabilities in the order of `class_names`, or None.
        class_names: the K names.
        below_noise: classes whose noised count does not stand out of the noise.
        facts: public numbers worth a line in the run report (noised counts, pool size, ...). Post-processing only.
        teacher: what labelled the candidates, read off releases alone, or None.
        rationales: what the public model wrote about the rows once they were there, or None.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    soft_labels: FloatArray | None
    class_names: tuple[str, ...]
    below_noise: tuple[str, ...] = ()
    facts: Mapping[str, object] = field(default_factory=dict)
    teacher: Teacher | None = None
    rationales: Rationales | None = None

    @property
    def repeated(self) -> int:
        """How many rows have a text that another row has already."""
        return len(self.texts) - len(set(self.texts))

    def shortcomings(self) -> Iterator[str]:
        """What these rows cannot do, in sentences; post-processing, where anything is claimed of the rows at all."""
        for name in self.below_noise:
            yield f"class {name!r} is below the noise floor: what was released about it is mostly noise"
        if self.repeated:
            yield (
                f"{self.repeated} of {len(self.texts)} rows repeat the text of another row, because too few different "
                "ones were written; ask for fewer --rows, choose another --model, or raise pool_factor"
            )


@dataclass(frozen=True, slots=True)
class Context:
    """Everything a recipe may use; all of it public.

    Attributes:
        task: what is declared or released.
        noise_multipliers: planned mechanism name -> calibrated noise multiplier (None for kind `none`).
        encoder: public, record-local text encoder and tokenizer; the same maps that the mechanisms apply.
        language_model: the public language model.
        performance: settings that change speed, never privacy.
        rng: randomness for sampling and selection (post-processing), seeded from the operating system.
        progress: where to report.
        located: where the models lie, so that a recipe in another process can load them too.
    """

    task: Task
    noise_multipliers: Mapping[str, float | None]
    encoder: TextEncoder
    language_model: TunableModel
    performance: Performance
    rng: np.random.Generator
    progress: Progress
    located: Located | None = None

    @property
    def labels_released(self) -> bool:
        """Whether the label list was measured first; nobody declared then how long its names are."""
        return "labels" in self.noise_multipliers


RecipeRun = Generator[MechanismRequest, Release, Rows]


@runtime_checkable
class Foreseeing(Protocol):
    """A recipe that says what it will ask for, as far as public facts tell, so that a refusal comes before a charge."""

    def foreseen(self, task: Task, models: Models) -> tuple[MechanismRequest, ...]:
        """Requests whose shape, model and limits are those that `run` will ask with; counts stand for themselves."""


@runtime_checkable
class Recipe(Protocol):
    """A recipe plug-in."""

    name: str

    def mechanisms(self, task: Task) -> tuple[PlannedMechanism, ...]:
        """Every mechanism the recipe will ask for, with its share of the budget. A function of public facts only."""

    def noise_floor(self, task: Task, noise_multipliers: Mapping[str, float]) -> float:
        """Records per class below which what is released about a class is mostly noise. A function of public facts."""

    def run(self, context: Context) -> RecipeRun:
        """Yield requests by plan name, receive releases, return rows."""


def make_context(
    task: Task,
    mechanisms: Sequence[Reservation],
    models: Models,
    performance: Performance,
    progress: Progress,
    private: Path,
) -> Context:
    """Everything public in one place; what is written, and `rng`, are remembered in the run's folder `private`."""
    return Context(
        task=task,
        noise_multipliers={planned.name: planned.noise_multiplier for planned in mechanisms},
        encoder=models.encoder,
        language_model=cast("TunableModel", RememberingModel(models.language_model, private)),
        performance=performance,
        rng=sampling_generator(private),
        progress=progress,
        located=models.located,
    )


def converse(recipe: Recipe, context: Context, answer: Callable[[MechanismRequest], Release]) -> Rows:
    """Run a recipe to its end, answering each request; the recipe sees releases and nothing else."""
    steps = recipe.run(context)
    try:
        request = next(steps)
        while True:
            request = steps.send(answer(request))
    except StopIteration as end:
        rows = end.value
    finally:
        steps.close()  # now, also when no answer was given: a recipe may have a process to end
    if not isinstance(rows, Rows):
        raise ConfigError(f"recipe {recipe.name!r} returned {type(rows).__name__}, expected Rows")
    return rows


def explained(rows: Rows, context: Context) -> Rows:
    """The rows with rationales, if the task asks for them: made of the rows and the public model, so nothing is spent.

    Guarantee: that of the rows; post-processing. Unit, adjacency, sensitivity: as for the rows.
    """
    if not context.task.rationales:
        return rows
    made = write_rationales(
        context.language_model,
        rows.texts,
        context.task.fields,
        rng=context.rng,
        progress=lambda done, total: context.progress("writing rationales", done, total),
    )
    return replace(rows, rationales=made, facts={**rows.facts, **made.facts})
