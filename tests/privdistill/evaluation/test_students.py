"""Every family learns what can be learnt and nothing else; references for what each one reads."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from privdistill.config import RunConfig, Source, Synthesis
from privdistill.errors import AssetError
from privdistill.evaluation.students import STUDENTS, Scores, majority_score, train_and_test
from privdistill.evaluation.students.networks import finetuned
from privdistill.evaluation.students.seen import SEEN, seen_students
from privdistill.evaluation.students.static import StaticEncoder
from privdistill.evaluation.students.student import Student
from privdistill.evaluation.subsets import Sample
from tests.conftest import toy_rows
from tests.privdistill.mechanisms.conftest import ToyTokens


def _corpus(n: int, seed: int) -> tuple[list[str], np.ndarray, list[str]]:
    rows = toy_rows(n, seed=seed)
    sign = np.array([[1.0 if label == "good" else -1.0, 0.5] for _, label in rows], dtype=np.float32)
    return [text for text, _ in rows], sign, [label for _, label in rows]


def sample(n: int, seed: int) -> Sample:
    texts, points, labels = _corpus(n, seed)
    return Sample(tuple(texts), tuple(labels), {"encoder": points, "static": points})


def shuffled(one: Sample) -> Sample:
    order = np.random.default_rng(0).permutation(len(one))
    return Sample(one.texts, tuple(one.labels[i] for i in order), one.spaces)


@pytest.fixture(autouse=True)
def _short_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Toy texts are learnt in a tenth of the steps."""
    monkeypatch.setattr("privdistill.evaluation.students.networks._STEPS", (40, 40))


def share(student: Student, train: Sample, test: Sample) -> float:
    real = np.array([("bad", "good").index(label) for label in test.labels])
    return float(np.mean(student.answer(train, test, ("bad", "good")).classes == real))


@pytest.mark.parametrize("name", STUDENTS)
def test_every_family_learns_what_can_be_learnt_and_nothing_from_shuffled_labels(name: str) -> None:
    train, test = sample(300, 0), sample(120, 1)
    assert share(STUDENTS[name], train, test) > 0.95
    if name != "transformer":  # one training of it is enough for a unit test
        assert 0.2 < share(STUDENTS[name], shuffled(train), test) < 0.8


def test_a_single_class_is_answered_throughout_and_takes_no_time() -> None:
    train, test = sample(20, 0), sample(40, 1)
    only = Sample(train.texts, ("good",) * 20, train.spaces)
    answers = STUDENTS["words"].answer(only, test, ("bad", "good"))
    assert set(answers.classes.tolist()) == {1}
    assert answers.seconds == 0.0


class Stopwatch:
    """A clock that moves when somebody works: 50 seconds of loading, once; one second a row of training."""

    def __init__(self) -> None:
        self.now, self.loaded = 0.0, False

    def load(self) -> None:
        self.now += 0.0 if self.loaded else 50.0
        self.loaded = True

    def learn(self, texts: Sequence[str], labels: Sequence[str]) -> Callable[[Sequence[str]], Sequence[str]]:
        self.load()  # what is not there yet is waited for
        self.now += len(texts)
        return lambda asked: ["bad"] * len(asked)


@pytest.mark.parametrize("order", [(30, 90), (90, 30)])
def test_what_is_trained_on_first_does_not_pay_for_the_libraries(order: tuple[int, int]) -> None:
    watch = Stopwatch()
    student = Student("slow", "counts rows", None, watch.learn, watch.load)
    seconds = {
        n: student.answer(sample(n, 0), sample(20, 1), ("bad", "good"), lambda: watch.now).seconds for n in order
    }
    assert seconds == {30: 30.0, 90: 90.0}
    assert watch.now == 170.0


LATE = """
import json, sys, warnings
import numpy as np
warnings.simplefilter("ignore")
from privdistill.evaluation.students import STUDENTS
found = {}
for name in sys.argv[1:]:
    student = STUDENTS[name]
    student.load()
    before = set(sys.modules)
    given = ["one two", "three four"] * 20 if student.space is None else np.eye(4, dtype=np.float32).repeat(10, axis=0)
    student.learn(given, ["a", "b"] * 20)
    found[name] = sorted(set(sys.modules) - before)
print(json.dumps(found))
"""


