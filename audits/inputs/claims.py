"""Read claim.json, strictly. What does not fit the schema is reported by place, never by value.

It does not judge the claim; `audits.accounting` and the claim checks do.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from audits.errors import BadInputError
from audits.findings import Claim

__all__ = ["ReadClaim", "read_claim"]

_MAX_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class ReadClaim:
    """A claim file: the claim, or the places where it breaks the schema."""

    sha256: str
    claim: Claim | None
    problems: tuple[str, ...]


def read_claim(path: Path) -> ReadClaim:
    """Read a claim file.

    Raises:
        BadInputError: the file is absent, too large or not JSON at all.
    """
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise BadInputError(f"the claim {path.name} is too large to be a claim")
        data = path.read_bytes()
    except OSError as error:
        raise BadInputError(f"cannot read the claim {path.name}: {error.strerror or type(error).__name__}") from None
    try:
        claim = Claim.model_validate_json(data)
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        if any(detail["type"] == "json_invalid" for detail in details):
            raise BadInputError(f"the claim {path.name} is not JSON") from None
        problems = tuple(f"{'.'.join(map(str, detail['loc'])) or 'claim'}: {detail['type']}" for detail in details)
        return ReadClaim(hashlib.sha256(data).hexdigest(), None, problems)
    return ReadClaim(hashlib.sha256(data).hexdigest(), claim, ())
