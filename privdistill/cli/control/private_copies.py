"""Whether a file is, byte for byte, a private one that lies here: a corpus, or a file of a run that never leaves.

Known are the corpus that privdistill.yaml names, and of every run in `runs/`, here or beside that file, its corpus,
`private/` and `audit/`. An excerpt, or the same records written otherwise, is not recognised. It shows no content.
"""

import filecmp
import json
from collections.abc import Iterator
from pathlib import Path

__all__ = ["PrivateCopies"]


class PrivateCopies:
    """The private files that are known here, by size, so that nothing is read that cannot be a copy."""

    def __init__(self) -> None:
        self._by_size: dict[int, list[tuple[Path, str]]] = {}
        for path, what in _known():
            try:
                if path.is_file() and path.stat().st_size:
                    self._by_size.setdefault(path.stat().st_size, []).append((path, what))
            except OSError:
                continue  # what may not be read here cannot have been copied from here

    def reason(self, file: Path) -> str | None:
        """What the file is a copy of, or None."""
        for path, what in self._by_size.get(file.stat().st_size, ()):
            try:
                if file.samefile(path) or filecmp.cmp(file, path, shallow=False):
                    return what
            except OSError:
                continue
        return None


def _known() -> Iterator[tuple[Path, str]]:
    config = _config()
    if config is not None:
        yield from _corpus(config.parent, _yaml(config), "the private corpus that privdistill.yaml names")
    places = {Path("runs").resolve(), *([config.resolve().parent / "runs"] if config is not None else [])}
    for run in sorted(run for place in places for run in place.glob("*") if (run / "run.json").is_file()):
        for part in ("private", "audit"):
            for path in sorted((run / part).rglob("*")):
                yield path, f"a file of run {run.name} that never leaves ({path.relative_to(run)})"
        yield from _corpus(Path(), _json(run / "run.json"), f"the private corpus of run {run.name}")


def _corpus(base: Path, document: object, what: str) -> Iterator[tuple[Path, str]]:
    source = document.get("source") if isinstance(document, dict) else None
    path = source.get("path") if isinstance(source, dict) else None
    if isinstance(path, str):
        yield base / path, what


def _config() -> Path | None:
    from privdistill.cli.settings import find_file
    from privdistill.errors import ConfigError

    try:
        return find_file(None)
    except ConfigError:
        return None


def _yaml(file: Path) -> object:
    from privdistill.policy.strict_yaml import YamlError, read_yaml

    try:
        return read_yaml(file.read_text("utf-8"))
    except (OSError, ValueError, YamlError):
        return None


def _json(manifest: Path) -> object:
    try:
        document = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return None
    return document.get("config") if isinstance(document, dict) else None
