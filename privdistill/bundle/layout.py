"""What lies where in a bundle, and how the list of checksums is written.

The layout is closed: a file that is not named here does not belong in a bundle. It does not know what the files
contain.
"""

import hashlib
from collections.abc import Mapping

__all__ = [
    "AUDIT",
    "CARD",
    "CLAIM",
    "DATA",
    "DECISION",
    "FILES",
    "JSONL",
    "POLICY",
    "PRIVACY",
    "PRIVACY_JSON",
    "PROVENANCE",
    "SUMS",
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
SUMS = "SHA256SUMS"

FILES = tuple(sorted((AUDIT, CARD, CLAIM, DATA, DECISION, JSONL, POLICY, PRIVACY, PRIVACY_JSON, PROVENANCE, SUMS)))
"""Every file of a bundle, and no other."""


def sha256(content: bytes) -> str:
    """Hexadecimal sha256."""
    return hashlib.sha256(content).hexdigest()


def sums_text(files: Mapping[str, bytes]) -> str:
    """SHA256SUMS of everything but itself, in the format of `sha256sum`, sorted by name."""
    return "".join(f"{sha256(files[name])}  {name}\n" for name in sorted(files) if name != SUMS)
