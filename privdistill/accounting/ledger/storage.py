"""Where entries are stored: an SQLite file or a PostgreSQL database, through SQLAlchemy Core, with one code path.

A writing transaction excludes all other writers from its first statement on: `BEGIN IMMEDIATE` in SQLite, an advisory
lock in PostgreSQL. What is committed is on disk. Nothing is ever updated or deleted, so in PostgreSQL the right to
select and insert is enough once the tables are there.

It does not know what an entry means.
"""

import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import platformdirs
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from privdistill.errors import ConfigError, RunError

__all__ = ["ENTRIES", "SCHEMA_VERSION", "Storage", "default_ledger", "now", "state_folder"]

SCHEMA_VERSION = 1
_METADATA = sa.MetaData()
_HEADER = sa.Table(
    "ledger",
    _METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("created_at", sa.Text, nullable=False),
)
ENTRIES = sa.Table(
    "entries",
    _METADATA,
    sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("at", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("source_id", sa.Text, nullable=False),
    sa.Column("run_id", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("previous", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False, unique=True),
    sa.UniqueConstraint("kind", "run_id", "name", name="one_entry_of_a_kind"),
    sa.Index("entries_of_source", "source_id", "kind", "number"),
)
_LOCK = 0x70726976  # any number that no other program on the database takes
_WAIT = 120.0


class Storage:
    """One ledger database.

    Attributes:
        address: absolute path of the file, or the URL; what a run writes down to find its ledger again.
        id: random id of the ledger.
        private: folder on this machine for what the database must not hold.
    """

    def __init__(self, address: Path | str | None, *, create: bool) -> None:
        """Open a ledger, or create it.

        Raises:
            ConfigError: the address is not one, there is no ledger and `create` is false, or it is of another schema.
            RunError: it cannot be reached or written.
        """
        named = str(address) if address is not None else str(default_ledger())
        file = None if "://" in named else Path(named).expanduser().resolve()
        self.address = str(file) if file is not None else named
        self._engine = _sqlite(file, create=create) if file is not None else _postgresql(named)
        try:
            self.id = self._prepare(create=create)
        except DBAPIError as error:
            if file is not None and isinstance(error.orig, sqlite3.DatabaseError) and not _is_busy(error):
                raise ConfigError(f"{self.address} is not a ledger; name another with --ledger") from None
            raise self._unreachable(error) from None
        beside = file.with_name(f"{file.name}.private") if file is not None else state_folder() / "ledgers" / self.id
        self.private = beside

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """A transaction that no other writer can enter before it is committed and on disk."""
        with self._connection() as connection, self._begun(connection, "IMMEDIATE"):
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One consistent view."""
        with self._connection() as connection, self._begun(connection, "DEFERRED"):
            yield connection

    @contextmanager
    def _connection(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except OperationalError as error:
            raise self._unreachable(error) from None

    @contextmanager
    def _begun(self, connection: sa.Connection, mode: str) -> Iterator[None]:
        if self._engine.dialect.name == "sqlite":
            with connection.begin():
                connection.exec_driver_sql(f"BEGIN {mode}")
                yield
        elif mode == "IMMEDIATE":
            with connection.begin():
                connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_LOCK)))
                yield
        else:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield

    def _prepare(self, *, create: bool) -> str:
        with self.reading() as db:
            found = self._header(db)
        if found is None and create:
            with self.writing() as db:
                found = self._header(db)
                if found is None:
                    _METADATA.create_all(db)
                    found = (secrets.token_hex(8), SCHEMA_VERSION)
                    db.execute(_HEADER.insert().values(id=found[0], schema_version=found[1], created_at=now()))
        if found is None:
            raise ConfigError(f"no ledger at {self.address}; generate makes one when it first charges a source")
        if found[1] != SCHEMA_VERSION:
            raise ConfigError(
                f"the ledger {self.address} has schema version {found[1]}, expected {SCHEMA_VERSION}; use the version "
                "of privdistill that wrote it, and do not begin a second ledger for the same records"
            )
        return found[0]

    def _header(self, db: sa.Connection) -> tuple[str, int] | None:
        tables = sa.inspect(db).get_table_names()
        if "entries" not in tables:
            if "charges" in tables:
                return "", 0  # 0.1.0 kept keys and charges in one file
            return None
        row = db.execute(sa.select(_HEADER.c.id, _HEADER.c.schema_version)).first()
        return (str(row[0]), int(row[1])) if row is not None else None

    def _unreachable(self, error: DBAPIError) -> RunError:
        kind = "is locked by another process" if _is_busy(error) else "cannot be reached or written"
        return RunError(f"the ledger {self.address} {kind}; nothing was charged. Try again, or name it with --ledger")


def default_ledger() -> Path:
    """The user's ledger: PRIVDISTILL_STATE_DIR, or the platform's state directory."""
    return state_folder() / "ledger.sqlite3"


def state_folder() -> Path:
    """Where this user's state lies."""
    return Path(os.environ.get("PRIVDISTILL_STATE_DIR") or platformdirs.user_state_dir("privdistill"))


def now() -> str:
    """UTC, ISO 8601, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _sqlite(file: Path, *, create: bool) -> sa.Engine:
    if not file.is_file() and not create:
        raise ConfigError(f"no ledger at {file}; generate makes one when it first charges a source")
    try:
        if create:
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise RunError(f"the ledger {file} cannot be written ({error.strerror}); name another with --ledger") from None
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=str(file)),
        poolclass=NullPool,
        connect_args={"timeout": _WAIT, "isolation_level": None},
    )

    @sa.event.listens_for(engine, "connect")
    def settle(connection: sqlite3.Connection, record: object) -> None:
        connection.execute("PRAGMA synchronous=FULL")
        _write_ahead(connection)

    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Turn the write-ahead log on; while another process does so SQLite says `locked` without waiting."""
    for _ in range(200):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            time.sleep(0.01)
        else:
            return
    connection.execute("PRAGMA journal_mode=WAL")


def _postgresql(address: str) -> sa.Engine:
    expected = "expected a path, or a URL such as postgresql://user@host/database"
    try:
        url = sa.make_url(address)
    except ArgumentError:
        raise ConfigError(f"the ledger's address is not one; {expected}") from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise ConfigError(f"ledgers are not kept in {url.drivername!r}; {expected}")
    if url.password is not None or "password" in url.query:
        raise ConfigError("the ledger's URL holds a password, which runs would write down; put it into ~/.pgpass")
    try:
        import psycopg  # noqa: F401
    except ImportError:
        raise ConfigError(
            "a ledger in PostgreSQL needs the extra: pip install 'privdistill[postgresql]', or name a file"
        ) from None
    return sa.create_engine(
        url.set(drivername="postgresql+psycopg"),
        poolclass=NullPool,
        connect_args={"connect_timeout": 20},
    )


def _is_busy(error: DBAPIError) -> bool:
    return "locked" in str(error.orig) or "busy" in str(error.orig)
