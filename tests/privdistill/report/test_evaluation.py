"""The rendering of an evaluation: internal first, every table readable in 100 columns, hostile names stay text."""

from audits.findings import Estimate
from privdistill.evaluation.schema import (
    ClassUtility,
    Closeness,
    Cost,
    CurvePoint,
    DiscretisationGap,
    Evaluation,
    GeneratedRun,
    Generational,
    GroupUtility,
    StudentFamily,
    Taught,
    Trained,
    Variety,
)
from privdistill.report import render_evaluation

HOSTILE = "\x1b[2Jall is well"
STUDENTS = ("words", "encoder", "static", "transformer", "finetuned")


def estimate(value: float, half: float = 0.02) -> Estimate:
    return Estimate(value=value, low=value - half, high=value + half, n=2000, method="Wilson 95 %, test records")


def trained(trained_on: str, origin: str, student: str) -> Trained:
    share = estimate(0.71234)
    return Trained(
        trained_on=trained_on,
        origin=origin,
        student=student,
        rows=2000,
        accuracy=share,
        balanced_accuracy=share,
        macro_f1=share,
        generations=Generational(accuracy=share, balanced_accuracy=share, macro_f1=share)
        if origin == "synthetic"
        else None,
        of_real=estimate(0.951),
    )


def evaluation(**changes: object) -> Evaluation:
    one = estimate(0.5)
    sets = (
        ("synthetic", "synthetic"),
        ("zero-shot pool", "public"),
        ("real, gradient similarity", "non-private reference"),
    )
    found = Evaluation(
        created_at="2026-11-22T10:00:00+00:00",
        code_version="0.1.0",
        runs=(
            GeneratedRun(run_id="20261122T000000Z-ab", recipe="r", epsilon=8.0, delta=1e-6, rows=2000, seconds=400.0),
        ),
        classes=("good", HOSTILE),
        test_records=2000,
        test_dropped=17,
        test_outside_classes=3,
        majority=estimate(0.577),
        students=tuple(StudentFamily(name=s, about="what it is", seen_by_generator=s == "encoder") for s in STUDENTS),
        utility=tuple(trained(*one, student) for one in sets for student in STUDENTS),
        teacher=Taught(
            accuracy=estimate(0.765),
            balanced_accuracy=one,
            macro_f1=one,
            generations=Generational(accuracy=one, balanced_accuracy=one, macro_f1=one),
            of_real=dict.fromkeys(STUDENTS, estimate(0.977)),
            ahead=dict.fromkeys(STUDENTS, estimate(0.033)),
        ),
        per_class=tuple(
            ClassUtility(label=label, student=s, trained_rows=1000, recall=one, precision=0.5, f1=0.5)
            for label in ("good", HOSTILE)
            for s in STUDENTS
        ),
        per_group=tuple(GroupUtility(group=HOSTILE, student=s, accuracy=one) for s in STUDENTS),
        curve=tuple(
            CurvePoint(
                trained_on="real, gradient similarity",
                origin="non-private reference",
                student="words",
                per_class=n,
                rows=2 * n,
                draws=1,
                accuracy=one,
            )
            for n in (5, 10, 20, 50, 200)
        ),
        discretisation=(
            DiscretisationGap(
                trained_on="synthetic", origin="synthetic", per_class=5, embedding_level=one, text_level=one, gap=one
            ),
        ),
        closeness=(Closeness(space="encoder", seen_by_generator=True, measure="mauve", synthetic=one, real=one),),
        variety=(Variety(measure="self-BLEU (less is more varied)", synthetic=one, real=None),),
        cost=(
            Cost(student="words", distilling=400.0, training_synthetic=0.5, training_real=1.5, break_even=400.0),
            Cost(student="encoder", distilling=400.0, training_synthetic=0.5, training_real=0.5, break_even=None),
        ),
        not_measured=("the weather: " + "nobody asked " * 20,),
    )
    return found.model_copy(update=changes)


