"""How much memory this process may use: that of the machine, or less where a container was given less.

A process that takes more than its container has is killed, half-way and after its budget was charged, so what may not
fit is refused by what is there *for it*. It does not know what other programs hold, what is needed, or what for.
"""

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["memory"]

_GROUPS, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def memory() -> int | None:
    """Bytes, or None where the system does not say."""
    try:
        there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return min([there, *_limits()])


def _limits() -> Iterator[int]:
    """What control groups allow: the own one and all that it lies in, of either version (Linux: cgroups(7))."""
    for file in _files():
        try:
            yield int(file.read_text(encoding="ascii"))
        except (OSError, ValueError):  # there is none, or it says `max`
            continue


def _files() -> Iterator[Path]:
    try:
        lines = _OWN.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, name = (_GROUPS / "memory", "memory.limit_in_bytes") if controllers else (_GROUPS, "memory.max")
        group = Path(path.strip("/"))
        if ".." in group.parts:  # outside of what this process sees; its own limit is that of the root
            group = Path()
        for part in (group, *group.parents):
            yield root / part / name
