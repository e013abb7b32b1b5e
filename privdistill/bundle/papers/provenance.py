"""provenance.json: what made the release, by version and digest.

No paths, no names of machines or people, no digest of the corpus. It does not know how packages were installed; their
versions are passed in.
"""

import json
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from audits.findings import Claim, Model

__all__ = ["PROVENANCE_SCHEMA", "Provenance", "provenance"]

PROVENANCE_SCHEMA = "privdistill.provenance/v1"


class Provenance(BaseModel):
    """provenance.json."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )

    schema_: Literal["privdistill.provenance/v1"] = Field(default="privdistill.provenance/v1", alias="schema")
    run_id: str
    created_at: str
    released_by: str
    """Version of privdistill that assembled the bundle."""
    code_version: str
    """Version of privdistill that made the rows."""
    examiner_version: str
    recipe: str
    models: tuple[Model, ...]
    packages: dict[str, str]
    data_sha256: str
    claim_sha256: str
    policy_sha256: str
    audit_commitment: str

    def to_json(self) -> str:
        """Canonical ASCII text."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2, allow_nan=False) + "\n"


def provenance(
    claim: Claim,
    *,
    released_by: str,
    examiner_version: str,
    packages: Mapping[str, str],
    claim_sha256: str,
    policy_sha256: str,
    audit_commitment: str,
) -> Provenance:
    """State what made a release."""
    return Provenance(
        run_id=claim.run_id,
        created_at=claim.created_at,
        released_by=released_by,
        code_version=claim.code_version,
        examiner_version=examiner_version,
        recipe=claim.recipe,
        models=claim.models,
        packages=dict(sorted(packages.items())),
        data_sha256=claim.data_sha256,
        claim_sha256=claim_sha256,
        policy_sha256=policy_sha256,
        audit_commitment=audit_commitment,
    )
