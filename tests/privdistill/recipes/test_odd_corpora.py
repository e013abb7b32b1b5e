"""Whole recipes on corpora that are not the usual ones: rows come out, and what drowns in noise is named.

`tests/privdistill/matching/test_odd_corpora.py` has every matcher on every kind; here a recipe goes the whole way,
models, door and all, on the kinds that its own code treats differently.
"""

import pytest

from privdistill.recipes import evolution
from tests.conftest import toy_rows

GREETINGS = ("東京の天気は晴れです", "الطقس جميل اليوم", "Сегодня хорошая погода", "η θάλασσα είναι ήρεμη")


def corpus(kind: str) -> tuple[list[str], list[str] | None, int]:
    """Texts, labels or None, and how many rows to ask for."""
    rows = toy_rows(160)
    texts = [text for text, _ in rows]
    match kind:
        case "one class":
            return texts, ["only"] * len(texts), 8
        case "fifty classes":
            return texts, [f"topic {i % 50}" for i in range(len(texts))], 50
        case "imbalanced":
            return texts, ["rare" if i < 2 else "common" for i in range(len(texts))], 12
        case "unlabelled":
            return texts, None, 8
        case _:
            spoken = [f"{GREETINGS[i % 4]} {i}。" for i in range(160)]
            return spoken, ["even" if i % 2 else "odd" for i in range(160)], 8


@pytest.mark.usefixtures("small_pool")
@pytest.mark.parametrize(
    ("recipe", "kind"),
    [
        ("distribution", "fifty classes"),
        ("distribution", "non-English"),
        ("gradient", "one class"),
        ("metamodel", "unlabelled"),
        ("trajectory", "imbalanced"),
        ("evolution", "fifty classes"),
        ("evolution", "imbalanced"),
    ],
)
def test_a_whole_recipe_runs_and_says_what_it_cannot_do(
    bench, recipe: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evolution, "_TOKENS", 8)
    texts, labels, count = corpus(kind)
    rows, _, charged = bench.run(recipe, texts, labels, rows=count)
    assert len(rows.texts) == len(rows.labels) == count
    assert all(text.strip() for text in rows.texts)
    assert all(one.noise_multiplier and one.noise_multiplier > 0 for one in charged)
    if labels is None:
        assert all(label.startswith("cluster-") for label in rows.labels)
        return
    assert set(rows.labels) == set(labels), "while rows last no declared class vanishes"
    if kind == "one class":
        assert rows.class_names == ("only",)
    if kind == "fifty classes":
        assert len(rows.below_noise) > 25, "three records a class say nothing, and that is said"
    if kind == "imbalanced":
        assert "rare" in rows.below_noise