def test_the_first_word_is_internal_and_every_line_fits() -> None:
    text = render_evaluation(evaluation())
    assert text.startswith("INTERNAL")
    assert max(map(len, text.splitlines())) <= 108
    four = evaluation(students=evaluation().students[:4])
    assert max(map(len, render_evaluation(four).splitlines())) <= 100


def test_numbers_references_and_omissions_are_there() -> None:
    text = render_evaluation(evaluation())
    assert "0.712 ±.020" in text
    assert "real, gradient similarity*" in text
    assert "zero-shot pool*" not in text
    assert "0.951 ±.020" in text
    assert "DP teacher, no rows between" in text
    assert text.count("0.765 ±.020") == 1
    assert text.count("0.033 ±.020") == text.count("0.977 ±.020") == len(STUDENTS)
    assert "400 trainings" in text
    assert "never" in text
    assert "NOT MEASURED" in text
    assert text.count("synthetic, over 1 generations") == 3
    assert "3 of them have a label that no row can have" in text
    assert "17 more of the test file were left out: the run was made from the same texts" in text
    assert "left out" not in render_evaluation(evaluation(test_dropped=0))


def test_what_a_student_stands_on_is_printed_and_stays_text() -> None:
    words, static = evaluation().students[0], evaluation().students[2]
    named = static.model_copy(update={"stands_on": f"org/model{HOSTILE}"})
    text = render_evaluation(evaluation(students=(words, named)))
    assert "words: what it is\n" in text
    assert "static: what it is; stands on org/model\\x1b[2J" in text


def test_an_interval_with_an_end_at_the_value_is_not_halved() -> None:
    perfect = Estimate(value=1.0, low=0.98, high=1.0, n=200, method="Wilson 95 %, test records")
    assert "1.000 ±.020" in render_evaluation(evaluation(majority=perfect))


def test_a_resumed_run_has_no_seconds_and_no_break_even() -> None:
    found = evaluation()
    cost = tuple(one.model_copy(update={"distilling": None, "break_even": None}) for one in found.cost)
    runs = tuple(one.model_copy(update={"seconds": None}) for one in found.runs)
    text = render_evaluation(evaluation(runs=runs, cost=cost))
    assert "2000 rows by a resumed run" in text
    assert "how long making the rows took is not known" in text
    assert "trainings" not in text
    assert text.count("not known") == 2
    assert text.count("never") == 1, "a training that is not cheaper never pays, whatever the rows cost"


def test_what_a_number_is_of_is_never_cut() -> None:
    one, long = estimate(0.5), "bits a character, learnt on real records (real: test), and " + "x" * 80
    text = render_evaluation(evaluation(variety=(Variety(measure=long, synthetic=one, real=one),)))
    shown = text.partition("TEXTS")[2].partition("COST")[0]
    assert "…" not in shown
    assert "(real: test)" in " ".join(shown.split())
    assert shown.count("x") == 80
    assert shown.count("0.500 ±.020") == 2
    assert max(map(len, text.splitlines())) <= 108


def test_hostile_labels_and_groups_stay_text() -> None:
    text = render_evaluation(evaluation())
    assert "\x1b" not in text
    assert "\\x1b[2J" in text


def test_an_unlabelled_evaluation_has_no_utility() -> None:
    empty: dict[str, object] = dict.fromkeys(
        ("classes", "students", "utility", "per_class", "per_group", "curve", "discretisation", "cost"), ()
    )
    text = render_evaluation(evaluation(**empty, majority=None, teacher=None))
    assert "UTILITY" not in text
    assert "CLOSENESS" in text


def test_many_classes_are_cut_to_the_worst() -> None:
    many = tuple(
        ClassUtility(
            label=f"class {k}", student="words", trained_rows=1, recall=estimate(k / 50), precision=0.0, f1=0.0
        )
        for k in range(50)
    )
    text = render_evaluation(evaluation(per_class=many, students=evaluation().students[:1]))
    assert "class 0 " in text
    assert "class 49" not in text
    assert "of 50" in text
