"""Soft labels and several teachers: what is compared comes from one run, and the weights mean what they say."""

import argparse
from pathlib import Path

import numpy as np
import pytest

from benchmarks.corpora import Corpus
from benchmarks.distillation import answers, markdown, measure
from benchmarks.sharing import SharedModels
from privdistill.config import Performance, Synthesis
from privdistill.recipes import distribution
from privdistill.synthesis import waves
from tests.conftest import toy_rows


def test_weights_are_labels_to_a_student() -> None:
    texts = [f"good thing {i}" for i in range(30)] + [f"bad thing {i}" for i in range(30)]
    hard = np.eye(2)[[0] * 30 + [1] * 30]
    asked = ["a good one", "a bad one"]
    assert answers(texts, hard, asked, None, student="words").tolist() == [0, 1]
    assert answers(texts, hard[::-1], asked, None, student="words").tolist() == [1, 0]
    soft = 0.6 * hard + 0.4 * hard[::-1]
    assert answers(texts, soft, asked, None, student="words").tolist() == [0, 1]


def test_every_variant_is_measured_on_the_same_run(
    tiny_language_model: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("_WAVES", "_EXTRA_WAVES"):
        monkeypatch.setattr(waves, name, 1)
    monkeypatch.setattr(distribution, "_PUBLIC_TEXTS", (32, 32))
    monkeypatch.setattr(distribution, "_PUBLIC_TOKENS", 8)
    spec = Synthesis(model=str(tiny_language_model), encoder=str(tiny_encoder))
    shared = SharedModels(spec, Performance(dtype="float32"))
    rows = toy_rows(240)
    corpus = Corpus("toy", ("good", "bad"), "short remarks", {}, "accuracy", 200, tuple(rows[:200]), tuple(rows[200:]))
    lines = list(measure(corpus, shared, 0, argparse.Namespace(epsilon=8.0, rows=12)))
    assert len(lines) == 2 * 7
    assert {line["test_records"] for line in lines} == {40}
    assert all(0 <= line["accuracy"] <= 1 for line in lines)
    base = {line["student"]: line["accuracy"] for line in lines if line["variant"].startswith("hard")}
    assert all(np.isclose(line["ahead"], line["accuracy"] - base[line["student"]]) for line in lines)
    text = markdown(lines)
    assert "## toy, epsilon 8, 12 rows, 1 generations, n = 40" in text
    assert text.count("| soft labels, T = ") == 4
