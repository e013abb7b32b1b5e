"""Trials: every student trained on one training set and tested on the same records, and what the tables make of them.

One trial may hold several samples, one a generation. It does not know whether a training set is synthetic or real: its
caller names it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.findings import Estimate
from privdistill.evaluation.intervals import (
    bootstrapped,
    over_draws,
    over_generations,
    paired_difference,
    paired_ratio,
    wilson,
)
from privdistill.evaluation.schema import (
    ClassUtility,
    CurvePoint,
    DiscretisationGap,
    Generational,
    GroupUtility,
    Origin,
    Taught,
    Trained,
)
from privdistill.evaluation.scores import accuracy, balanced_accuracy, class_scores, confusion, macro_f1, right, truth
from privdistill.evaluation.students import Student
from privdistill.evaluation.subsets import SELECTIONS, Sample, centroids, per_class

__all__ = ["ALL_REAL", "Bench", "Trial"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
Report = Callable[[str, int, int], None]

ALL_REAL = "real, all training records"
_CURVE = (5, 10, 20, 50, 200)
_CURVE_STUDENTS = ("words", "encoder")
_GAP = (5, 10, 20, 50)
_DRAWS = 5


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One training set, every student; one entry a generation.

    Attributes:
        name: of the training set.
        origin: what it is made of.
        samples: the training sets themselves, what students were trained on and nothing else.
        tables: student -> (K + 1, K) confusion tables.
        right: student -> (n,) 1 where the answer is right.
        seconds: student -> of training.
    """

    name: str
    origin: Origin
    samples: Sequence[Sample]
    tables: Mapping[str, list[FloatArray]]
    right: Mapping[str, list[FloatArray]]
    seconds: Mapping[str, list[float]]


