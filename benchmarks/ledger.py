"""`make bench-ledger`: the ledger under a crowd and under kill -9, on SQLite and, where it is installed, PostgreSQL.

    python -m benchmarks.ledger [--kills 200] [--out benchmarks/results] [--again]

Each part fails loudly when the total falls below what was drawn, or passes the cap. What is in the results already is
not measured again, unless told so.
"""

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.privdistill.accounting.ledger.server import programs, running

_ROOT = Path(__file__).resolve().parent.parent
_PARTS: dict[str, tuple[int, ...]] = {"crowd": (50, 20), "statements": (1,), "kills": ()}
_MODULE = "tests.privdistill.accounting.ledger.charging"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ledger", description="The ledger under fire.")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--out", type=Path, default=_ROOT / "benchmarks" / "results")
    parser.add_argument("--again", action="store_true", help="Measure everything anew.")
    given = parser.parse_args()
    kept = given.out / "ledger.json"
    before = json.loads(kept.read_text())["databases"] if kept.is_file() and not given.again else {}
    results: dict = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
        "python": platform.python_version(),
        "sqlalchemy": version("sqlalchemy"),
        "sqlite": sqlite3.sqlite_version,
        "postgresql": "not installed",
        "databases": before,
    }

    def measure(database: str, addresses: list[str]) -> None:
        found = results["databases"].setdefault(database, {})
        for part, address in zip(_PARTS, addresses, strict=True):
            if part not in found:
                found[part] = charging(part, address, *_PARTS[part], *([given.kills] if part == "kills" else []))
                given.out.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps(results, indent=2) + "\n")

    with tempfile.TemporaryDirectory() as folder:
        measure("sqlite", [str(Path(folder) / f"{i}.sqlite3") for i in range(3)])
    if programs() is not None:
        import psycopg

        with running() as url, psycopg.connect(f"{url}/postgres", autocommit=True) as connection:
            row = connection.execute("SHOW server_version").fetchone()
            results["postgresql"] = row[0] if row else "unknown"
            for i in range(3):
                connection.execute(f"CREATE DATABASE ledger_{i}")
            measure("postgresql", [f"{url}/ledger_{i}" for i in range(3)])
    kept.write_text(json.dumps(results, indent=2) + "\n")
    (given.out / "ledger.md").write_text(markdown(results))
    print(markdown(results))


def charging(*arguments: object) -> dict:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as state:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-m", _MODULE, *map(str, arguments)],
            cwd=_ROOT,
            env=os.environ | {"PRIVDISTILL_STATE_DIR": state},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return json.loads(done.stdout) | {"seconds": round(time.monotonic() - began)}


def markdown(results: dict) -> str:
    lines = [
        "# The ledger under a crowd and under kill -9",
        "",
        f"{results['date']}, {results['machine']}, Python {results['python']}, SQLAlchemy {results['sqlalchemy']}, "
        f"SQLite {results['sqlite']}, PostgreSQL {results['postgresql']}. Made by `make bench-ledger`.",
        "",
        "* crowd: 50 processes x 20 charges against a cap that holds fewer; accepted is exact, none passes the cap.",
        "* kills: SIGKILL at random moments of an endless charger; drawn <= marked <= reserved after every kill.",
        "* statements: SIGKILL before and after every statement, commit and file move that one run sends.",
        "",
        "| database | part | n | drawn | marked as drawn | reserved | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in results["databases"].items():
        crowd = found["crowd"]
        lines.append(f"| {name} | crowd | 1000 charges | - | - | {1000 - crowd['refused']} | {crowd['seconds']} |")
        for part, n in (("kills", "kills"), ("statements", "places")):
            if part not in found:
                lines.append(f"| {name} | {part} | not measured | - | - | - | - |")
                continue
            counts = " | ".join(str(found[part][column]) for column in ("drawn", "marked", "reserved", "seconds"))
            lines.append(f"| {name} | {part} | {found[part][n]} kills | {counts} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