@pytest.mark.parametrize("names", [("words", "encoder", "static"), ("static",), ("encoder",)])
def test_nothing_is_imported_while_the_clock_runs(names: tuple[str, ...]) -> None:
    done = subprocess.run([sys.executable, "-c", LATE, *names], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == {name: [] for name in names}


def test_training_a_network_touches_nobody_elses_randomness() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    first = STUDENTS["transformer"].answer(sample(40, 0), sample(20, 1), ("bad", "good"))
    assert torch.equal(torch.rand(3), expected)
    again = STUDENTS["transformer"].answer(sample(40, 0), sample(20, 1), ("bad", "good"))
    assert np.array_equal(first.classes, again.classes)


def test_an_encoder_is_fine_tuned(tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privdistill.evaluation.students.networks._TUNED_RATE", 2e-3)  # the tiny one starts untrained
    monkeypatch.setattr("privdistill.evaluation.students.networks._TUNED_STEPS", 60)
    assert share(finetuned(tiny_encoder, "tiny"), sample(200, 0), sample(80, 1)) > 0.9


def test_what_is_no_encoder_cannot_be_fine_tuned(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="fine-tuning"):
        share(finetuned(tmp_path, "nothing"), sample(20, 0), sample(20, 1))


def test_static_embeddings_are_the_weighted_centred_mean_of_distinct_tokens() -> None:
    table = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    tokens = ToyTokens()
    (found,) = StaticEncoder(table, tokens).embed(["a bridge a bridge by the river"])
    ids = sorted(set(tokens.ids(["a bridge by the river"])[0]))
    mean = sum((table[i] - table.mean(axis=0)) * (1e-3 / (1e-3 + 1 / ((i + 1) * np.log(51)))) for i in ids)
    assert found == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_static_embeddings_come_from_safetensors_and_do_not_depend_on_the_batch(tiny_language_model: Path) -> None:
    from privdistill.models.tokenizer import ModelTokenizer

    encoder = StaticEncoder.load(tiny_language_model, ModelTokenizer(tiny_language_model, model_id="tiny"))
    texts = [text for text, _ in toy_rows(5, seed=0)]
    assert np.array_equal(encoder.embed(texts)[2:3], encoder.embed(texts[2:3]))
    assert np.isfinite(encoder.embed([*texts, ""])).all()


def test_a_model_without_a_known_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AssetError, match="student `static`"):
        StaticEncoder.load(tmp_path, ToyTokens())


def test_the_two_students_of_the_protocol() -> None:
    scores = train_and_test(_corpus(200, 0), _corpus(100, 1))
    assert scores.words > 0.95
    assert scores.embedding == 1.0


def test_one_class_is_answered_with_that_class() -> None:
    texts, points, _ = _corpus(10, 0)
    test = _corpus(100, 1)
    scores = train_and_test((texts, points, ["good"] * 10), test)
    assert scores == Scores(*(float(np.mean([label == "good" for label in test[2]])),) * 2)


def test_majority_and_ratios() -> None:
    assert majority_score(["a", "a", "b"], ["a", "b", "b", "b"]) == 0.25
    assert Scores(0.6, 0.9).relative_to(Scores(0.8, 0.9)) == Scores(0.6 / 0.8, 1.0)


def configured(shares: str = "tempered") -> RunConfig:
    return RunConfig(source=Source(path="x"), synthesis=Synthesis(class_shares=shares))


def test_the_student_of_words_is_seen_wherever_a_recipe_simulates_it() -> None:
    for recipe in ("distribution", "finetune"):
        assert {"words", "encoder", "finetuned"} == seen_students([recipe], configured("counted").synthesis)
    for recipe in ("gradient", "metamodel", "trajectory"):
        assert "words" in seen_students([recipe], configured().synthesis), "class shares are tried out on it"
        assert "words" not in seen_students([recipe], configured("counted").synthesis)
    assert seen_students(["evolution"], configured().synthesis) == {"encoder", "finetuned"}
    assert not seen_students(["passthrough"], configured().synthesis)
    assert seen_students(["passthrough", "a guest"], configured().synthesis) == {*STUDENTS, "other", "finetuned"}


def test_every_built_in_recipe_says_what_it_sees() -> None:
    from privdistill.recipes.registry import _BUILT_IN

    assert set(SEEN) == set(_BUILT_IN)
