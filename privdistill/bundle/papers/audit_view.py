"""audit.json of a bundle: outcomes only, and a salted commitment to the internal report.

An audit is computed on private records and is not differentially private, so its numbers, counts, summaries and worst
cases stay inside. Where the policy says `publish_metrics`, estimates, p-values and power are shown; counts and worst
cases never are. It does not know how a check works.
"""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from audits.findings import AuditReport, Finding, ThreatModel

__all__ = ["AUDIT_VIEW_SCHEMA", "AuditView", "CheckView", "audit_view", "commitment"]

AUDIT_VIEW_SCHEMA = "privdistill.audit-view/v1"
Outcome = Literal["satisfied", "violated", "not-run"]
_OUTCOMES: dict[str, Outcome] = {"pass": "satisfied", "fail": "violated"}


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )


class EstimateView(_Frozen):
    """An estimate without its count."""

    value: float
    low: float
    high: float
    method: str


class PowerView(_Frozen):
    """What a pass would have caught."""

    probability: float
    detectable: float | None
    unit: str


class Metrics(_Frozen):
    """Numbers of one check, published only where the policy permits it."""

    estimates: dict[str, EstimateView]
    corrected_p_value: float | None
    power: PowerView | None


class CheckView(_Frozen):
    """One check."""

    id: str
    name: str
    title: str
    threat_model: ThreatModel
    tier: str
    outcome: Outcome
    metrics: Metrics | None = None


class AuditView(_Frozen):
    """audit.json, public view."""

    schema_: Literal["privdistill.audit-view/v1"] = Field(default="privdistill.audit-view/v1", alias="schema")
    examiner_version: str
    data_sha256: str
    claim_sha256: str | None
    privacy_unit: str
    control: Literal["own", "external", "none"]
    required: tuple[str, ...]
    checks: tuple[CheckView, ...]
    commitment: str
    commitment_method: Literal["sha256(salt || internal audit.json)"] = "sha256(salt || internal audit.json)"

    def to_json(self) -> str:
        """Canonical ASCII text."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2, allow_nan=False) + "\n"


def commitment(salt: bytes, audit: bytes) -> str:
    """Commit to the internal report without making it guessable.

    Raises:
        ValueError: a salt that is too short to hide anything.
    """
    if len(salt) < 16:
        raise ValueError(f"expected a salt of at least 16 bytes, found {len(salt)}; use load_or_create_salt")
    return hashlib.sha256(salt + audit).hexdigest()


def audit_view(audit: AuditReport, committed: str, *, publish_metrics: bool) -> AuditView:
    """The part of an audit that may leave."""
    return AuditView(
        examiner_version=audit.examiner_version,
        data_sha256=audit.inputs.synthetic_sha256,
        claim_sha256=audit.inputs.claim_sha256,
        privacy_unit=audit.inputs.privacy_unit,
        control=audit.inputs.split,
        required=audit.required,
        checks=tuple(_check(finding, publish_metrics) for finding in audit.findings),
        commitment=committed,
    )


def _check(finding: Finding, publish_metrics: bool) -> CheckView:
    return CheckView(
        id=finding.id,
        name=finding.name,
        title=finding.title,
        threat_model=finding.threat_model,
        tier=finding.tier,
        outcome=_OUTCOMES.get(finding.status, "not-run"),
        metrics=_metrics(finding) if publish_metrics else None,
    )


def _metrics(finding: Finding) -> Metrics:
    power = finding.power
    return Metrics(
        estimates={
            name: EstimateView(value=e.value, low=e.low, high=e.high, method=e.method)
            for name, e in finding.estimates.items()
        },
        corrected_p_value=finding.corrected_p_value,
        power=None
        if power is None
        else PowerView(probability=power.probability, detectable=power.detectable, unit=power.unit),
    )
