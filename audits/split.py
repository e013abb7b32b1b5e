"""Who drew the sides: verify a committed split key, or say that the holdout is an outsider's.

A generator that keeps a split key commits to it in the claim. Given the key, every side is recomputed from the unit's
own content or id; only if all of them agree is the split `own`, that is, independent Bernoulli draws made before
anything was generated. The derivation is written here from the contract, not taken from the generator. It computes no
statistic.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from audits.errors import BadInputError
from audits.findings import Claim
from audits.inputs.units import Source

__all__ = ["SplitEvidence", "committed", "read_split_key", "sides_hmac", "verify_split"]

_COMMIT = b"privdistill/split-key/v1\0"
_SIDE = b"privdistill/side/v1\0"
_SIDES = b"privdistill/sides/v1\0"


@dataclass(frozen=True, slots=True)
class SplitEvidence:
    """Kind of split, and what is known about it.

    Attributes:
        kind: `own` (verified), `external` (a holdout was given) or `none`.
        key_given: a split key was given.
        problem: why a given key does not verify; empty otherwise.
        broken: the problem is a contradiction, not something missing.
        holdout: probability of the holdout side, for `own`.
    """

    kind: Literal["own", "external", "none"]
    key_given: bool = False
    problem: str = ""
    broken: bool = False
    holdout: float | None = None


def read_split_key(path: Path) -> bytes:
    """Read a split key: 64 hexadecimal digits."""
    try:
        text = path.read_text(encoding="ascii", errors="strict")[:200].strip()
    except (OSError, UnicodeDecodeError):
        raise BadInputError(f"cannot read the split key {path.name}") from None
    if not re.fullmatch(r"[0-9a-fA-F]{64}", text):
        raise BadInputError(f"the split key {path.name} is not 64 hexadecimal digits")
    return bytes.fromhex(text)


def committed(key: bytes, claim: Claim) -> bool:
    """Return whether the claim commits to this key."""
    found = hashlib.sha256(_COMMIT + key).hexdigest()
    return claim.split_commitment is not None and hmac.compare_digest(found, claim.split_commitment.lower())


def on_holdout(key: bytes, name: bytes, holdout: float) -> bool:
    """Return the side that the key gives to a unit.

    >>> on_holdout(bytes(32), b"unit", 1.0), on_holdout(bytes(32), b"unit", 0.0)
    (True, False)
    """
    draw = int.from_bytes(hmac.new(key, _SIDE + name, hashlib.sha256).digest()[:8], "big") / 2**64
    return draw < holdout


def sides_hmac(key: bytes, train_sha256: str, holdout_sha256: str) -> str:
    """Tie a report to the two files that were examined; without the key it says nothing about them."""
    return hmac.new(key, _SIDES + bytes.fromhex(train_sha256 + holdout_sha256), hashlib.sha256).hexdigest()


def verify_split(source: Source, claim: Claim | None, key: bytes | None) -> SplitEvidence:
    """Decide what kind of split is examined."""
    kind: Literal["external", "none"] = "none" if bool(source.train.all()) else "external"
    if key is None:
        return SplitEvidence(kind)
    if claim is None:
        return SplitEvidence(kind, True, "no readable claim commits to the key")
    if not committed(key, claim):
        return SplitEvidence(kind, True, "the claim commits to another key, or to none", broken=True)
    if claim.holdout is None:
        return SplitEvidence(kind, True, "the claim states no holdout probability")
    if (claim.privacy_unit == "record") != (source.unit == "record"):
        return SplitEvidence(kind, True, "the claim's privacy unit is not the unit of this audit; give --unit-column")
    wrong = sum(
        on_holdout(key, name, claim.holdout) == bool(side)
        for name, side in zip(source.names, source.train, strict=True)
    )
    if wrong:
        problem = f"{wrong} of {source.units} units stand on the other side than the key says"
        return SplitEvidence(kind, True, problem, broken=True)
    if kind == "none":
        return SplitEvidence(kind, True, "there is no holdout")
    return SplitEvidence("own", True, holdout=claim.holdout)
