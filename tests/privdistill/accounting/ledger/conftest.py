"""Ledgers to test with: an SQLite file, and a database on a PostgreSQL server started for the session on loopback."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from privdistill.accounting.budget import Budget, calibrate
from privdistill.accounting.ledger import Ledger, Source
from privdistill.mechanisms.release import MechanismRecord, Reservation
from tests.privdistill.accounting.ledger.server import programs, running

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


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """URL of a server without its database; the server lives as long as the session, on 127.0.0.1 only."""
    if programs() is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql); the ledger was tested on SQLite only")
    pytest.importorskip("psycopg", reason="psycopg is not installed; the ledger was tested on SQLite only")
    with running() as url:
        yield url


@pytest.fixture
def postgresql(server: str) -> str:
    """URL of an empty database."""
    import psycopg

    name = f"ledger_{time.monotonic_ns()}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


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
