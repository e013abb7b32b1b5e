"""From an exception to one sentence on stderr and an exit code.

The message of an unexpected one is never shown: it may carry the text of a record, so only its type and place are, and
the traceback goes to the private folder of the run.

It does not know which command was running.
"""

import errno
import json
import os
import sys
import traceback
from pathlib import Path

from privdistill.errors import PrivdistillError

__all__ = ["INTERRUPTED", "report_failure"]

_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG}
_PACKAGES = ("privdistill", "audits")
INTERRUPTED = 130
_ROOT = Path(__file__).resolve().parents[2]


def report_failure(error: BaseException, run: Path | None) -> int:
    """Say what went wrong and return the exit code.

    Args:
        error: whatever reached the top.
        run: run directory named on the command line, if any.
    """
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        _say("interrupted; what was drawn stays charged in the ledger")
        return INTERRUPTED
    if isinstance(error, BrokenPipeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    if isinstance(error, PrivdistillError):
        _say(str(error))
        return error.exit_code
    usage = getattr(error, "format_message", None)
    if callable(usage):
        _say(f"{_one_line(usage())}; see --help")
        return int(getattr(error, "exit_code", 2))
    if isinstance(error, OSError) and error.errno in _DISK and error.filename is not None:
        _say(
            f"{_path(error.filename)}: {os.strerror(error.errno)}; free space, change its rights, or name another place"
        )
        return 2
    if isinstance(error, MemoryError):
        _say("out of memory; lower --batch-size, or use a smaller --model")
        return 1
    kept = _keep_traceback(error, run)
    _say(f"internal error: {type(error).__name__} at {_place(error)}; this is a defect, nothing was released{kept}")
    return 1


def _say(sentence: str) -> None:
    sys.stderr.write(f"error: {sentence.strip()}\n")
    sys.stderr.flush()


def _one_line(text: str) -> str:
    return " ".join(text.split()).rstrip(".")


def _path(name: object) -> str:
    return os.fsdecode(name) if isinstance(name, str | bytes) else str(name)


def _place(error: BaseException) -> str:
    """File and line of the innermost frame that is ours, relative to the package."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in reversed(frames):
        file = Path(frame.filename).resolve()
        if any(file.is_relative_to(_ROOT / package) for package in _PACKAGES):
            return f"{file.relative_to(_ROOT).as_posix()}:{frame.lineno}"
    return Path(frames[-1].filename).name if frames else "an unknown place"


def _keep_traceback(error: BaseException, run: Path | None) -> str:
    """Write the traceback (no local variables) where only its owner can read it; say where."""
    folder = _private_folder(run)
    if folder is None:
        return ""
    file = folder / "traceback.txt"
    try:
        file.unlink(missing_ok=True)
        descriptor = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.writelines(traceback.format_exception(error))
    except OSError:
        return ""
    return f". Traceback, which may hold record text: {file}"


def _private_folder(run: Path | None) -> Path | None:
    """`private` of the run that was named, else of the newest run that this very process began."""
    if run is not None:
        return run / "private" if (run / "private").is_dir() else None
    for manifest in sorted(Path("runs").glob("*/run.json"), reverse=True)[:20]:
        try:
            if json.loads(manifest.read_bytes())["process"] == os.getpid() and (manifest.parent / "private").is_dir():
                return manifest.parent / "private"
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return None
