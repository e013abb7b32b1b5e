"""Keyed functions of one unit: its side, and which of its records count.

Side and contribution subset depend on a secret key and on this unit's own id or content alone, so adding or removing
another unit changes nothing, exact copies share a side, and both stay the same across runs of a source. It does not
know files, labels or mechanisms.
"""

import hashlib
import hmac
import unicodedata
from collections.abc import Sequence

__all__ = ["commitment", "is_holdout", "kept_records", "normalise", "sides_hmac"]

_SIDE = b"privdistill/side/v1\0"
_KEEP = b"privdistill/keep/v1\0"
_COMMIT = b"privdistill/split-key/v1\0"
_FILES = b"privdistill/sides/v1\0"


def normalise(text: str) -> str:
    """NFC with runs of white space folded: what decides whether two records are copies."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def is_holdout(key: bytes, unit: str, share: float) -> bool:
    """Whether a unit (its id, or a record's normalised text) is on the holdout side."""
    return _uniform(key, _SIDE + unit.encode()) < share


def kept_records(key: bytes, unit: str, texts: Sequence[str], labels: Sequence[str], bound: int) -> list[int]:
    """Indices of at most `bound` records of one unit, chosen by keyed hash of the record, in file order."""
    seen: dict[bytes, int] = {}
    ranks = []
    for index, (text, label) in enumerate(zip(texts, labels, strict=True)):
        content = b"\0".join((unit.encode(), normalise(text).encode(), label.encode()))
        copy = seen[content] = seen.get(content, -1) + 1  # copies inside one unit are told apart by their number
        ranks.append((_uniform(key, _KEEP + content + b"\0" + str(copy).encode()), index))
    return sorted(index for _, index in sorted(ranks)[:bound])


def commitment(key: bytes) -> str:
    """Public commitment to the split key, fixed before anything is generated."""
    return hashlib.sha256(_COMMIT + key).hexdigest()


def sides_hmac(key: bytes, train: bytes, holdout: bytes) -> str:
    """Which private files the examiner has to be shown: a keyed digest of both, kept beside them, never published."""
    digests = hashlib.sha256(train).digest() + hashlib.sha256(holdout).digest()
    return hmac.new(key, _FILES + digests, hashlib.sha256).hexdigest()


def _uniform(key: bytes, message: bytes) -> float:
    return float(int.from_bytes(hmac.new(key, message, hashlib.sha256).digest()[:8], "big") / 2**64)
