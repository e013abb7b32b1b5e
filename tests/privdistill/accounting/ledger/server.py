"""A PostgreSQL server of one's own, on 127.0.0.1 and a free port, that disappears afterwards. It is no test."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["programs", "running"]


def programs() -> Path | None:
    """Folder of the server's programs, or None where it is not installed."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


@contextmanager
def running() -> Iterator[str]:
    """URL of a running server, without a database."""
    folder = programs()
    assert folder is not None
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
