"""Releases, durably written under RUN/private before anybody sees them, so that a resumed run reads and never re-draws.

A release that is here was drawn once, and is what the run goes on with. One that is not here was seen by nobody, so it
may be drawn under the reservation that was made for it. With each release lies a digest of what was asked: a resumed
recipe that asks for something else gets nothing.

It does not know mechanisms, noise, budgets or records.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from privdistill.atomic import write_atomically
from privdistill.errors import RunError
from privdistill.mechanisms.release import MechanismRecord, Release

__all__ = ["Kept", "digest"]


class Kept:
    """The releases of one run, by plan name."""

    def __init__(self, folder: Path) -> None:
        """Keep releases in `folder`, which exists."""
        self._folder = folder

    def keep(self, name: str, asked: object, release: Release) -> None:
        """Write a release, complete or not at all."""
        from safetensors.numpy import save

        said = {
            "asked": digest(asked),
            "blocks": json.dumps(list(release.payload)),
            "noise": json.dumps(dict(release.noise)),
            "record": json.dumps(dataclasses.asdict(release.record)),
            "classes": json.dumps(release.classes),
        }
        blocks = {block: np.ascontiguousarray(sums) for block, sums in release.payload.items()}
        write_atomically(self._path(name), save(blocks, metadata=said))

    def find(self, name: str, asked: object) -> Release | None:
        """The release of that name, or None.

        Raises:
            RunError: it is damaged, or something else was asked for when it was drawn.
        """
        from safetensors import SafetensorError, safe_open

        path = self._path(name)
        if not path.exists():
            return None
        try:
            with safe_open(path, framework="np") as file:
                said = file.metadata()
                payload = {block: file.get_tensor(block) for block in json.loads(said["blocks"])}
            record = MechanismRecord(**json.loads(said["record"]))
            noise, classes = json.loads(said["noise"]), tuple(json.loads(said["classes"]))
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            raise RunError(f"{path} is damaged; what it held stays charged, start a new run") from None
        if said["asked"] != digest(asked):
            raise RunError(
                f"the resumed run asks for another {name!r} than it did before (a library or the number of threads may "
                "have changed); resume it as it was begun, or start a new run"
            )
        return Release(payload, noise, record, classes)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.release"


def digest(asked: object) -> str:
    """One value of a declarative request: of its types, names, numbers and arrays, bit by bit."""
    into = hashlib.sha256()
    for part in _parts(asked):
        into.update(len(part).to_bytes(8, "big") + part)
    return into.hexdigest()


def _parts(asked: object) -> list[bytes]:
    if isinstance(asked, np.ndarray):
        return [f"{asked.dtype} {asked.shape}".encode(), np.ascontiguousarray(asked).tobytes()]
    if dataclasses.is_dataclass(asked):
        named: list[tuple[object, object]] = [(one.name, getattr(asked, one.name)) for one in dataclasses.fields(asked)]
        return [type(asked).__name__.encode(), *_all(named)]
    if isinstance(asked, Mapping):
        return [b"mapping", *_all(sorted(asked.items()))]
    if isinstance(asked, tuple | list):
        return [f"sequence of {len(asked)}".encode(), *(part for one in asked for part in _parts(one))]
    if asked is None or isinstance(asked, str | int | float):
        return [repr(asked).encode()]
    raise RunError(f"a request holds a {type(asked).__name__}, which is no declarative value; report this plug-in")


def _all(pairs: list[tuple[object, object]]) -> list[bytes]:
    return [part for pair in pairs for part in _parts(pair)]
