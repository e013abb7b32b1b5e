"""A fence that a process puts around itself, before it runs code of a guest: files by Landlock, sockets by seccomp.

With the file fence up, nothing outside the given places can be opened, listed, written or run, and no process outside
can be traced, so neither its memory nor its environment be read. What Landlock does not hold back: asking whether a
path exists and how large it is (`stat`), and, before its ABI 3, cutting off a file that one may write anyway. With the
socket fence up, no socket can be made: no network, no local service. Both hold for every thread and program that is
started later, and neither can be taken down again. They are tried out before they are reported.

It uses nothing but the standard library, so that no thread runs before it stands. It does not know why a place is
given.
"""

import contextlib
import ctypes
import os
import platform
import socket
import sys
from collections.abc import Iterable
from pathlib import Path

__all__ = ["die_with_parent", "fence_files", "fence_sockets", "hide_memory"]

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture that Python runs on
_VERSION_FLAG, _PATH_BENEATH = 1, 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_FILE_RIGHTS = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
_TCP, _OUTSIDE = 0b11, 0b11  # binding and connecting; abstract sockets of, and signals to, whoever is outside
_SET_PDEATHSIG, _GET_DUMPABLE, _SET_DUMPABLE, _SET_SECCOMP, _SET_NO_NEW_PRIVS = 1, 3, 4, 22, 38
_FILTER_MODE, _SIGKILL = 2, 9
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | 1, 0x80000000  # the second: errno EPERM
_MACHINES = {"x86_64": (0xC000003E, 41), "aarch64": (0xC00000B7, 198)}
"""Machine -> its audit number, and that of the call `socket`."""
_IO_URING_SETUP, _X32 = 425, 0x40000000


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


class _Instruction(ctypes.Structure):
    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_uint16), ("instructions", ctypes.POINTER(_Instruction)))


def fence_files(readable: Iterable[str], devices: Iterable[str], writable: Iterable[str], probe: str) -> bool:
    """Open nothing but these from now on; `probe`, a file outside of them, must then be refused.

    Args:
        readable: folders and files to read and run; those that are not there are passed over.
        devices: the same, to read and write.
        writable: folders to do anything in.
        probe: a file that can be read until now.

    Returns:
        Whether the fence stands.
    """
    if not _is_alone():
        return False
    abi = _call(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    if abi < 1 or _prctl(_SET_NO_NEW_PRIVS, 1) != 0:
        return False
    everything = (1 << (13 + (abi >= 2) + (abi >= 3))) - 1
    rules = _Ruleset(everything, _TCP if abi >= 4 else 0, _OUTSIDE if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = _call(_CREATE_RULESET, ctypes.byref(rules), size, 0)
    if ruleset < 0:
        return False
    try:
        wanted = [(path, _EXECUTE | _READ_FILE | _READ_DIR) for path in readable]
        wanted += [(path, _WRITE_FILE | _READ_FILE | _READ_DIR) for path in devices]
        wanted += [(path, everything) for path in writable]
        for path, rights in wanted:
            with contextlib.suppress(OSError):
                _allow(ruleset, path, rights & everything)
        stands = _call(_RESTRICT_SELF, ruleset, 0) == 0
    finally:
        os.close(ruleset)
    return stands and _is_refused(probe)


def fence_sockets() -> bool:
    """Make no socket from now on; returns whether the fence stands."""
    known = _MACHINES.get(platform.machine()) if _is_alone() else None
    if known is None or _prctl(_SET_NO_NEW_PRIVS, 1) != 0:
        return False
    machine, call = known
    lines = (
        (_LOAD, 0, 0, 4),  # the machine: another calling convention has other numbers
        (_EQUAL, 1, 0, machine),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # the number of the call
        (_AT_LEAST, 3, 0, _X32),
        (_EQUAL, 2, 0, call),
        (_EQUAL, 1, 0, _IO_URING_SETUP),  # a ring makes sockets without the call
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    )
    program = _Program(len(lines), (_Instruction * len(lines))(*(_Instruction(*line) for line in lines)))
    if _prctl(_SET_SECCOMP, _FILTER_MODE, ctypes.addressof(program)) != 0:
        return False
    try:
        socket.socket(socket.AF_UNIX).close()
    except PermissionError:
        return True
    return False


def die_with_parent(parent: int) -> None:
    """Be killed when the thread that started this process ends; end now if it has already."""
    if sys.platform.startswith("linux"):
        _prctl(_SET_PDEATHSIG, _SIGKILL)
    if os.getppid() != parent:
        raise SystemExit(1)


def hide_memory(hidden: bool) -> bool:
    """Whether other processes of the same user may not trace this one, nor read its memory, files and environment.

    Root may all the same, unless it stands behind a file fence. While memory is hidden there are no core dumps.

    Returns:
        Whether it was hidden before.
    """
    if not sys.platform.startswith("linux"):
        return False
    before = _prctl(_GET_DUMPABLE, 0)
    _prctl(_SET_DUMPABLE, 0 if hidden else 1)
    return before == 0


def _is_alone() -> bool:
    """Whether this is Linux and no other thread runs: a fence would hold for this thread only."""
    try:
        return sys.platform.startswith("linux") and len(os.listdir("/proc/self/task")) == 1
    except OSError:
        return False


def _allow(ruleset: int, path: str, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        beneath = _Beneath(rights if Path(path).is_dir() else rights & _FILE_RIGHTS, place)
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(beneath), 0)
    finally:
        os.close(place)


def _is_refused(probe: str) -> bool:
    try:
        os.close(os.open(probe, os.O_RDONLY))
    except PermissionError:
        return True
    except OSError:
        return False
    return False


def _call(number: int, *arguments: object) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(ctypes.c_long(number), *arguments))


def _prctl(option: int, value: int, more: int = 0) -> int:
    long = ctypes.c_ulong
    return int(ctypes.CDLL(None, use_errno=True).prctl(option, long(value), long(more), long(0), long(0)))
