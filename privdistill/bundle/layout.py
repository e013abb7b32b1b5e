"""What lies where in a bundle, and how the list of checksums is written.

The layout is closed: a file that is not named here does not belong in a bundle. It does not know what the files
contain.
"""

import hashlib
from collections.abc import Mapping

__all__ = [
    "AUDIT",
    "AUDIT_STATEMENT",
    "CARD",
    "CITATION",
    "CLAIM",
    "CROISSANT",
    "DATA",
    "DECISION",
    "DECISION_STATEMENT",
    "FILES",
    "JSONL",
    "LICENSE",
    "POLICY",
    "PRIVACY",
    "PRIVACY_JSON",
    "PROVENANCE",
    "REPORT",
    "SIGNATURE",
    "SUMS",
    "limit_of",
    "sha256",
    "sums_text",
]

CARD = "README.md"
DATA = "data/train-00000-of-00001.parquet"
JSONL = "data/train-00000-of-00001.jsonl"
PRIVACY = "PRIVACY.md"
PRIVACY_JSON = "privacy.json"
CLAIM = "claim.json"
AUDIT = "audit.json"
DECISION = "decision.json"
POLICY = "policy.yaml"
PROVENANCE = "provenance.json"
AUDIT_STATEMENT = "audit.intoto.jsonl"
DECISION_STATEMENT = "decision.intoto.jsonl"
CROISSANT = "croissant.json"
CITATION = "CITATION.cff"
LICENSE = "LICENSE"
REPORT = "report.html"
SUMS = "SHA256SUMS"
SIGNATURE = "SHA256SUMS.sig.json"
"""The only file that a bundle may or may not have."""

_DOCUMENTS = (AUDIT, CLAIM, DECISION, POLICY, PRIVACY_JSON, PROVENANCE)
_FOR_READERS = (CARD, CITATION, CROISSANT, LICENSE, PRIVACY, REPORT, AUDIT_STATEMENT, DECISION_STATEMENT)
FILES = tuple(sorted((DATA, JSONL, SUMS, *_DOCUMENTS, *_FOR_READERS)))
"""Every file of an unsigned bundle, and no other."""

_MAX_ROWS_BYTES = 2**30
_MAX_DOCUMENT_BYTES = 2**24


def limit_of(name: str) -> int:
    """Largest size in bytes at which a file is read at all."""
    return _MAX_ROWS_BYTES if name in (DATA, JSONL) else _MAX_DOCUMENT_BYTES


def sha256(content: bytes) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(content).hexdigest()


def sums_text(files: Mapping[str, bytes]) -> str:
    """SHA256SUMS of everything but itself and its signature, in the format of `sha256sum`, sorted by name."""
    return "".join(f"{sha256(files[name])}  {name}\n" for name in sorted(files) if name not in (SUMS, SIGNATURE))
