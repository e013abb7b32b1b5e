"""`privdistill.evaluation/v1`: what an evaluation hands to people and programs, as frozen models.

Every number is an `Estimate` (value, interval, n, method) or a plain count or time. The document is internal: it was
computed on private records without noise. Types only; it does not know how a number was computed.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from audits.findings import Estimate

__all__ = [
    "EVALUATION_SCHEMA",
    "ClassUtility",
    "Closeness",
    "Cost",
    "CurvePoint",
    "DiscretisationGap",
    "Evaluation",
    "GeneratedRun",
    "Generational",
    "GroupUtility",
    "Measure",
    "Origin",
    "StudentFamily",
    "Taught",
    "Trained",
    "Variety",
]

EVALUATION_SCHEMA = "privdistill.evaluation/v1"

Count = Annotated[int, Field(ge=0)]
Seconds = Annotated[float, Field(ge=0.0)]
Origin = Literal["synthetic", "public", "non-private reference"]
"""What a training set is made of; a non-private reference is real records, and protects nobody."""


Measure = Literal["frechet", "mauve", "precision", "recall"]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True)


class GeneratedRun(_Frozen):
    """One evaluated run: one generation."""

    run_id: str
    recipe: str
    epsilon: float | None
    delta: float | None
    rows: Count
    seconds: Seconds | None
    """From the start of the run until its claim was written, on the machine that made it; None: it was resumed, and how
    long it stood still is not known."""


class StudentFamily(_Frozen):
    """A student, and whether the generator could have pleased it on purpose."""

    name: str
    about: str
    seen_by_generator: bool
    """Whether the recipe of a run chose rows by the very features this student reads, as far as it is known here."""
    stands_on: str | None = None
    """The model whose embeddings it reads, as a claim would name it; None: it reads words."""


class Generational(_Frozen):
    """Scores over independent generations, the test records held fixed."""

    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate


class Trained(_Frozen):
    """One cell of the cross-architecture table: one training set, one student."""

    trained_on: str
    origin: Origin
    student: str
    rows: Count
    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    generations: Generational | None
    """The same scores over generations; None for a single one."""
    of_real: Estimate | None
    """Accuracy as a share of the same student's on all real training records."""


class Taught(_Frozen):
    """The DP teacher itself: a classifier read off the releases, without a row between."""

    accuracy: Estimate
    balanced_accuracy: Estimate
    macro_f1: Estimate
    generations: Generational | None
    of_real: dict[str, Estimate]
    """Student -> accuracy of the teacher as a share of that student's on all real training records."""
    ahead: dict[str, Estimate]
    """Student -> accuracy of the teacher minus that of the student trained on the rows, same records."""


class ClassUtility(_Frozen):
    """One class, one student trained on the synthetic rows."""

    label: str
    student: str
    trained_rows: Count
    recall: Estimate
    precision: float
    f1: float


class GroupUtility(_Frozen):
    """One group of test records, one student trained on the synthetic rows."""

    group: str
    student: str
    accuracy: Estimate


class CurvePoint(_Frozen):
    """Accuracy with a few rows of each class."""

    trained_on: str
    origin: Origin
    student: str
    per_class: Count
    rows: Count
    draws: Count
    accuracy: Estimate


class DiscretisationGap(_Frozen):
    """What is lost because rows must be texts: k-means centres against the texts nearest to them, encoder student."""

    trained_on: str
    origin: Origin
    per_class: Count
    embedding_level: Estimate
    text_level: Estimate
    gap: Estimate


class Closeness(_Frozen):
    """How near the synthetic rows are to the test records in one space, beside how near real training records are."""

    space: str
    seen_by_generator: bool
    measure: Measure
    synthetic: Estimate
    real: Estimate | None


class Variety(_Frozen):
    """A property of the texts themselves, beside that of as many real training records."""

    measure: str
    synthetic: Estimate
    real: Estimate | None


class Cost(_Frozen):
    """What distilling cost and what it saves whoever trains this student."""

    student: str
    distilling: Seconds | None
    """Mean over the runs that went through in one go; None where none did."""
    training_synthetic: Seconds
    training_real: Seconds
    break_even: float | None
    """Trainings after which distilling has paid; None when training on the rows is not cheaper, or `distilling` is
    not known."""


class Evaluation(_Frozen):
    """Everything that was measured, and what was not."""

    schema_: Literal["privdistill.evaluation/v1"] = Field(default="privdistill.evaluation/v1", alias="schema")
    internal: Literal[True] = True
    """Computed on private records without noise: never part of a bundle."""
    created_at: str
    code_version: str
    runs: tuple[GeneratedRun, ...]
    classes: tuple[str, ...]
    test_records: Count
    """Those that were measured on."""
    test_dropped: Count | None = None
    """Further records of the test file, left out because a run was made from the same text; None: nobody could look."""
    test_outside_classes: Count
    """Test records whose label no row can have; every student gets them wrong."""
    majority: Estimate | None
    """Accuracy of always answering the commonest synthetic label."""
    students: tuple[StudentFamily, ...]
    utility: tuple[Trained, ...]
    teacher: Taught | None
    """None where the runs have no teacher, or nothing to answer."""
    per_class: tuple[ClassUtility, ...]
    per_group: tuple[GroupUtility, ...]
    curve: tuple[CurvePoint, ...]
    discretisation: tuple[DiscretisationGap, ...]
    closeness: tuple[Closeness, ...]
    variety: tuple[Variety, ...]
    cost: tuple[Cost, ...]
    not_measured: tuple[str, ...]
    """What was left out, and why."""
