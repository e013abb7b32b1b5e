"""What the rows of one or several runs are worth on real records: train on synthetic, test on real.

Students of different families, beside the majority class, prompts alone, and real records; few rows a class; what is
lost because rows are texts; closeness, variety, cost. Several runs are generations of one configuration. Every number
is computed on private records without noise: internal, never part of a bundle. It does not know how rows were made.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

from privdistill.config import RunConfig
from privdistill.errors import UsageError
from privdistill.evaluation.fluency import perplexity
from privdistill.evaluation.generations import Generation, Generations, Labelled
from privdistill.evaluation.references import break_even, real_references, zero_shot
from privdistill.evaluation.schema import Cost, Evaluation, StudentFamily, Taught
from privdistill.evaluation.students import OTHER, STUDENTS, Student
from privdistill.evaluation.students.seen import seen_students
from privdistill.evaluation.students.spaces import Space, open_spaces, same_encoder
from privdistill.evaluation.subsets import Sample
from privdistill.evaluation.texts import Judge, closeness, variety
from privdistill.evaluation.trials import ALL_REAL, Bench, Trial
from privdistill.features.encoded import Encoded, read_tokens
from privdistill.models import assets
from privdistill.runs import now

__all__ = ["FAMILIES", "Wanted", "measure"]

FAMILIES = (*STUDENTS, "finetuned")
_PACED = 500
_SEED = 0
"""Of subsets, students and bootstrap draws: an evaluation repeats. Noise has no seed."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to measure.

    Attributes:
        students: families, out of `FAMILIES`.
        zero_shot: whether to write as many rows from prompts alone, and train on them as well.
        judge: a causal language model for perplexity (`embedded`, an id or a path), or None.
        group_column: column of the test file whose values make groups, or None.
        student_encoder: another sentence encoder for one more student (`embedded`, an id or a path), or None.
    """

    students: tuple[str, ...] = tuple(STUDENTS)
    zero_shot: bool = False
    judge: str | None = None
    group_column: str | None = None
    student_encoder: str | None = None

    def __post_init__(self) -> None:
        """Refuse what is not there."""
        unknown = [name for name in self.students if name not in FAMILIES]
        if len(set(self.students)) < len(self.students):
            raise UsageError("a student was named twice; each is trained once on every generation, name each once")
        if unknown or not self.students:
            raise UsageError(f"unknown student {', '.join(unknown)!r}; expected some of: {', '.join(FAMILIES)}")


def measure(generations: Generations, test: Labelled, wanted: Wanted, progress: assets.AssetProgress) -> Evaluation:
    """Measure everything that can be, and say what cannot.

    Args:
        generations: the runs, their configuration and the records they were made from.
        test: real records that no run has read.
        wanted: what to measure.
        progress: where to report.

    Raises:
        UsageError: nothing to measure on.
        AssetError: a model cannot be had.
    """
    if len(test.texts) < 4:
        raise UsageError(f"expected at least 4 test records, found {len(test.texts)}; give a larger file")
    runs, config, real = generations.runs, generations.config, generations.real
    rng = np.random.default_rng(_SEED)
    notes = _left_out(generations, test, wanted)
    spaces = open_spaces(
        config.synthesis,
        config.performance,
        static="static" in wanted.students,
        other=wanted.student_encoder,
        notes=notes,
        progress=progress,
    )

    def sample(texts: Sequence[str], labels: Sequence[str] | None) -> Sample:
        embedded = {name: space.embed(texts) for name, space in spaces.items()}
        return Sample(tuple(texts), tuple(labels or [""] * len(texts)), embedded)

    pace = _pace(spaces, test.texts)
    tested = sample(test.texts, test.labels)
    same = same_encoder(spaces, tested.spaces)
    if same:
        notes.append("a student on another encoder: the one that was named is the run's own; name another")
    made = [sample(one.texts, one.labels) for one in runs]
    known = None if real is None else sample(real.texts, real.labels)
    seen = seen_students((one.facts.recipe for one in runs), config.synthesis, same_encoder=same)
    trials: list[Trial] = []
    bench: Bench | None = None
    taught: Taught | None = None
    classes: tuple[str, ...] = ()
    of_classes: Sample | None = None
    if test.labels is None:
        notes.append("utility: the run was told of no label column")
    else:
        classes = config.source.labels or tuple(sorted({label for one in made for label in one.labels}))
        bench = Bench(_families(config, wanted, spaces, progress), classes, tested, rng)
        trials.append(bench.trial("synthetic", "synthetic", made, progress))
        if wanted.zero_shot:
            written = _prompted(config, classes, len(made[0]), rng, progress)
            trials.append(bench.trial("zero-shot pool", "public", [sample(*written)], progress))
        else:
            notes.append("zero-shot pool (epsilon 0): not asked for; --zero-shot writes one")
        of_classes = None if known is None else bench.within(known)
        if of_classes is not None and not len(of_classes):
            notes.append("references of real records: none of them has a label of the run")
            of_classes = None
        rows = len(trials[0].samples[0])
        for name, part in [] if of_classes is None else real_references(of_classes, rows, rng):
            trials.append(bench.trial(name, "non-private reference", [part], progress))
        answers = _answers(runs, config, classes, tested, progress)
        if answers is None:
            notes.append("the DP teacher: the recipe has none, or the run was made before runs kept it")
        else:
            taught = bench.taught(answers, trials)
    return Evaluation(
        created_at=now(),
        code_version=version("privdistill"),
        runs=tuple(one.facts for one in runs),
        classes=classes,
        test_records=len(tested),
        test_dropped=test.dropped,
        test_outside_classes=bench.outside if bench else 0,
        majority=bench.majority(trials[0]) if bench else None,
        students=tuple(_family(one, seen, spaces) for one in bench.students) if bench else (),
        utility=tuple(bench.table(trials)) if bench else (),
        teacher=taught,
        per_class=tuple(bench.by_class(trials[0])) if bench else (),
        per_group=tuple(bench.by_group(trials[0], test.groups)) if bench and test.groups else (),
        curve=tuple(bench.curve(trials[0].samples[0], of_classes, progress)) if bench else (),
        discretisation=tuple(bench.gaps(trials[0].samples[0], of_classes)) if bench else (),
        closeness=tuple(closeness(made[0], tested, known, seen, rng)),
        variety=tuple(variety(made[0], tested, known, config.synthesis.describe, _judge(wanted, rng, progress), rng)),
        cost=tuple(_costs(runs, trials, bench.students, pace)) if bench else (),
        not_measured=tuple(notes),
    )


def _left_out(generations: Generations, test: Labelled, wanted: Wanted) -> list[str]:
    """What will not be measured, as far as it is known before anything is."""
    unknown = any(one.facts.seconds is None for one in generations.runs)
    return [
        sentence
        for sentence, holds in (
            ("whether test records are also training records: a run keeps no private side", test.dropped is None),
            ("references of real records: the run keeps no private side", generations.real is None),
            ("seconds of a run that was resumed: how long it stood still is not known; not in break-even", unknown),
            (
                "perplexity under a neural model: not asked for (--judge); the embedded one wrote the rows",
                wanted.judge is None,
            ),
            (
                "a student on an encoder that is no part of the run: not asked for (--student-encoder); `static` "
                "stands on the input table of the language model that wrote the rows",
                wanted.student_encoder is None,
            ),
            ("curve, gap, closeness and variety: of the first run only", len(generations.runs) > 1),
        )
        if holds
    ]


def _pace(spaces: Mapping[str, Space], texts: Sequence[str]) -> dict[str, float]:
    """Seconds of embedding a text in each space, of up to 500 texts; what a first text waits for is not counted."""
    found = {}
    for name, space in spaces.items():
        space.embed(texts[:1])
        start = time.perf_counter()
        space.embed(texts[:_PACED])
        found[name] = (time.perf_counter() - start) / len(texts[:_PACED])
    return found


def _families(
    config: RunConfig, wanted: Wanted, spaces: Mapping[str, Space], progress: assets.AssetProgress
) -> list[Student]:
    found = [STUDENTS[name] for name in wanted.students if name in STUDENTS]
    found = [student for student in found if student.space is None or student.space in spaces]
    if "other" in spaces:
        found.append(OTHER)
    if "finetuned" in wanted.students:
        from privdistill.evaluation.students.networks import finetuned

        found.append(finetuned(assets.resolve(config.synthesis.encoder, "encoder", progress), "the run's encoder"))
    return found


def _family(student: Student, seen: frozenset[str], spaces: Mapping[str, Space]) -> StudentFamily:
    space = spaces.get("encoder" if student.name == "finetuned" else student.space or "")
    return StudentFamily(
        name=student.name,
        about=student.about,
        seen_by_generator=student.name in seen,
        stands_on=None if space is None else space.stands_on,
    )


def _prompted(
    config: RunConfig, classes: Sequence[str], rows: int, rng: np.random.Generator, progress: assets.AssetProgress
) -> tuple[list[str], list[str]]:
    """Texts and labels from prompts alone."""
    from privdistill.models.loading import load_models

    model = load_models(config.synthesis, config.performance, progress).language_model
    written = zero_shot(model, classes, config, rows, rng, progress)
    return [text for text, _ in written], [label for _, label in written]


def _answers(
    runs: Sequence[Generation],
    config: RunConfig,
    classes: Sequence[str],
    tested: Sample,
    progress: assets.AssetProgress,
) -> list[np.ndarray] | None:
    """What the teacher of each run says of the test records, as class indices; None unless every run has one."""
    teachers = [one.teacher for one in runs if one.teacher is not None]
    if len(teachers) < len(runs):
        return None
    from privdistill.models.tokenizer import ModelTokenizer

    folder = assets.resolve(config.synthesis.model, "language-model", progress)
    tokenizer = ModelTokenizer(folder, model_id="language model")
    read = Encoded(tested.spaces["encoder"], *read_tokens(tested.texts, tokenizer, config.synthesis.max_tokens))
    return [teacher.answers(read, classes) for teacher in teachers]


def _judge(wanted: Wanted, rng: np.random.Generator, progress: assets.AssetProgress) -> tuple[str, Judge] | None:
    if wanted.judge is None:
        return None
    folder = assets.resolve(wanted.judge, "language-model", progress)
    embedded = " (wrote the rows by default: favours them)" if wanted.judge == "embedded" else ""
    return f"{folder.name}{embedded}", lambda texts: perplexity(folder, folder.name, texts, rng)


def _costs(
    runs: Sequence[Generation], trials: Sequence[Trial], students: Sequence[Student], pace: dict[str, float]
) -> list[Cost]:
    """What distilling took, and one training on either corpus, embedding of its texts included."""
    full = next((trial for trial in trials if trial.name == ALL_REAL), None)
    if full is None:
        return []
    timed = [one.facts.seconds for one in runs if one.facts.seconds is not None]
    distilling = float(np.mean(timed)) if timed else None
    found = []
    for student in students:
        embedding = pace[student.space] if student.space is not None else 0.0
        ours, theirs = (
            float(np.mean(trial.seconds[student.name])) + embedding * len(trial.samples[0])
            for trial in (trials[0], full)
        )
        found.append(
            Cost(
                student=student.name,
                distilling=distilling,
                training_synthetic=ours,
                training_real=theirs,
                break_even=None if distilling is None else break_even(distilling, ours, theirs),
            )
        )
    return found
