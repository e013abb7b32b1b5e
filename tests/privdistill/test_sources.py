"""A source over many runs, through the whole flow: caps, overlaps, reviews, and a ledger that is gone or forged."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from privdistill import pipeline
from privdistill.accounting.ledger import Ledger
from privdistill.config import RunConfig
from privdistill.errors import BudgetError, ConfigError
from privdistill.settlement import decide_run
from tests.privdistill.test_pipeline import config, generate, ledger, quiet, recipe

__all__ = ["config", "ledger", "recipe"]


def told(config: RunConfig, **source: object) -> RunConfig:
    return config.model_copy(update={"source": config.source.model_copy(update=source)})


def rule(run: object, kind: str, policy: str = "public") -> Iterator[str]:
    from privdistill.policy import load_policy

    return (outcome.status for outcome in decide_run(run, load_policy(policy)).rules if outcome.id == kind)


def test_the_same_records_under_another_name_are_refused_before_anything_is_spent(
    recipe, config, ledger, tmp_path: Path
) -> None:
    generate(told(config, name="clinic"), ledger, tmp_path / "one")
    copy = tmp_path / "copy.csv"
    lines = Path(config.source.path).read_text().splitlines()
    copy.write_text("\n".join([lines[0], lines[7], "an entirely new text,good,nobody", "one more,bad,nobody"]) + "\n")
    other = told(config, path=str(copy), name="other")
    before = Ledger(ledger).total(Ledger(ledger).sources()[0][0])
    with pytest.raises(BudgetError, match="--source 'clinic'"):
        generate(other, ledger, tmp_path / "two")
    assert not (tmp_path / "two").exists()
    assert Ledger(ledger).total(Ledger(ledger).sources()[0][0]) == before
    generate(told(other, name="clinic"), ledger, tmp_path / "three")
    assert Ledger(ledger).total(Ledger(ledger).sources()[0][0]).attempts == 2


def test_a_cap_is_kept_and_refused_before_a_run_begins(recipe, config, ledger, tmp_path: Path) -> None:
    small = told(config, cap_epsilon=5.0, cap_delta=1e-5)
    generate(small, ledger, tmp_path / "one")
    with pytest.raises(BudgetError, match="does not fit"):
        generate(small, ledger, tmp_path / "two")
    assert not (tmp_path / "two").exists()
    with pytest.raises(ConfigError, match="final"):
        generate(told(config, cap_epsilon=50.0), ledger, tmp_path / "three")


def test_a_second_attempt_waits_for_a_person_under_public(recipe, config, ledger, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run = generate(told(config, name="clinic"), ledger, tmp_path / name)
    assert list(rule(run, "attempts")) == ["violated"]
    Ledger(ledger).review("clinic", by="Dr Who", reason="read both reports")
    assert list(rule(run, "attempts")) == ["satisfied"]


def test_the_total_that_a_policy_reads_is_the_ledger_s(recipe, config, ledger, tmp_path: Path) -> None:
    for name in ("one", "two"):
        run = generate(told(config, name="clinic"), ledger, tmp_path / name)
    total = Ledger(ledger).total(run.manifest().source_id)
    decision = pipeline.gate(run.path, "internal")
    found = next(outcome for outcome in decision.rules if outcome.id == "source-total")
    assert found.value == pytest.approx(total.epsilon)
    assert total.epsilon > 1.3 * 4


@pytest.mark.parametrize("fault", ["gone", "moved", "forged", "another"])
def test_a_ledger_that_cannot_be_relied_on_leaves_the_policy_undecided(
    recipe, config, ledger, tmp_path: Path, fault: str
) -> None:
    run = generate(config, ledger, tmp_path / "run")
    if fault == "gone":
        Path(ledger).unlink()
    elif fault == "moved":
        Path(ledger).rename(tmp_path / "elsewhere.sqlite3")
    elif fault == "forged":
        with closing(sqlite3.connect(ledger)) as db, db:
            db.execute("UPDATE entries SET at = '2020-01-01' WHERE number = 2")
    else:
        Path(ledger).unlink()
        Ledger(ledger)
    decision = pipeline.gate(run.path, "internal")
    assert decision.verdict != "allow"
    for id_ in ("ledger-charges", "source-total", "attempts"):
        assert next(outcome.status for outcome in decision.rules if outcome.id == id_) == "not-run"


def test_a_finished_run_is_committed_and_an_interrupted_one_left_open(
    recipe, config, ledger, tmp_path, monkeypatch
) -> None:
    generate(config, ledger, tmp_path / "one")

    def stop(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("privdistill.candidate.write_candidate", stop)
    with pytest.raises(KeyboardInterrupt):
        pipeline.generate(config, run=tmp_path / "two", ledger=ledger, progress=quiet)
    kinds = [entry.kind for entry in Ledger(ledger).entries()]
    assert kinds == [
        "opened",
        *("joined", "reserved", "drawn", "kept", "committed"),
        *("joined", "reserved", "drawn", "kept"),  # left open: it counts as much, and may be resumed
    ]
    (source,) = Ledger(ledger).sources()
    assert Ledger(ledger).total(source[0]).attempts == 2


def test_a_whole_run_is_charged_in_postgresql(recipe, config, postgresql: str, tmp_path: Path) -> None:
    run = generate(told(config, name="clinic"), postgresql, tmp_path / "run")
    assert run.manifest().ledger == postgresql
    decision = pipeline.gate(run.path, "internal")
    assert next(outcome.status for outcome in decision.rules if outcome.id == "ledger-charges") == "satisfied"
