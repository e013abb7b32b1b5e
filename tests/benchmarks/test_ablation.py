"""The ablation: one release for all rows, switches that undo themselves, differences only where they can be told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import ablation
from benchmarks.ablation import Study, packed
from benchmarks.ablation_table import markdown, unpacked
from benchmarks.corpora import Corpus
from benchmarks.keyword_prompts import keywords, named
from benchmarks.reweighting import ROW_WEIGHTS, towards_moments, weighing
from benchmarks.shared_release import SharedRelease
from benchmarks.sharing import SharedModels
from benchmarks.switches import SWITCHES, Switch, switched
from privdistill.config import Performance, Synthesis
from privdistill.recipes import distribution
from privdistill.synthesis.steering import Opening, Steering
from tests.conftest import toy_rows

_TAUGHT = "teach as the pool does"


def switch_of(name: str) -> Switch:
    (one,) = (one for one in SWITCHES if one.name == name)
    return one


def test_every_switch_changes_something_that_is_there_and_undoes_it() -> None:
    names = [switch.name for switch in SWITCHES]
    assert len(set(names)) == len(names)
    for switch in SWITCHES:
        assert switch.against in names
        before = [getattr(owner, name) for owner, name, _ in switch.changes]
        with switched(switch):
            assert all(getattr(owner, name) is value for owner, name, value in switch.changes)
        assert all(getattr(o, n) is b for (o, n, _), b in zip(switch.changes, before, strict=True))


def test_hits_survive_packing() -> None:
    hits = np.random.default_rng(0).integers(2, size=77).astype(np.float64)
    assert np.array_equal(unpacked(packed(hits), 77), hits)


def test_prompts_name_whole_words_of_the_class_by_their_noised_frequency() -> None:
    pieces = [" city", "ville", " of", " country", " no", " river"]
    sums = np.array([6.0, 9.0, 9.0, 2.0, 9.0, -1.0])
    none = np.zeros(0, dtype=np.int64)
    steering = Steering(np.ones(6), Opening(none, np.zeros(0)), np.zeros((0, 6)), np.array([0, 1, 2, 3, 5]), none)
    words, odds = keywords(steering, sums, pieces)
    assert words == ["city", "country"], "no part of a word, no short word, none whose noised sum is below zero"
    assert np.allclose(odds, [0.75, 0.25])
    assert named("Category: place\nQuestions:\n*", words) == (
        "Category: place\nQuestions, with words such as city, country:\n*"
    )
    assert named("Questions:\n\n-", []) == "Questions:\n\n-"


def line(switch: str, redraw: int, share: float, *, seed: int = 0, release: str = "r") -> dict[str, Any]:
    draw = np.random.default_rng(seed).random(400)
    return {
        "corpus": "toys",
        "epsilon": 4.0,
        "rows": 400,
        "redraw": redraw,
        "switch": switch,
        "release": release,
        "tested": 400,
        "status": "done",
        "seconds": 1.0,
        "hits": {student: packed((draw < share).astype(float)) for student in ("words", "encoder", "static")},
        "code": {"commit": "abc", "versions": {"torch": "2"}},
        "date": "2026-11-22T10:00:00+00:00",
        "machine": "a machine, 2 cores",
    }


def rows_of(text: str) -> dict[str, str]:
    return {row.split("|")[1].strip(): row for row in text.splitlines() if row.startswith("|")}


def head_of(text: str) -> str:
    return text.split("\n## ")[0]


def test_only_a_difference_beyond_interval_and_luck_is_bold() -> None:
    base = [line("distribution", r, 0.7 + 0.004 * r) for r in (0, 1)]
    again = [line("candidates written again", r, 0.702) for r in (0, 1)]
    large = [line("no steering", r, 0.5) for r in (0, 1)]
    same = [line("two waves", r, 0.702) for r in (0, 1)]
    text = markdown([*base, *again, *large, *same])
    rows = rows_of(text)
    assert rows["no steering"].count("**") == 6
    assert "**" not in rows["two waves"]
    assert "of one pool, from 4 pools, points" in text
    assert "from 4 pools on toys" in head_of(text)
    assert "averaged over the redraws that both have" in head_of(text)


def test_one_pool_says_nothing_of_luck_and_two_say_little() -> None:
    base, written = line("distribution", 0, 0.7), line("no steering", 0, 0.5)
    chosen = line("no contrast in the choice", 0, 0.5)
    alone = markdown([base, written, chosen])
    rows = rows_of(alone)
    assert "| distribution | others | 1 |" in rows["no steering"]
    assert "**" not in rows["no steering"]
    assert rows["no contrast in the choice"].count("**") == 6, "the same candidates: no luck of sampling"
    assert "not known yet" in alone
    assert "not known on toys, one pool" in head_of(alone)
    assert "redraws that both have" not in head_of(alone)
    two = markdown([base, written, line("candidates written again", 0, 0.69), line("one wave", 0, 0.6)])
    assert "**" not in rows_of(two)["one wave"], "of a deviation from two pools, one in twenty is 13 times as far off"
    assert "from 2 pools on toys" in head_of(two)


def test_a_row_with_a_release_of_its_own_says_so_and_is_never_bold() -> None:
    base = [line("distribution", r, 0.7) for r in range(4)]
    of_gradient = [line(name, 0, 0.4, seed=1) for name in ("gradient", "gradient, refined by ADMM")]
    plain = markdown(base)
    assert "own release" not in plain
    assert "others" not in head_of(plain)
    text = markdown([*base, *of_gradient])
    rows = rows_of(text)
    assert "| distribution | own release | 1 |" in rows["gradient"]
    assert "| gradient | the same, refined | 1 |" in rows["gradient, refined by ADMM"]
    assert "**" not in rows["gradient"]
    assert "with an `own release` is never bold" in head_of(text)


def test_the_power_of_class_shares_is_told() -> None:
    facts = {"facts": {"class_share_exponent": 0.6}}
    text = markdown([line("distribution", 0, 0.7) | facts, line("distribution", 1, 0.7) | facts])
    assert "| distribution |  |  | 2 | 0.6 |" in text
    other = {"facts": {"class_share_exponent": 0.4}}
    text = markdown([line("distribution", 0, 0.7) | facts, line("distribution", 1, 0.7) | other])
    assert "| 2 | 0.6, 0.4 |" in text


def test_a_refined_row_is_also_shown_against_one_of_its_own_class_shares() -> None:
    def of(name: str, share: float, power: float) -> dict[str, Any]:
        return line(name, 0, share) | {"facts": {"class_share_exponent": power}}

    lines = [of("gradient", 0.6, 0.6), of("gradient, classes by power 0.5", 0.7, 0.5)]
    refined = of("gradient, refined model", 0.7, 0.5)
    text = markdown([*lines, refined])
    assert "| gradient, refined model | gradient | the same, refined | 1 | 0.5 | +" in text
    assert "| gradient, refined model | gradient, classes by power 0.5 | the same, refined | 1 | 0.5 | +0.0" in text
    alike = markdown([*lines, refined | {"facts": {"class_share_exponent": 0.6}}])
    assert alike.count("| gradient, refined model |") == 1


def test_rows_of_another_release_are_not_paired() -> None:
    text = markdown([line("distribution", 0, 0.7), line("no steering", 0, 0.2, release="newer")])
    assert "no row to compare with" in text
    assert "\n| distribution |" not in text


def test_a_failed_row_says_why() -> None:
    failed = line("two waves", 0, 0.5) | {"status": "failed", "reason": "MechanismError: no text"}
    assert "failed: MechanismError: no text" in markdown([line("distribution", 0, 0.7), failed])


def test_rows_share_one_release_and_one_pool_on_tiny_models(
    tiny_language_model: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distribution, "_PUBLIC_TEXTS", (32, 32))
    monkeypatch.setattr(distribution, "_PUBLIC_TOKENS", 8)
    rows, words = toy_rows(140), {"good": "praise", "bad": "complaint"}
    corpus = Corpus("toys", tuple(words), "notes", words, "accuracy", 140, tuple(rows), ())
    performance = Performance(batch_size=64, pool_factor=1.0)
    shared = SharedModels(Synthesis(model=str(tiny_language_model), encoder=str(tiny_encoder)), performance)
    with shared.of(0) as models:
        release = SharedRelease(corpus, 8.0, 6, models, tmp_path / "work", performance)
        study = Study(shared, release)
        drawn = release.drawn()
        first, again = (release.rows("distribution", "none", 0, writes=False) for _ in range(2))
        assert sorted(first.texts) == sorted(again.texts), "chosen from the same candidates by the same release"
        soft = study.line(switch_of("soft labels, temperature 1"), 0)
        balanced = switch_of("balanced classes")
        with switched(balanced):
            assert sorted(release.rows("distribution", "none", 0, writes=False).labels) == ["bad"] * 3 + ["good"] * 3
        written = study.line(switch_of("no steering"), 0)
        plain = study.line(switch_of("distribution"), 0)
        equal = weighing(lambda candidates, measured, choice: np.ones(len(choice.rows)))
        alike = study.line(Switch("rows of one weight", ((distribution, "herded", equal),)), 0)
        made = study._sample(list(zip(first.texts, first.labels, strict=True)))
        margins: dict[str, Any] = {}
        for name in plain["hits"]:
            points, tested = study._features(name, made)
            model = ablation.regression(name).fit(points, list(made.labels))
            margins[name] = np.abs(model.decision_function(tested))  # log-odds of either class
        reached: dict[bool, float] = {}

        def watched(candidates: Any, measured: Any, choice: Any) -> Any:
            weights, rows = towards_moments(candidates, measured, choice), np.asarray(choice.rows)
            assert (weights >= 0).all()
            for k in range(2):
                own = choice.owners == k
                assert weights[own].mean() == pytest.approx(1.0)
                for weighed in (False, True):
                    mean = (
                        (weights if weighed else np.ones_like(weights))[own] @ candidates.means[rows[own]] / own.sum()
                    )
                    away = np.linalg.norm(mean - measured.target.classes[k].mean)
                    reached[weighed] = reached.get(weighed, 0.0) + float(away)
            return weights

        weighed = study.line(Switch("rows weighed", ((distribution, "herded", weighing(watched)),)), 0)
        others = [study.line(switch_of(f"rows weighed to {aim}"), 0) for aim in ("all noised rates", _TAUGHT)]
        worded = study.line(switch_of("prompts name words of their class"), 0)
    assert len(release.holdout) == 42
    for name, hits in plain["hits"].items():  # rows come in another order: who is on the border may fall by rounding
        equal_hits = np.asarray(unpacked(hits, 42)) == np.asarray(unpacked(alike["hits"][name], 42))
        assert equal_hits[margins[name] > 1e-2].all(), "rows of one weight are rows without"
        assert (margins[name] > 1e-2).sum() > 21
    assert reached[True] < reached[False]
    assert 1 <= weighed["facts"]["effective_rows"] <= 6
    assert ROW_WEIGHTS not in weighed["facts"]
    for found in (soft, written, weighed, *others, worded):
        assert set(found["hits"]) == {"words", "encoder", "static"}
        assert len(unpacked(found["hits"]["words"], 42)) == 42
    kept = SharedRelease(corpus, 8.0, 6, models, tmp_path / "work", performance)
    assert kept.drawn() == drawn, "whoever goes on pays nothing and pairs with what is there"
    assert {path.name for path in (tmp_path / "work").iterdir()} == {
        "ground.npz",
        "pool-distribution-0.npz",
        "release-distribution.npz",
    }
