"""Rationales are written for rows alone, empty ones weigh nothing, and a weight is what its formula says."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from privdistill.config import Performance
from privdistill.models.language_model import LanguageModel
from privdistill.synthesis.rationales.difficulty import likelihoods, step_difficulties
from privdistill.synthesis.rationales.writing import usable, write_rationales

FIELDS = ("question", "reply")


@pytest.fixture(scope="module")
def model(tiny_language_model: Path) -> LanguageModel:
    return LanguageModel.load(tiny_language_model, model_id="tiny", performance=Performance(dtype="float32"))


class Scripted:
    """The tiny model, with a script of what it writes; remembers what it was asked."""

    def __init__(self, model: LanguageModel, *rounds: list[str]) -> None:
        self.inner, self.rounds, self.asked = model, list(rounds), []

    def sample(self, prompts, **options):
        self.asked.append(list(prompts))
        return [(text, True) for text in self.rounds.pop(0)]

    def __getattr__(self, name):
        return getattr(self.inner, name)


def write(model, texts):
    return write_rationales(model, texts, FIELDS, rng=np.random.default_rng(0), progress=lambda *_: None)


def test_each_distinct_row_is_asked_for_by_its_own_fields_and_once_more_when_it_fails(model: LanguageModel) -> None:
    scripted = Scripted(model, ["the train was late again", "no"], ["Sure, here is why it was so"])
    rows = ["was it late? => it was", "was it good? => it was not", "was it late? => it was"]
    made = write(scripted, rows)
    assert made.texts == ("the train was late again", "", "the train was late again")
    assert made.weights[1] == 0
    assert made.weights[0] == made.weights[2]
    assert (made.facts["rationales_written"], made.facts["rationales_empty"]) == (2, 1)
    assert [len(asked) for asked in scripted.asked] == [2, 1]
    assert scripted.asked[0][0] == "question: was it late?\nreply: it was\nWhy this reply:"


def test_rows_without_one_usable_rationale_weigh_nothing(model: LanguageModel) -> None:
    made = write(Scripted(model, [""], ["it was"]), ["was it late? => it was"])
    assert (made.texts, made.weights) == (("",), (0.0,))
    assert made.facts == {"rationales_written": 0, "rationales_empty": 1, "mean_step_difficulty": None}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (" the line was blocked \n", "the line was blocked"),
        ("so", None),
        ("It was late today.", None),
        ("was it late => it was late", None),
        ("Sure, the reply is right", None),
    ],
)
def test_what_says_nothing_is_not_a_rationale(text: str, kept: str | None) -> None:
    assert usable(text, True, ("was it so?", "it was late today, sorry")) == kept


def test_likelihoods_do_not_depend_on_the_batch_and_are_those_of_the_model(model: LanguageModel) -> None:
    pairs = [("the train was", " late"), ("a", " quiet garden by the river"), ("the bright room near the", " lake")]
    together = likelihoods(model, pairs)
    assert np.allclose(together, [likelihoods(model, [pair])[0] for pair in pairs], atol=1e-4)
    start, end = (model.token_ids(part) for part in pairs[1])
    logs = torch.log_softmax(model.network(torch.tensor([start + end])).logits[0].float(), dim=-1)
    own = [float(logs[len(start) - 1 + i, token].detach()) for i, token in enumerate(end)]
    assert math.isclose(together[1], float(np.mean(own)), abs_tol=1e-4)


def test_step_difficulty_is_one_minus_the_ratio_of_likelihoods(model: LanguageModel) -> None:
    rows, rationales = [("was it late?", "yes"), ("was it good?", "no")], ["the train was late", "bright and calm"]
    before = likelihoods(model, [(f"question: {q}\nreply:", f" {a}") for q, a in rows])
    after = likelihoods(
        model,
        [(f"question: {q}\nReason: {r}\nreply:", f" {a}") for (q, a), r in zip(rows, rationales, strict=True)],
    )
    found = step_difficulties(model, FIELDS, rows, rationales)
    for weight, plain, helped in zip(found, before, after, strict=True):
        assert math.isclose(weight, 1 - min(1.0, math.exp(plain) / math.exp(helped)), abs_tol=1e-3)
        assert 0 <= weight <= 1


def test_a_rationale_that_hinders_weighs_nothing(model: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    values = iter([[-1.0, -2.0], [-1.5, -1.0]])
    monkeypatch.setattr("privdistill.synthesis.rationales.difficulty.likelihoods", lambda *_: next(values))
    found = step_difficulties(model, FIELDS, [("q", "a"), ("q", "b")], ["one", "two"])
    assert found == [0.0, round(1 - math.exp(-1), 4)]
