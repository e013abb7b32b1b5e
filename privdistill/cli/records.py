"""What is recorded about a run or a bundle, read back into its types.

Reads only the named files of the two layouts, never `private/`, and computes nothing. It does not know how a record is
rendered.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from audits.findings import AuditReport, Claim
from privdistill.errors import RunError
from privdistill.policy.decision import Decision
from privdistill.runs import RunDirectory

__all__ = ["Records", "read_records"]

_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Records:
    """Claim, decision and audit; the last two may not exist yet, and a bundle holds no numbers of the audit."""

    claim: Claim
    decision: Decision | None
    audit: AuditReport | None
    is_bundle: bool

    def as_dict(self) -> dict[str, Any]:
        """One JSON document."""
        found = {"claim": self.claim, "decision": self.decision, "audit": self.audit}
        return {name: model.model_dump(mode="json", by_alias=True) if model else None for name, model in found.items()}


def read_records(target: Path) -> Records:
    """Read the records of a run or a bundle.

    Raises:
        RunError: it is neither, or a record does not follow its schema.
    """
    if (target / "SHA256SUMS").is_file():
        claim, decision = _read(target / "claim.json", Claim), _read(target / "decision.json", Decision)
        audit = None
    else:
        run = RunDirectory.open(target)
        claim, decision, audit = _read(run.claim, Claim), _read(run.decision, Decision), _read(run.audit, AuditReport)
    if claim is None:
        raise RunError(f"{target} holds no claim.json; name a directory made by generate or release")
    return Records(claim, decision, audit, (target / "SHA256SUMS").is_file())


def _read(file: Path, kind: type[_Model]) -> _Model | None:
    try:
        return kind.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise RunError(f"{file} does not follow its schema; it was edited or written by another version") from None
