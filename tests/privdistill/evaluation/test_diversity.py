"""Variety measures against naive code."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from privdistill.evaluation.diversity import distinct, self_bleu, vendi, words_of
from tests.conftest import toy_rows

TEXTS = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9).map(" ".join), min_size=2, max_size=12)


def naive_bleu(hypothesis: list[str], references: list[list[str]]) -> float:
    logs = []
    for order in (1, 2, 3, 4):
        total = len(hypothesis) - order + 1
        if total < 1:
            break
        own = Counter(tuple(hypothesis[i : i + order]) for i in range(total))
        most = {
            gram: max(sum(tuple(r[i : i + order]) == gram for i in range(len(r) - order + 1)) for r in references)
            for gram in own
        }
        hits = sum(min(n, most[gram]) for gram, n in own.items())
        logs.append(math.log((hits if hits else 0.1) / total))
    closest = min((abs(len(r) - len(hypothesis)), len(r)) for r in references)[1]
    penalty = min(1.0, math.exp(1 - closest / len(hypothesis)))
    return min(1.0, penalty * math.exp(sum(logs) / len(logs)))


@given(TEXTS)
def test_self_bleu_in_one_pass_is_that_of_all_pairs(texts: list[str]) -> None:
    rows = [words_of(text) for text in texts]
    expected = [naive_bleu(row, rows[:i] + rows[i + 1 :]) for i, row in enumerate(rows)]
    found = self_bleu(texts)
    assert found is not None
    assert found.value == pytest.approx(float(np.mean(expected)), abs=1e-9)


def test_self_bleu_of_copies_is_one_and_of_strangers_is_small() -> None:
    copies = self_bleu(["the very same words again and again"] * 5)
    strangers = self_bleu([" ".join(f"w{i}x{j}" for j in range(8)) for i in range(20)])
    assert copies is not None
    assert strangers is not None
    assert copies.value == copies.high == 1.0
    assert copies.low < 1.0, "five copies do not say that there is nothing else"
    assert strangers.value < 0.05
    assert self_bleu(["alone"]) is None


def test_distinct_counts_at_one_number_of_words() -> None:
    rng = np.random.default_rng(0)
    varied, repeated = [text for text, _ in toy_rows(400, seed=0)], ["one two three four five"] * 400
    many, few = distinct(varied, 2, 500, rng), distinct(repeated, 2, 500, rng)
    assert many is not None
    assert few is not None
    assert few.value == pytest.approx(4 / 400)
    assert many.value > 5 * few.value
    longer = distinct(varied * 4, 2, 500, rng)
    assert longer is not None
    assert longer.value == pytest.approx(many.value, abs=0.08), "more rows of one kind change nothing"
    assert distinct(["too short"], 1, 500, rng) is None


def test_sets_of_a_small_corpus_differ_and_so_do_the_ends() -> None:
    rng, texts = np.random.default_rng(0), [text for text, _ in toy_rows(12, seed=0)]
    total = sum(len(words_of(text)) for text in texts)
    half = distinct(texts, 2, total // 2, rng)
    assert half is not None
    assert half.low < half.value < half.high
    assert distinct(texts, 2, total // 2 + 1, rng) is None, "sets that are nearly the corpus would all be alike"
    assert distinct(texts, 2, 1, rng) is None, "one word has no pair"


def test_vendi_is_the_entropy_of_the_kernel() -> None:
    points = np.random.default_rng(0).normal(size=(30, 4))
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    values = np.linalg.eigvalsh(unit @ unit.T / 30)
    values = values[values > 1e-12]
    assert vendi(points) == pytest.approx(math.exp(-(values * np.log(values)).sum()))
    assert vendi(np.ones((10, 3))) == pytest.approx(1.0)
