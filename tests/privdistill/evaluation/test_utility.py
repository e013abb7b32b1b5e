"""A whole evaluation on planted data: what is learnt, what is held beside it, and what is said not to be measured."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from privdistill.errors import UsageError
from privdistill.evaluation import utility
from privdistill.evaluation.generations import Generations
from privdistill.evaluation.references import break_even, zero_shot
from privdistill.evaluation.schema import Evaluation, Trained
from privdistill.evaluation.subsets import SELECTIONS
from privdistill.evaluation.trials import ALL_REAL
from privdistill.evaluation.utility import FAMILIES, Wanted, measure
from privdistill.features.encoded import Encoded, read_tokens
from privdistill.mechanisms.release import MomentBlock
from privdistill.synthesis.teacher import Teacher
from tests.conftest import toy_rows
from tests.privdistill.evaluation.conftest import CONFIG, UNLABELLED, generation, labelled, planted, quiet
from tests.privdistill.mechanisms.conftest import VOCABULARY, WIDTH, ToySentences, ToyTokens

LINEAR = Wanted(students=("words", "encoder", "static"))

pytestmark = pytest.mark.usefixtures("toy_models")


def cell(found: Evaluation, trained_on: str, student: str = "words") -> Trained:
    (one,) = (one for one in found.utility if (one.trained_on, one.student) == (trained_on, student))
    return one


def test_rows_that_teach_are_told_from_rows_that_do_not_and_stand_beside_every_reference() -> None:
    found = measure(planted(1, 2), labelled(150, 50), LINEAR, quiet)
    good = cell(found, "synthetic")
    assert good.accuracy.value > 0.95
    assert good.accuracy.n == 150
    assert good.generations is not None
    assert good.generations.accuracy.n == good.generations.macro_f1.n == 2
    assert good.generations.accuracy.value == pytest.approx(good.accuracy.value)
    assert good.of_real is not None
    assert good.of_real.low <= 1.0 <= good.of_real.high + 0.05
    assert found.majority is not None
    assert found.majority.value < 0.7
    references = {one.trained_on for one in found.utility if one.origin == "non-private reference"}
    subsets = {"real, random", "real, k-center", "real, herding", "real, gradient similarity"}
    assert references == {ALL_REAL, *subsets}
    assert {cell(found, name).rows for name in subsets} == {200}
    assert cell(found, ALL_REAL).rows == 500
    # the embeddings of the toy encoder say nothing about the class, and that shows
    assert cell(found, "synthetic", "encoder").accuracy.value < 0.75
    assert {point.per_class for point in found.curve} == {5, 10, 20, 50, 200}
    few, many = (
        next(p for p in found.curve if (p.trained_on, p.student, p.per_class) == ("real, random", "words", n))
        for n in (5, 50)
    )
    assert few.accuracy.value < many.accuracy.value
    assert "5 draws of rows" in few.accuracy.method
    assert {(one.trained_on, one.per_class) for one in found.discretisation} >= {("synthetic", 5), ("real", 50)}
    assert {one.measure for one in found.closeness} == {"frechet", "mauve", "precision", "recall"}
    assert all(one.real is not None and one.synthetic.n == one.real.n for one in found.closeness)
    assert {one.student for one in found.per_group} == {"words", "encoder"}
    assert {one.group for one in found.per_group} == {"north", "south"}
    assert all(one.distilling == 100.0 for one in found.cost)
    assert any("static" in sentence for sentence in found.not_measured), "a student that cannot be had is named"
    assert any("zero-shot" in sentence for sentence in found.not_measured)
    assert found.internal is True
    assert Evaluation.model_validate_json(found.model_dump_json(by_alias=True)) == found


def test_chance_labels_teach_nothing() -> None:
    """Chance is one half, and labels that are right in six rows of ten are already told from it."""
    words, test = Wanted(students=("words",)), labelled(150, 50)
    found = measure(planted(*range(1, 9), wrong=1.0, real=False), test, words, quiet)
    over = cell(found, "synthetic").generations
    assert over is not None
    assert over.accuracy.low < 0.5 < over.accuracy.high
    hinted = cell(measure(planted(*range(1, 9), wrong=0.8, real=False), test, words, quiet), "synthetic").generations
    assert hinted is not None
    assert over.accuracy.high < hinted.accuracy.low
    assert cell(found, "synthetic").of_real is None
    assert {one.trained_on for one in found.utility} == {"synthetic"}
    assert any("no private side" in sentence for sentence in found.not_measured)
    assert not found.cost


def toy_teacher(knows: tuple[str, ...] = ("good", "bad")) -> Teacher:
    """Naive Bayes of the toy tokens; its other views say nothing."""
    seen = np.ones((VOCABULARY, len(knows)))
    for text, label in toy_rows(400, seed=7):
        seen[np.unique(ToyTokens().ids([text])[0]), knows.index(label)] += 1
    odds = np.log(seen / seen.sum(axis=0))
    moment = MomentBlock(1.0, np.zeros(WIDTH), np.eye(WIDTH)[:, :2], 1.0)
    columns = np.arange(VOCABULARY, dtype=np.int64)
    zeros = np.zeros(len(knows))
    return Teacher(moment, columns, np.zeros((2, len(knows))), zeros, odds, np.zeros((0, *odds.shape)), knows)


def test_the_teacher_of_the_runs_answers_the_test_records_itself() -> None:
    made, test = planted(1, 2, wrong=1.0), labelled(150, 50)
    taught = [dataclasses.replace(one, teacher=toy_teacher()) for one in made.runs]
    found = measure(dataclasses.replace(made, runs=tuple(taught)), test, Wanted(students=("words",)), quiet)
    assert found.teacher is not None
    read = Encoded(np.zeros((150, WIDTH), np.float32), *read_tokens(test.texts, ToyTokens(), 256))
    answers = np.array(("good", "bad"))[toy_teacher().answers(read, ("good", "bad"))]
    assert found.teacher.accuracy.value == pytest.approx(np.mean(answers == np.array(test.labels)))
    assert found.teacher.accuracy.low > 0.5
    assert found.teacher.ahead["words"].value == pytest.approx(
        found.teacher.accuracy.value - cell(found, "synthetic").accuracy.value
    )
    assert found.teacher.generations is not None
    assert found.teacher.generations.accuracy.low == found.teacher.generations.accuracy.high
    assert found.teacher.of_real["words"].value == pytest.approx(
        found.teacher.accuracy.value / cell(found, ALL_REAL).accuracy.value
    )
    assert not any("teacher" in sentence for sentence in found.not_measured)
    assert Evaluation.model_validate_json(found.model_dump_json(by_alias=True)) == found


def test_a_run_without_a_teacher_says_so() -> None:
    made = planted(1, 2, real=False)
    one = dataclasses.replace(made.runs[0], teacher=toy_teacher())
    found = measure(
        dataclasses.replace(made, runs=(one, made.runs[1])), labelled(60, 50), Wanted(students=("words",)), quiet
    )
    assert found.teacher is None
    assert any("DP teacher" in sentence for sentence in found.not_measured)


def test_without_labels_texts_are_still_measured() -> None:
    made = planted(1, config=UNLABELLED)
    test = dataclasses.replace(labelled(60, 50), labels=None)
    found = measure(made, test, LINEAR, quiet)
    assert not found.utility
    assert not found.curve
    assert found.majority is None
    assert found.closeness
    assert found.variety
    assert any("no label column" in sentence for sentence in found.not_measured)


def test_a_small_run_has_a_spread_of_distinct_n_grams() -> None:
    made = planted(1)
    small = dataclasses.replace(made, runs=(generation(labelled(12, 1)),))
    found = measure(small, labelled(60, 50), Wanted(students=("words",)), quiet)
    shares = [one for one in found.variety if one.measure.startswith("distinct")]
    assert len(shares) == 3
    for one in shares:
        assert one.synthetic.low < one.synthetic.high
        assert one.real is not None
        assert one.real.low < one.real.high


def test_test_labels_outside_the_run_are_counted_and_wrong() -> None:
    test = labelled(60, 50)
    test = dataclasses.replace(test, labels=("strange",) * 20 + (test.labels or ())[20:])
    found = measure(planted(1, real=False), test, Wanted(students=("words",)), quiet)
    assert found.test_outside_classes == 20
    assert cell(found, "synthetic").accuracy.value <= 40 / 60


def test_references_are_as_large_as_they_say_when_the_corpus_has_labels_that_no_row_can_have() -> None:
    made = planted(1)
    assert made.real is not None
    strange = tuple("strange" if i % 3 == 0 else label for i, label in enumerate(made.real.labels or ()))
    made = dataclasses.replace(made, real=dataclasses.replace(made.real, labels=strange))
    found = measure(made, labelled(60, 50), Wanted(students=("words",)), quiet)
    assert cell(found, ALL_REAL).rows == 500 - 167
    assert {cell(found, f"real, {way}").rows for way in SELECTIONS} == {cell(found, "synthetic").rows} == {200}
    assert {one.rows for one in found.curve if one.per_class == 20} == {40}
    nothing = dataclasses.replace(made, real=dataclasses.replace(made.real, labels=("strange",) * 500))
    found = measure(nothing, labelled(60, 50), Wanted(students=("words",)), quiet)
    assert {one.trained_on for one in found.utility} == {"synthetic"}
    assert any("none of them has a label of the run" in sentence for sentence in found.not_measured)


def test_the_commonest_label_is_one_that_the_run_has() -> None:
    made, test = planted(1, real=False), labelled(60, 50)
    (run,) = made.runs
    rows = ("strange",) * 150 + ("bad",) * 40 + ("good",) * 10
    made = dataclasses.replace(made, runs=(dataclasses.replace(run, labels=rows),))
    found = measure(made, test, Wanted(students=("words",)), quiet)
    assert found.majority is not None
    assert found.majority.value == pytest.approx((test.labels or ()).count("bad") / 60)
    assert cell(found, "synthetic").rows == 50, "what was trained on is counted, not what was there"


def by_recipe(recipe: str) -> Generations:
    made = planted(1)
    (run,) = made.runs
    return dataclasses.replace(
        made, runs=(dataclasses.replace(run, facts=run.facts.model_copy(update={"recipe": recipe})),)
    )


@pytest.mark.parametrize(("named", "turned"), [("another", True), ("a copy", False)])
def test_a_student_on_another_encoder_is_unseen_unless_it_answers_as_the_one_of_the_run(
    monkeypatch: pytest.MonkeyPatch, named: str, turned: bool
) -> None:
    class Turned(ToySentences):
        def embed(self, texts, progress=None):
            return super().embed(texts, progress)[:, ::-1].copy()

    made = by_recipe("gradient")
    monkeypatch.setattr(utility.assets, "resolve", lambda spec, *args: Path(spec))
    monkeypatch.setattr(
        "privdistill.models.encoder.SentenceEncoder",
        lambda folder, **kwargs: Turned() if turned and folder == Path(named) else ToySentences(),
    )
    wanted = Wanted(students=("words", "encoder"), student_encoder=named)
    found = measure(made, labelled(60, 50), wanted, quiet)
    families = {one.name: one for one in found.students}
    assert list(families) == ["words", "encoder", "other"]
    assert families["other"].stands_on == named
    assert families["words"].stands_on is None
    assert families["encoder"].seen_by_generator
    assert families["other"].seen_by_generator is not turned
    assert {one.seen_by_generator for one in found.closeness if one.space == "other"} == {not turned}
    assert cell(found, "synthetic", "other").accuracy.n == 60
    assert {one.student for one in found.cost} == set(families)
    assert any("the run's own; name another" in sentence for sentence in found.not_measured) is not turned
    assert not any("not asked for (--student-encoder)" in sentence for sentence in found.not_measured)
    assert Evaluation.model_validate_json(found.model_dump_json(by_alias=True)) == found


def test_without_another_encoder_the_report_says_what_the_unseen_student_stands_on() -> None:
    found = measure(planted(1, real=False), labelled(60, 50), Wanted(students=("words", "encoder")), quiet)
    assert "other" not in {one.name for one in found.students}
    (said,) = (one for one in found.not_measured if "--student-encoder" in one)
    assert "input table of the language model that wrote the rows" in said


def test_prompts_alone_are_trained_on_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    class Writer:
        def sample(self, prompts, **options):
            rng = options["rng"]
            return [(f"a plain sentence about number {rng.integers(10**6)}.", True) for _ in prompts]

    class Loaded:
        language_model = Writer()

    monkeypatch.setattr("privdistill.models.loading.load_models", lambda *args: Loaded)
    wanted = Wanted(students=("words",), zero_shot=True)
    found = measure(planted(1, real=False), labelled(60, 50), wanted, quiet)
    assert cell(found, "zero-shot pool").origin == "public"
    assert cell(found, "zero-shot pool").rows == 200
    rows = zero_shot(Writer(), ("good", "bad"), CONFIG, 10, np.random.default_rng(0), quiet)
    assert len({text for text, _ in rows}) == 10
    assert {label for _, label in rows} == {"good", "bad"}


def test_a_training_that_is_not_cheaper_never_pays() -> None:
    assert break_even(60.0, 1.0, 1.5) == 120.0
    assert break_even(60.0, 1.5, 1.5) is None


def test_what_was_left_out_of_the_test_file_is_said() -> None:
    one = dataclasses.replace(labelled(60, 50), dropped=7)
    found = measure(planted(1, real=False), one, Wanted(students=("words",)), quiet)
    assert (found.test_records, found.test_dropped) == (60, 7)
    unknown = measure(planted(1, real=False), labelled(60, 50), Wanted(students=("words",)), quiet)
    assert unknown.test_dropped is None
    assert any("also training records" in sentence for sentence in unknown.not_measured)


def test_a_resumed_run_is_left_out_of_what_making_the_rows_took() -> None:
    made = planted(1, 2)
    stood = dataclasses.replace(made.runs[0], facts=made.runs[0].facts.model_copy(update={"seconds": None}))
    one = measure(
        dataclasses.replace(made, runs=(stood, made.runs[1])), labelled(60, 50), Wanted(students=("words",)), quiet
    )
    assert [cost.distilling for cost in one.cost] == [100.0]
    assert any("stood still" in sentence for sentence in one.not_measured)
    none = measure(dataclasses.replace(made, runs=(stood,)), labelled(60, 50), Wanted(students=("words",)), quiet)
    assert [(cost.distilling, cost.break_even) for cost in none.cost] == [(None, None)]


def test_unknown_students_and_too_few_records_are_refused() -> None:
    assert set(Wanted().students) < set(FAMILIES)
    with pytest.raises(UsageError, match="finetuned"):
        Wanted(students=("words", "oracle"))
    with pytest.raises(UsageError, match="named twice"):
        Wanted(students=("words", "words"))
    with pytest.raises(UsageError, match="at least 4"):
        measure(planted(1), labelled(3, 1), LINEAR, quiet)
