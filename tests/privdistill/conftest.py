"""A PostgreSQL server for whoever tests with one: started for the session, on loopback; without it, skipped aloud."""

import time
from collections.abc import Iterator

import pytest

from tests.privdistill.accounting.ledger.server import programs, running


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
