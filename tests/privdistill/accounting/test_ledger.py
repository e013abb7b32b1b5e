"""Charged before noise, drawn once, never refunded, composed over runs."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from privdistill.accounting.accountant import Event, total_epsilon
from privdistill.accounting.budget import Budget, calibrate
from privdistill.accounting.ledger import Ledger, Source, default_ledger
from privdistill.errors import BudgetError, ConfigError, MechanismError, RunError
from privdistill.mechanisms.release import MechanismRecord

BUDGET = calibrate(2.0, 1e-6, {"statistic": 1.0}, threshold=False)


def record(budget: Budget = BUDGET, name: str = "statistic") -> MechanismRecord:
    return MechanismRecord(
        name=name,
        kind="gaussian",
        noise_multiplier=budget.noise_multipliers["statistic"],
        sample_rate=1.0,
        steps=1,
        sensitivity=1.0,
        sensitivity_parts={"count": 1.0},
        sampler="full-batch",
        noise="discrete-gaussian",
        dimension=3,
        noise_grid_steps=2.0**28,
        delta_discretisation=1e-12,
        delta_threshold=0.0,
    )


def reserve(ledger: Ledger, source: Source, run_id: str) -> None:
    ledger.reserve_once(source, run_id, [("statistic", "gaussian", BUDGET.noise_multipliers["statistic"])], BUDGET)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "state" / "ledger.sqlite3")


@pytest.fixture
def source(ledger: Ledger) -> Source:
    return ledger.open_source("clinic", unit="record", holdout=0.3)


def test_a_source_keeps_its_key_across_runs_and_processes(ledger: Ledger, source: Source) -> None:
    assert Ledger(ledger.address).open_source("clinic", unit="record", holdout=0.3) == source
    assert ledger.open_source("bank", unit="record", holdout=0.3).key != source.key
    assert len(source.key) == 32


def test_another_unit_or_holdout_for_the_same_source_is_refused(ledger: Ledger, source: Source) -> None:
    with pytest.raises(BudgetError, match="unit 'record'"):
        ledger.open_source("clinic", unit="patient", holdout=0.3)
    with pytest.raises(BudgetError):
        ledger.open_source("clinic", unit="record", holdout=0.5)


def test_a_reservation_counts_before_and_without_any_draw(ledger: Ledger, source: Source) -> None:
    assert ledger.total(source.id).epsilon == 0.0
    reserve(ledger, source, "run-1")
    total = ledger.total(source.id)
    assert total.epsilon == pytest.approx(BUDGET.epsilon, rel=1e-6)
    assert (total.attempts, total.delta) == (1, 1e-6)
    assert ledger.mechanisms("run-1") == ()


def test_a_mechanism_is_drawn_once(ledger: Ledger, source: Source) -> None:
    reserve(ledger, source, "run-1")
    ledger.draw("run-1", record())
    with pytest.raises(MechanismError, match="drawn before"):
        ledger.draw("run-1", record())
    assert [m["name"] for m in ledger.mechanisms("run-1")] == ["statistic"]


@pytest.mark.parametrize(
    "changed",
    [
        {"noise_multiplier": BUDGET.noise_multipliers["statistic"] / 2},
        {"name": "another"},
        {"sample_rate": 0.5},
        {"steps": 2},
    ],
)
def test_what_was_not_reserved_exactly_so_is_refused(
    ledger: Ledger, source: Source, changed: dict[str, object]
) -> None:
    reserve(ledger, source, "run-1")
    with pytest.raises(MechanismError):
        ledger.draw("run-1", replace(record(), **changed))  # type: ignore[arg-type]


def test_runs_on_one_source_compose(ledger: Ledger, source: Source) -> None:
    for run in ("run-1", "run-2", "run-3"):
        reserve(ledger, source, run)
    sigma = BUDGET.noise_multipliers["statistic"]
    total = ledger.total(source.id)
    assert total.epsilon == pytest.approx(total_epsilon([Event(sigma, steps=3)], 3 * BUDGET.delta_composition))
    assert total.attempts == 3
    assert total.epsilon > BUDGET.epsilon


def test_reserving_twice_in_one_run_charges_once(ledger: Ledger, source: Source) -> None:
    reserve(ledger, source, "run-1")
    reserve(ledger, source, "run-1")
    assert ledger.total(source.id).attempts == 1


def test_unprotected_runs_are_counted_apart(ledger: Ledger, source: Source) -> None:
    ledger.reserve_once(source, "run-1", [("disclosure", "none", None)], None)
    total = ledger.total(source.id)
    assert (total.unprotected, total.epsilon, total.attempts) == (1, 0.0, 1)


def test_parallel_charges_are_all_counted(ledger: Ledger, source: Source) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: reserve(Ledger(ledger.address), source, f"run-{i}"), range(24)))
    assert ledger.total(source.id).attempts == 24


def test_only_the_owner_may_read_the_ledger(ledger: Ledger) -> None:
    assert stat.S_IMODE(os.stat(ledger.address).st_mode) == 0o600


def test_what_is_not_a_ledger_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(ConfigError, match="not a ledger"):
        Ledger(tmp_path / "notes.txt")
    with pytest.raises(ConfigError, match="not kept in 'mysql'"):
        Ledger("mysql://somewhere/ledger")
    with pytest.raises(ConfigError, match="password"):
        Ledger("postgresql://me:secret@localhost/ledger")
    with pytest.raises(RunError, match="cannot be written"):
        Ledger(tmp_path / "notes.txt" / "ledger.sqlite3")


def test_the_default_ledger_lies_in_the_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVDISTILL_STATE_DIR", str(tmp_path))
    assert default_ledger() == tmp_path / "ledger.sqlite3"
