"""Every recipe on corpora that are not the usual ones: rows come out as asked, and what drowns in noise is named.

A recipe goes the whole way, models, door and all; then one of them goes the way of a user, from a file to a candidate.
`tests/privdistill/matching/test_odd_corpora.py` has every matcher on planted statistics of every kind.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from privdistill import pipeline
from privdistill.candidate import read_claim
from privdistill.config import Privacy, RunConfig, Source, Synthesis
from privdistill.matching import quotas as quotas_module
from privdistill.recipes import distribution, evolution, finetune
from privdistill.recipes.registry import recipe_names
from privdistill.runs import RunDirectory
from privdistill.synthesis import waves
from tests.privdistill.recipes.conftest import PERFORMANCE, Bench
from tests.privdistill.recipes.odd_corpora import KINDS, Corpus, corpus

RECIPES = [name for name in recipe_names() if name != "passthrough"]  # which makes nothing and claims nothing
MARKED = [pytest.param(kind, marks=[pytest.mark.slow] if "classes" in kind else []) for kind in KINDS]
MATCHERS_ALONE = ("gradient", "metamodel", "trajectory")
"""Recipes of the spine of `distribution`: with very many classes they do what it does, and take as long."""
WAYS = {
    "unlabelled": "metamodel",
    "one class": "gradient",
    "fifty classes": "distribution",
    "more classes than rows": "evolution",
    "imbalanced": "trajectory",
    "German": "finetune",
    "Japanese": "distribution",
    "Arabic": "evolution",
}
"""Which recipe a user of each kind takes, so that each is taken."""
LEAST_DROWNED = 40
"""Of fifty classes with three records each: their counts are below half of what would stand out of the noise."""


@pytest.fixture(autouse=True)
def _small(small_pool: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """An untrained model writes as long as it may, and the tiny one has two layers."""
    monkeypatch.setattr(waves, "_LEAST_WAVE", 6)
    monkeypatch.setattr(evolution, "_TOKENS", 8)
    monkeypatch.setattr(finetune, "_LAYERS", 1)
    monkeypatch.setattr(finetune, "_EPOCHS", 1.0)
    monkeypatch.setattr(finetune, "_POOL_TOKENS", 12)


@pytest.fixture
def divisions(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Rows of each class, as they were last divided by noised counts."""
    seen: list[list[int]] = []

    def watched(rows: int, shares: np.ndarray) -> list[int]:
        seen.append(quotas_module.quotas(rows, shares))
        return seen[-1]

    def tried(*given: object) -> object:
        division = divided(*given)
        seen.append(division.wanted)
        return division

    divided = distribution.divided_rows
    monkeypatch.setattr(distribution, "divided_rows", tried)
    for recipe in (distribution, evolution):
        monkeypatch.setattr(recipe, "quotas", watched)
    return seen


def are_texts(rows: Sequence[str]) -> bool:
    """Whether every row says something, in what UTF-8 can write."""
    return all(text.strip() and text.encode("utf-8").decode("utf-8") == text for text in rows)


@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        pytest.param(recipe, kind, marks=[pytest.mark.slow] if "classes" in kind else [])
        for recipe in RECIPES
        for kind in KINDS
        if not ("classes" in kind and recipe in MATCHERS_ALONE)
    ],
)
def test_every_recipe_gives_each_class_its_rows_and_names_what_drowned(
    bench: Bench, recipe: str, kind: str, divisions: list[list[int]]
) -> None:
    given = corpus(kind)
    rows, _, charged = bench.run(recipe, given.texts, given.labels, rows=given.rows)
    assert all(one.noise_multiplier and one.noise_multiplier > 0 for one in charged)
    assert are_texts(rows.texts)
    assert [rows.labels.count(name) for name in rows.class_names] == divisions[-1]
    assert len(rows.texts) == len(rows.labels) == sum(divisions[-1]) == given.rows
    if rows.soft_labels is not None:
        assert rows.soft_labels.shape == (given.rows, len(rows.class_names))
        assert np.allclose(rows.soft_labels.sum(axis=1), 1)
    holds(given, kind, rows.labels, rows.class_names, rows.below_noise)
    said = "\n".join(rows.shortcomings())
    assert all(f"class {name!r} is below the noise floor" in said for name in rows.below_noise)


def holds(given: Corpus, kind: str, labels: Sequence[str], names: Sequence[str], drowned: Sequence[str]) -> None:
    """What is to be said of the rows of a kind, whatever the recipe."""
    if given.labels is None:
        assert all(name.startswith("cluster-") for name in names)
        assert set(labels) <= set(names)
        return
    assert tuple(names) == given.names
    assert set(labels) <= set(given.names)
    if given.rows >= len(given.names):
        assert set(labels) == set(given.names), "while rows last no declared class vanishes"
    match kind:
        case "fifty classes" | "more classes than rows":
            assert len(drowned) >= LEAST_DROWNED
            assert kind != "fifty classes" or len(labels) == len(set(labels)), "one row each"
        case "imbalanced":
            assert tuple(drowned) == ("rare",)
            assert labels.count("rare") <= labels.count("common") / 3, "a class that may be empty gets few rows"
        case _:
            assert tuple(drowned) == ()


@pytest.mark.parametrize("kind", MARKED)
def test_a_user_gets_rows_from_a_file_of_every_kind(
    kind: str, tiny_language_model: Path, tiny_encoder: Path, tmp_path: Path
) -> None:
    given = corpus(kind)
    path = tmp_path / "corpus.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("text", "label"))
        writer.writerows(zip(given.texts, given.labels or [""] * len(given.texts), strict=True))
    labelled = {"label_column": "label", "labels": given.names} if given.labels else {}
    config = RunConfig(
        source=Source(path=str(path), **labelled),  # a declared size would have the smallest of them refused
        privacy=Privacy(epsilon=8.0),
        synthesis=Synthesis(
            recipe=WAYS[kind],
            rows=given.rows,
            describe="remarks about places in town",
            model=str(tiny_language_model),
            encoder=str(tiny_encoder),
            max_tokens=48,
        ),
        performance=PERFORMANCE,
    )
    said: list[str] = []
    ledger = str(tmp_path / "ledger.sqlite3")
    made = pipeline.generate(
        config, run=tmp_path / "run", ledger=ledger, progress=lambda *told: None, notice=said.append
    )
    run = RunDirectory.open(made)
    table = pq.read_table(run.data)
    texts, labels = table["text"].to_pylist(), table["label"].to_pylist()
    assert len(texts) == given.rows
    assert are_texts(texts)
    claim = read_claim(run)
    assert 0.99 * 8 <= (claim.epsilon or 0) <= 8
    assert (claim.declarations.labels or ()) == given.names
    drowned = [name for name in given.names if any(f"class {name!r} is below the noise floor" in one for one in said)]
    holds(given, kind, labels, given.names if given.labels else sorted(set(labels)), drowned)
    kept = [pq.read_table(run.private / f"{side}.parquet")["text"].to_pylist() for side in ("train", "holdout")]
    assert sorted(kept[0] + kept[1]) == sorted(given.texts), "what was read is what was written, letter by letter"
