"""Students on planted data, intervals, and what cannot be evaluated."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from privdistill.config import RunConfig, Source
from privdistill.errors import CorpusError
from privdistill.evaluation import utility
from privdistill.evaluation.utility import measure, wilson
from tests.privdistill.mechanisms.conftest import ToySentences

CONFIG = RunConfig(source=Source(path="x.csv"))


def rows(n: int) -> tuple[list[str], list[str]]:
    words = {"good": "bright calm warm", "bad": "broken dull noisy"}
    labels = ["good", "bad"] * (n // 2)
    return [f"{words[y].split()[i % 3]} thing number {i}" for i, y in enumerate(labels)], labels


@pytest.fixture(autouse=True)
def _toy_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(utility.assets, "resolve", lambda *args: Path("."))
    monkeypatch.setattr("privdistill.models.encoder.SentenceEncoder", lambda *args, **kwargs: ToySentences())


def write(path: Path, texts: list[str], labels: list[str]) -> Path:
    pq.write_table(pa.table({"text": texts, "label": labels}), path)
    return path


def test_a_learnable_corpus_is_learnt_by_the_student_that_reads_words(tmp_path: Path) -> None:
    texts, labels = rows(200)
    found = measure(write(tmp_path / "d.parquet", texts, labels), *rows(80), CONFIG, lambda *step: None)
    assert found.words.value == 1.0
    assert found.words.low < 1.0
    assert found.majority.value == 0.5
    assert (found.rows, found.words.n) == (200, 80)
    assert found.as_dict()["internal"] is True
    assert any("internal" in line for line in found.lines())


def test_shuffled_labels_teach_nothing(tmp_path: Path) -> None:
    texts, labels = rows(400)
    shuffled = list(np.random.default_rng(0).permutation(labels))
    found = measure(write(tmp_path / "d.parquet", texts, shuffled), *rows(200), CONFIG, lambda *step: None)
    assert found.words.value < 0.8


def test_a_single_class_is_answered_with_that_class(tmp_path: Path) -> None:
    texts, _ = rows(20)
    found = measure(write(tmp_path / "d.parquet", texts, ["good"] * 20), *rows(10), CONFIG, lambda *step: None)
    assert found.words.value == 0.5


def test_without_labels_there_is_nothing_to_test(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="label column"):
        measure(tmp_path / "d.parquet", ["a"], None, CONFIG, lambda *step: None)


@pytest.mark.parametrize(("share", "n", "low", "high"), [(0.0, 10, 0.0, 0.2775), (0.5, 100, 0.4038, 0.5962)])
def test_wilson_intervals_are_the_published_ones(share: float, n: int, low: float, high: float) -> None:
    assert (wilson(share, n).low, wilson(share, n).high) == pytest.approx((low, high), abs=1e-4)
