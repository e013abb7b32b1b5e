"""The word problems are what they say, and the students tell a rationale that teaches from none."""

import re
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import rationales
from benchmarks.rationales import compared, markdown, problems


@pytest.fixture(autouse=True)
def few_students(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rationales, "_STUDENTS", 2)


class Bag:
    """Embeds words: enough for a label that is a word of the question."""

    def encode(self, texts):
        found = np.zeros((len(texts), 16), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in re.findall(r"\w+", text):
                found[row, sum(map(ord, word)) % 16] += 0.3
        return type("Encoded", (), {"embeddings": found})


def test_every_problem_has_the_answer_that_its_numbers_give() -> None:
    made = problems(300, 1)
    assert made == problems(300, 1)
    assert len({one.question for one in made}) == 300
    for one in made:
        first, second, limit = map(int, re.findall(r"\d+", one.question))
        assert one.answer.startswith("yes") == (first + second <= limit)
        assert f"{first + second} kilos" in one.rationale
        assert limit > 0


def test_a_student_learns_what_can_be_learnt_and_every_number_has_an_interval() -> None:
    told = [replace(one, question=f"{one.answer[:2]} {one.question}") for one in problems(120, 2)]
    found = compared(told[:80], [0.5] * 80, told[80:], Bag())
    assert found["output alone"]["accuracy"]["value"] > 0.9
    assert found["output alone"]["ahead"] is None
    assert all(of["ahead"]["n"] == 40 for name, of in found.items() if name != "output alone")
    report = {"date": "2026-01-01T", "machine": "m", "rows": 80, "test_records": 40, rationales._CONTROL: found}
    assert "nothing is said here about synthetic rows" in markdown(report)
    run = {"run": {"epsilon": 8.0, "rationales_written": 70}, rationales._SYNTHETIC: found}
    assert markdown(report | run).count("| output alone |") == 2


def test_rows_without_a_rationale_teach_as_output_alone() -> None:
    rows = [replace(one, rationale="") for one in problems(60, 3)]
    found = compared(rows, [0.0] * 60, problems(90, 4)[60:], Bag())
    assert found["with rationale"]["ahead"]["value"] == found["weighted by step difficulty"]["ahead"]["value"] == 0
