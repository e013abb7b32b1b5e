"""Whether a file is one that must never leave: by where it lies, by what it says it is, and by being a copy.

It reads the beginning of a file and never shows it. It does not know git.
"""

import json
import re
from pathlib import Path

from privdistill.cli.control.private_copies import PrivateCopies

__all__ = ["private_reason"]

_READ = 2**24
_NAMES = {"split.key": "a split key", "audit-salt": "the salt of an audit"}
_SCHEMAS = {
    "run": "the manifest of a run",
    "audit": "an internal audit report, computed on private records",
    "release": "the record of a release",
}
_SCHEMA = re.compile(rb'"schema"\s*:\s*"privdistill\.([a-z-]+)/v\d+"')
_INTERNAL = re.compile(rb'"view"\s*:\s*"internal"')
_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")
_LEDGER = b"noise_multiplier"


def private_reason(file: Path, copies: PrivateCopies) -> str | None:
    """Why a file must not leave, or None. A file that cannot be read is refused: nothing is known of it."""
    place = _place(file)
    if place is not None:
        return place
    if file.name in _NAMES:
        return _NAMES[file.name]
    try:
        with file.open("rb") as stream:
            head = stream.read(_READ)
    except OSError as error:
        return f"cannot be read ({error.strerror}), so it cannot be told"
    return copies.reason(file) or _content(head)


def _place(file: Path) -> str | None:
    """A file in a run directory is private, except in a bundle that lies there."""
    absolute = file.absolute()
    for folder in absolute.parents:
        if (folder / "SHA256SUMS").is_file() and (folder / "claim.json").is_file():
            return None
        if _is_run(folder / "run.json"):
            return "part of a run, which is private as a whole"
    parts = absolute.parts
    if any(part.endswith(".private") for part in parts[:-1]):
        return "in the private folder of a ledger"
    inside = any(a == "runs" and c in ("private", "audit") for a, c in zip(parts, parts[2:], strict=False))
    return "in the private part of a run" if inside else None


def _is_run(manifest: Path) -> bool:
    try:
        document = json.loads(manifest.read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and str(document.get("schema", "")).startswith("privdistill.run/")


def _content(head: bytes) -> str | None:
    if head.startswith(b"SQLite format 3\0") and _LEDGER in head:
        return "a ledger, which holds the secret key of each source"
    if _KEY.search(head):
        return "a private key"
    for match in _SCHEMA.finditer(head):
        schema = match[1].decode()
        if schema in _SCHEMAS:
            return _SCHEMAS[schema]
        if schema == "decision" and _INTERNAL.search(head):
            return "an internal decision; the public view is in the bundle"
    return None
