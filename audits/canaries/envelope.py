"""The sealed envelope: every canary that was issued, the key of its coin, and a commitment to both.

Each canary has a coin of its own, a keyed function of its normalised text: heads (one half) and it goes into the
corpus, tails and it stays out. The envelope holds no coin, only the key, so no coin can be edited. Whoever runs the
generator gets the inserted half and nothing else. It does not know how texts were made or how well they are recognised.
"""

import hashlib
import hmac
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audits.errors import BadInputError
from audits.findings import Claim

__all__ = ["INCLUSION", "Canary", "Envelope", "Opened", "commitment", "is_inserted", "open_envelope", "write_sealed"]

INCLUSION = 0.5
"""Probability that a canary is planted."""
_COIN = b"privdistill/canary/v1\0"
_COMMIT = b"privdistill/canaries/v1\0"
_MAX_BYTES = 64 * 2**20


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )


class Canary(_Frozen):
    """One issued canary."""

    text: Annotated[str, Field(min_length=1)]
    label: str | None = None
    repeats: Annotated[int, Field(ge=1, le=1000)] = 1
    """So many copies are planted if the coin says so; above 1 it is a probe of sensitivity, never part of a bound."""


class Envelope(_Frozen):
    """envelope.json."""

    schema_: Literal["privdistill.canaries/v1"] = Field(default="privdistill.canaries/v1", alias="schema")
    key: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    commitment: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    canaries: Annotated[tuple[Canary, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True, repr=False)
class Opened:
    """An envelope whose seal was examined.

    Attributes:
        texts: normalised text of each canary; all different.
        inserted: whether its coin planted it.
        repeats: copies planted if so.
        problem: why the coins cannot be relied on; empty when they can.
        broken: the problem is a contradiction, not something missing.
    """

    texts: tuple[str, ...]
    inserted: tuple[bool, ...]
    repeats: tuple[int, ...]
    problem: str = ""
    broken: bool = False


def is_inserted(key: bytes, text: str) -> bool:
    """Return the coin of a canary, given its normalised text.

    >>> sum(is_inserted(bytes(32), f"canary {i}") for i in range(1000)) in range(450, 550)
    True
    """
    draw = int.from_bytes(hmac.new(key, _COIN + text.encode(), hashlib.sha256).digest()[:8], "big")
    return draw < INCLUSION * 2**64


def commitment(key: bytes, canaries: Sequence[Canary]) -> str:
    """Return what may be published: it fixes key and canaries and gives neither away."""
    listed = [[canary.text, canary.label, canary.repeats] for canary in canaries]
    content = json.dumps(listed, ensure_ascii=True, separators=(",", ":")).encode()
    return hashlib.sha256(_COMMIT + key + hashlib.sha256(content).digest()).hexdigest()


def open_envelope(path: Path, claim: Claim | None, planted: Sequence[str]) -> Opened:
    """Read an envelope, recompute its coins and hold it against claim and source.

    Args:
        path: envelope.json.
        claim: the claim under examination; if it names canaries, they must be these.
        planted: normalised texts of the source file.

    Raises:
        BadInputError: it cannot be read, or is no envelope.
    """
    from audits.inputs.units import normalise

    envelope = _read(path)
    key = bytes.fromhex(envelope.key)
    texts = tuple(normalise(canary.text) for canary in envelope.canaries)
    if len(set(texts)) != len(texts) or not all(texts):
        raise BadInputError(f"the envelope {path.name} holds a canary twice or an empty one; issue a new one")
    inserted = tuple(is_inserted(key, text) for text in texts)
    problem, broken = "", True
    present = set(planted) & set(texts)
    wrong = sum(text in present and not coin for text, coin in zip(texts, inserted, strict=True))
    missing = sum(text not in present and coin for text, coin in zip(texts, inserted, strict=True))
    if not hmac.compare_digest(commitment(key, envelope.canaries), envelope.commitment):
        problem = "the envelope was changed after it was sealed (its commitment does not match)"
    elif claim is not None and claim.canaries is None:
        problem, broken = "the claim does not say that canaries were planted", False
    elif claim is not None and claim.canaries is not None and claim.canaries.commitment != envelope.commitment:
        problem = "the claim commits to other canaries than these"
    elif wrong:
        problem, broken = f"the source holds {wrong} canaries that their coins left out", False
    elif present and missing:
        problem, broken = f"the source lacks {missing} canaries that their coins put in", False
    repeats = tuple(canary.repeats for canary in envelope.canaries)
    return Opened(texts, inserted, repeats, problem, broken and bool(problem))


def write_sealed(path: Path, content: str) -> None:
    """Write a file that only its owner may read, at once."""
    handle, temporary = tempfile.mkstemp(prefix=".sealed-", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(path: Path) -> Envelope:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInputError(f"the envelope {path.name} is too large to be one")
        return Envelope.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInputError(f"cannot read the envelope {path.name}: {error.strerror or type(error).__name__}") from None
    except ValidationError:
        raise BadInputError(
            f"{path.name} is not an envelope of canaries; `python -m audits canaries` issues one"
        ) from None
