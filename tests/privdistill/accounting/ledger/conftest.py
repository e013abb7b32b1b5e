"""Ledgers to test with: an SQLite file, and a database on a PostgreSQL server started for the session on loopback."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from privdistill.accounting.budget import Budget, calibrate
from privdistill.accounting.ledger import Ledger, Source
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


def programs() -> Path | None:
    """Folder of the server's programs, or None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """URL of a server without its database; the server lives as long as the session, on 127.0.0.1 only."""
    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL is not installed (Debian package postgresql); the ledger was tested on SQLite only")
    pytest.importorskip("psycopg", reason="psycopg is not installed; the ledger was tested on SQLite only")
    # The server refuses to run as root; the package makes a user for it.
    as_user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = Path(tempfile.mkdtemp(prefix="pd-pg-", dir="/tmp"))
    if as_user:
        shutil.chown(place, "postgres", "postgres")

    def run(*command: object) -> None:
        done = subprocess.run(
            [str(part) for part in command], cwd=place, capture_output=True, text=True, check=False, **as_user
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run(folder / "initdb", "-D", place / "data", "-U", "ledger", "--auth=trust", "--no-sync", "-E", "UTF8")
    settings = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={place}"
    # Its log goes to a file: a server that inherits the pipe would keep it open.
    run(folder / "pg_ctl", "-D", place / "data", "-w", "-l", place / "log", "-o", settings, "start")
    try:
        yield f"postgresql://ledger@127.0.0.1:{port}"
    finally:
        run(folder / "pg_ctl", "-D", place / "data", "-m", "immediate", "stop")
        shutil.rmtree(place, ignore_errors=True)


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
