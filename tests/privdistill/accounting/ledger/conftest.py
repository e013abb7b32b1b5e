"""Ledgers to test with, on SQLite and PostgreSQL, and one run that is charged."""

from pathlib import Path

import pytest

from privdistill.accounting.budget import Budget, calibrate
from privdistill.accounting.ledger import Ledger, Source
from privdistill.accounting.ledger.opening import write_opened
from privdistill.mechanisms.release import MechanismRecord, Reservation

BUDGET = calibrate(2.0, 1e-6, {"statistic": 1.0}, threshold=False)
PLAN = [Reservation("statistic", "gaussian", BUDGET.noise_multipliers["statistic"])]


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
    ledger.reserve_once(source, run_id, PLAN, BUDGET)


def opened(ledger: Ledger, name: str, cap: tuple[float | None, float | None] = (None, None)) -> Source:
    """A source in the ledger without a charge: what a run leaves that is killed between the two."""
    source = ledger.open_source(name, unit="record", holdout=0.3, cap=cap)
    with ledger._writing() as db:
        write_opened(db, ledger._storage.id, ledger._keyring, source)
    return source


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a new ledger may be made."""
    if request.param == "sqlite":
        return str(tmp_path / "state" / "ledger.sqlite3")
    return str(request.getfixturevalue("postgresql"))


@pytest.fixture
def ledger(address: str) -> Ledger:
    return Ledger(address)


@pytest.fixture
def source(ledger: Ledger) -> Source:
    return ledger.open_source("clinic", unit="record", holdout=0.3)
