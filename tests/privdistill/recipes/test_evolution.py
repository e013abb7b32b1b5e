import numpy as np
import pytest

from privdistill.mechanisms.release import Release
from privdistill.planning import make_plan
from privdistill.recipes import evolution
from privdistill.recipes.evolution import survivors, vote_shares
from tests.conftest import toy_rows
from tests.privdistill.planted import RECORD


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evolution, "_TOKENS", 10)


def test_every_round_is_reserved_charged_and_noised_anew(bench) -> None:
    rows, asked, charged = bench.run("evolution", *zip(*toy_rows(300), strict=True), rows=16)
    assert len(rows.texts) == len(rows.labels) == 16
    assert set(rows.labels) == {"bad", "good"}
    names = ["votes-1", "votes-2", "votes-3", "votes-4"]
    assert [one.name for one in charged] == names == [one.name for one in asked]
    assert {(one.kind, one.sensitivity, one.steps) for one in charged} == {("gaussian", 1.0, 1)}
    assert len({one.noise_multiplier for one in charged}) == 1
    assert all([block.name for block in one.blocks] == ["votes"] for one in asked)
    assert len(rows.facts["rounds"]) == 4


def test_an_unlabelled_corpus_votes_in_one_class(bench) -> None:
    rows, _, _ = bench.run("evolution", [text for text, _ in toy_rows(80)], None, rows=6)
    assert rows.labels == ("cluster-0",) * 6


def test_rounds_share_mu_squared(bench) -> None:
    from privdistill.config import Privacy, RunConfig, Source, Synthesis

    plan = make_plan(
        RunConfig(source=Source(path="x"), privacy=Privacy(epsilon=4.0), synthesis=Synthesis(recipe="evolution"))
    )
    assert plan.budget.mu**2 == pytest.approx(sum(1 / one.noise_multiplier**2 for one in plan.mechanisms))
    assert len(plan.mechanisms) == 4


def test_the_candidates_that_win_are_near_the_records() -> None:
    """With little noise, candidates among which records lie get the votes; those far away die."""
    rng = np.random.default_rng(0)
    near, far = rng.standard_normal((5, 3)), rng.standard_normal((5, 3)) + 50
    records = near[rng.integers(5, size=400)] + 0.1 * rng.standard_normal((400, 3))
    from privdistill.features.blocks import block_vector
    from privdistill.mechanisms.release import VoteBlock

    block, votes = VoteBlock(1.0, (np.vstack([far, near]),)), np.zeros(10)
    for record in records.astype(np.float32):
        votes[block_vector(block, np.zeros(0, np.int64), record, 0).cells] += 1
    assert votes.sum() == 400
    assert set(survivors(votes, 5)) == {5, 6, 7, 8, 9}


def test_class_shares_come_from_noised_votes_and_never_vanish() -> None:
    votes = np.array([[30.0, 50.0], [-5.0, 1.0]])
    shares = vote_shares(Release({"votes": votes}, {"votes": 2.0}, RECORD, ("a", "b")))
    assert shares.tolist() == [80.0, pytest.approx(2 * np.sqrt(2))]


def test_rows_that_are_repeated_for_want_of_texts_are_counted_and_said(bench, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = evolution._next

    def few(*given: object) -> evolution._Population:
        return evolution._Population(tuple(texts[:3] for texts in grown(*given).texts))

    monkeypatch.setattr(evolution, "_next", few)
    rows, _, _ = bench.run("evolution", *zip(*toy_rows(150), strict=True), rows=16)
    assert rows.facts["rows_repeated"] == rows.repeated == 16 - len(set(rows.texts)) >= 10
    assert any(f"{rows.repeated} of 16 rows repeat the text of another" in one for one in rows.shortcomings())
