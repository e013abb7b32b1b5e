"""One process of a guest: started apart, spoken to through two pipes, and ended with whatever it started.

It is given what `lodging` lists and nothing else: no open file, no terminal, no folder of ours. What it prints goes
nowhere. While it lives, this process hides its memory. It does not know recipes.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import weakref
from importlib.metadata import EntryPoint
from pathlib import Path

from privdistill.recipes.guest.channel import Channel
from privdistill.recipes.guest.fence import hide_memory
from privdistill.recipes.guest.lodging import Lodging, files_of

__all__ = ["GuestProcess"]

_PATIENCE = 5.0
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
                stderr=subprocess.DEVNULL,
                cwd=lodging.home,
                env=lodging.environment(),
                start_new_session=True,  # no terminal; one group to end
            )
        except BaseException:
            lodging.end()
            raise
        # Only the first of several guests finds out how it was before.
        _living[self._process.pid] = next(iter(_living.values())) if _living else hide_memory(True)
        self.end = weakref.finalize(self, _end, self._process, lodging)
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self.channel = Channel(self._process.stdout, self._process.stdin)
        readable = [*lodging.readable, *(file for model in models for file in files_of(model))]
        given = {**lodging.given(), "readable": readable, "module": entry.module, "attribute": entry.attr}
        with contextlib.suppress(OSError):  # it has ended already: that is found when it is listened to
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


def _end(process: "subprocess.Popen[bytes]", lodging: Lodging) -> None:
    """Kill its group, wait for it, remove its folder."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
    lodging.end()
    hidden_before = _living.pop(process.pid, True)
    if not _living and not hidden_before:
        hide_memory(False)
