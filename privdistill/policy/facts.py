"""What a decision is made from: the claim, the audit, the ledger's view of the source, and the digests that tie them.

Everything here is data that somebody else has read; an input that could not be had is None and later fails closed. It
does not know where the files are, nor what a policy asks.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict

from audits.findings import AuditReport, Claim, Mechanism

__all__ = ["Digests", "Facts", "LedgerFacts", "finite"]


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """What the ledger says of this run and its source.

    Attributes:
        source_id: random id of the source whose rows these are.
        unit: privacy unit that the source is kept in (`record` or a column).
        run_charges: the mechanisms recorded as drawn under this run; compared with the claim's, field by field.
        claim_sha256: of the claim that was made when the run was committed; None when the ledger knows of none.
        cumulative_epsilon: of everything charged to the source, this run included, at `cumulative_delta`'s composition
            part; None when it could not be composed.
        cumulative_delta: sum of the deltas of all runs on the source; None when unknown.
        attempts: runs that reserved a charge on the source, this run included.
        reviewed_attempts: how many of them a person has looked at and signed off.
        unprotected: runs without any guarantee (kind `none`) among them.
    """

    source_id: str
    unit: str
    run_charges: tuple[Mechanism, ...]
    claim_sha256: str | None
    cumulative_epsilon: float | None
    cumulative_delta: float | None
    attempts: int
    reviewed_attempts: int = 0
    unprotected: int = 0


@dataclass(frozen=True, slots=True)
class Digests:
    """sha256 (hexadecimal) of the bytes that were read; None for a file that was not there.

    Attributes:
        data: candidate/data.parquet, measured on the file itself, never copied from the claim.
        claim: claim.json.
        audit: audit.json.
        policy: the policy file.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    data: str | None
    claim: str | None
    audit: str | None
    policy: str


@dataclass(frozen=True, slots=True)
class Facts:
    """All inputs of one decision."""

    claim: Claim | None
    audit: AuditReport | None
    ledger: LedgerFacts | None
    digests: Digests


def finite(value: float | None) -> float | None:
    """The value if it is a finite number, else None: NaN and infinity count as not measured.

    Example:
        >>> finite(0.5), finite(float("nan")), finite(None)
        (0.5, None, None)
    """
    return value if value is not None and math.isfinite(value) else None
