"""One process of a guest: started apart, spoken to through two pipes, and ended with whatever it started.

It is given what `lodging` lists and nothing else: no open file, no terminal, no folder of ours. What it prints is kept
to the last few thousand bytes and shown to nobody but the author (`recipes.conformance`). While it lives, this process
hides its memory. It does not know recipes.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import weakref
from importlib.metadata import EntryPoint
from pathlib import Path

from privdistill.recipes.guest.channel import Channel
from privdistill.recipes.guest.fence import hide_memory
from privdistill.recipes.guest.lodging import Lodging, files_of

__all__ = ["GuestProcess"]

_LAST_WORDS = 2**14
_PATIENCE = 2.0
"""Seconds that a process which stopped talking gets to end by itself, so that its exit code is known."""
_living: dict[int, bool] = {}
"""Process number of each guest -> whether our memory had been hidden before it came."""


class GuestProcess:
    """A running guest."""

    def __init__(self, entry: EntryPoint, models: tuple[Path, ...] = ()) -> None:
        """Start it; the plug-in is loaded later, when it is told to.

        Args:
            entry: what it will load.
            models: files and folders that it may read besides.
        """
        lodging = Lodging.prepare(entry)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "privdistill.recipes.guest"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=lodging.home,
                env=lodging.environment(),
                start_new_session=True,  # no terminal; one group to end
            )
        except BaseException:
            lodging.end()
            raise
        self._words = bytearray()
        self._listener = threading.Thread(target=_listen, args=(self._process, self._words), daemon=True)
        self._listener.start()
        _living[self._process.pid] = hide_memory(True)
        self.end = weakref.finalize(self, _end, self._process, self._listener, lodging)
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self.channel = Channel(self._process.stdout, self._process.stdin)
        readable = [*lodging.readable, *(file for model in models for file in files_of(model))]
        given = {**lodging.given(), "readable": readable, "module": entry.module, "attribute": entry.attr}
        self.channel.send(json.dumps(given).encode())

    def exit_code(self) -> int:
        """End it and say how it had ended, if it had: an exit code, or minus a signal."""
        until = time.monotonic() + _PATIENCE
        while time.monotonic() < until and self._process.returncode is None:
            # Not reaped yet, so that its group stays its own until `_end`.
            with contextlib.suppress(ChildProcessError):
                if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    break
            time.sleep(0.01)
        self.end()
        return int(self._process.returncode or 0)

    def last_words(self) -> str:
        """The end of what it printed, for its author."""
        return bytes(self._words).decode(errors="replace")


def _listen(process: "subprocess.Popen[bytes]", words: bytearray) -> None:
    while process.stderr is not None and (heard := os.read(process.stderr.fileno(), 2**12)):
        words += heard
        del words[:-_LAST_WORDS]


def _end(process: "subprocess.Popen[bytes]", listener: threading.Thread, lodging: Lodging) -> None:
    """Kill its group, wait for it, remove its folder."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    listener.join(timeout=_PATIENCE)
    for stream in (process.stdin, process.stdout, None if listener.is_alive() else process.stderr):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    lodging.end()
    hidden_before = _living.pop(process.pid, True)
    if not _living and not hidden_before:
        hide_memory(False)