class Bench:
    """Students, classes and test records."""

    def __init__(
        self, students: Sequence[Student], classes: Sequence[str], tested: Sample, rng: np.random.Generator
    ) -> None:
        """Fix what is compared.

        Args:
            students: the families.
            classes: K classes of the run.
            tested: test records with their labels.
            rng: randomness of subsets and bootstrap draws.
        """
        self.students = tuple(students)
        self._classes, self._tested, self._rng = tuple(classes), tested, rng
        self._real = truth(tested.labels, classes)  # (n,)

    @property
    def outside(self) -> int:
        """Test records whose label no student can answer."""
        return int((self._real == len(self._classes)).sum())

    def within(self, sample: Sample) -> Sample:
        """The texts that are of a class of the run, under its name; `other` takes all others where the run has it.

        Parts of real records are drawn from these: others are no training data, and a part would come out smaller.
        """
        index = truth(sample.labels, self._classes)
        kept = np.flatnonzero(index < len(self._classes))
        part = sample if len(kept) == len(sample) else sample.take(kept)
        return Sample(part.texts, tuple(self._classes[k] for k in index[kept]), part.spaces)

    def majority(self, trial: Trial) -> Estimate:
        """Accuracy of always answering the commonest label of the trial's first sample."""
        index = truth(trial.samples[0].labels, self._classes)
        hits = right(self._real, np.full_like(self._real, np.bincount(index, minlength=len(self._classes)).argmax()))
        return wilson(float(hits.mean()), len(hits))

    def trial(self, name: str, origin: Origin, samples: Sequence[Sample], progress: Report) -> Trial:
        """Train every student on the rows of every sample that are of a class."""
        samples = [self.within(sample) for sample in samples]
        tables: dict[str, list[FloatArray]] = {student.name: [] for student in self.students}
        hits: dict[str, list[FloatArray]] = {student.name: [] for student in self.students}
        seconds: dict[str, list[float]] = {student.name: [] for student in self.students}
        for done, student in enumerate(self.students):
            progress(f"students on {name}", done, len(self.students))
            for sample in samples:
                found = student.answer(sample, self._tested, self._classes)
                tables[student.name].append(confusion(self._real, found.classes, len(self._classes)))
                hits[student.name].append(right(self._real, found.classes))
                seconds[student.name].append(found.seconds)
        progress(f"students on {name}", len(self.students), len(self.students))
        return Trial(name, origin, samples, tables, hits, seconds)

    def table(self, trials: Sequence[Trial]) -> Iterator[Trained]:
        """The cross-architecture table: training sets by students."""
        full = next((one for one in trials if one.name == ALL_REAL), None)
        for trial in trials:
            for student in self.students:
                mean = np.mean(trial.tables[student.name], axis=0)  # (K + 1, K)
                hits = np.mean(trial.right[student.name], axis=0)  # (n,)
                yield Trained(
                    trained_on=trial.name,
                    origin=trial.origin,
                    student=student.name,
                    rows=len(trial.samples[0]),
                    accuracy=wilson(float(accuracy(mean)), len(hits)),
                    balanced_accuracy=bootstrapped(balanced_accuracy, mean, self._rng),
                    macro_f1=bootstrapped(macro_f1, mean, self._rng),
                    generations=_over_generations(trial.tables[student.name]),
                    of_real=None if full is None else paired_ratio(hits, full.right[student.name][0], self._rng),
                )

    def taught(self, answers: Sequence[IntArray], trials: Sequence[Trial]) -> Taught:
        """What teachers answered, beside the students of the first trial and of all real records.

        Args:
            answers: (n,) class indices, one array a generation.
            trials: the rows first.
        """
        tables = [confusion(self._real, one, len(self._classes)) for one in answers]
        mean = np.mean(tables, axis=0)  # (K + 1, K)
        hits = np.mean([right(self._real, one) for one in answers], axis=0)  # (n,)
        full = [one for one in trials if one.name == ALL_REAL]  # none where a run keeps no private side
        shares = {
            student.name: paired_ratio(hits, one.right[student.name][0], self._rng)
            for one in full
            for student in self.students
        }
        return Taught(
            accuracy=wilson(float(accuracy(mean)), len(hits)),
            balanced_accuracy=bootstrapped(balanced_accuracy, mean, self._rng),
            macro_f1=bootstrapped(macro_f1, mean, self._rng),
            generations=_over_generations(tables),
            of_real={name: share for name, share in shares.items() if share is not None},
            ahead={
                student.name: paired_difference(hits, np.mean(trials[0].right[student.name], axis=0))
                for student in self.students
            },
        )

    def by_class(self, trial: Trial) -> Iterator[ClassUtility]:
        """Recall, precision and F1 of each class."""
        sizes = {name: len(rows) for name, rows in trial.samples[0].members().items()}
        for student in self.students:
            scores = class_scores(np.mean(trial.tables[student.name], axis=0))
            for label, score in zip(self._classes, scores, strict=True):
                yield ClassUtility(
                    label=label,
                    student=student.name,
                    trained_rows=sizes.get(label, 0),
                    recall=wilson(score.recall, score.n, "test records of the class"),
                    precision=score.precision,
                    f1=score.f1,
                )

    def by_group(self, trial: Trial, groups: Sequence[str]) -> Iterator[GroupUtility]:
        """Accuracy in each group of test records."""
        named = np.asarray(groups)
        for student in self.students:
            hits = np.mean(trial.right[student.name], axis=0)
            for group in np.unique(named):
                own = hits[named == group]
                found = wilson(float(own.mean()), len(own), "test records of the group")
                yield GroupUtility(group=str(group), student=student.name, accuracy=found)

    def curve(self, made: Sample, known: Sample | None, progress: Report) -> Iterator[CurvePoint]:
        """Accuracy with 5 to 200 rows of each class, chosen from the rows and from the real records."""
        ways: list[tuple[str, Origin, Sample, str]] = [
            ("synthetic", "synthetic", made, way) for way in ("random", "k-center")
        ]
        if known is not None:
            ways += [("real", "non-private reference", known, way) for way in SELECTIONS]
        students = [student for student in self.students if student.name in _CURVE_STUDENTS]
        for done, (name, origin, sample, way) in enumerate(ways):
            progress("few rows a class", done, len(ways))
            for count in _CURVE:
                if max(map(len, sample.members().values()), default=0) < count:
                    continue
                draws = _DRAWS if way == "random" else 1
                parts = [
                    sample.take(SELECTIONS[way](sample, per_class(sample, count), self._rng)) for _ in range(draws)
                ]
                for student in students:
                    shares = [float(np.mean(self._answered(student, part))) for part in parts]
                    yield CurvePoint(
                        trained_on=f"{name}, {way}",
                        origin=origin,
                        student=student.name,
                        per_class=count,
                        rows=len(parts[0]),
                        draws=draws,
                        accuracy=over_draws(shares, len(self._tested)),
                    )
        progress("few rows a class", len(ways), len(ways))

    def gaps(self, made: Sample, known: Sample | None) -> Iterator[DiscretisationGap]:
        """k-means centres of each class against the texts nearest to them, as training data of the encoder student."""
        student = next((one for one in self.students if one.name == "encoder"), None)
        named: list[tuple[str, Origin, Sample | None]] = [
            ("synthetic", "synthetic", made),
            ("real", "non-private reference", known),
        ]
        for name, origin, sample in named:
            if student is None or sample is None or len(sample.members()) < 2:
                continue
            for count in _GAP:
                if max(map(len, sample.members().values())) <= count:
                    continue
                vectors, nearest = centroids(sample, per_class(sample, count), self._rng)
                free, bound = self._answered(student, vectors), self._answered(student, sample.take(nearest))
                yield DiscretisationGap(
                    trained_on=name,
                    origin=origin,
                    per_class=count,
                    embedding_level=wilson(float(free.mean()), len(free)),
                    text_level=wilson(float(bound.mean()), len(bound)),
                    gap=paired_difference(free, bound),
                )

    def _answered(self, student: Student, sample: Sample) -> FloatArray:
        """1 where a student of this sample is right, (n,)."""
        return right(self._real, student.answer(sample, self._tested, self._classes).classes)


def _over_generations(tables: Sequence[FloatArray]) -> Generational | None:
    found = [over_generations([float(of(one)) for one in tables]) for of in (accuracy, balanced_accuracy, macro_f1)]
    right_share, balanced, f1 = found
    if right_share is None or balanced is None or f1 is None:
        return None
    return Generational(accuracy=right_share, balanced_accuracy=balanced, macro_f1=f1)
