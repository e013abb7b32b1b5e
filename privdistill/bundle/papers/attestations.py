"""What was decided, as in-toto statements that supply-chain tools read: one JSON object a line, unsigned.

    audit_statement(...)       predicate test-result v0.1: which checks passed
    decision_statement(...)    predicate svr v0.1: which rules hold, under which policy

Both name rows and claim by sha256. The signature of a bundle, if there is one, is over SHA256SUMS, which covers them.
It does not know the audit's numbers.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from privdistill.bundle import layout
from privdistill.bundle.papers.audit_view import AuditView
from privdistill.policy.decision import Decision

__all__ = ["Statement", "audit_statement", "decision_statement"]

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )


class _Digest(_Frozen):
    sha256: Sha256


class Resource(_Frozen):
    """A thing that a statement is about, or that it refers to."""

    name: str
    digest: _Digest | None = None
    uri: str | None = None


class TestResult(_Frozen):
    """Predicate https://in-toto.io/attestation/test-result/v0.1."""

    result: Literal["PASSED", "WARNED", "FAILED"]
    configuration: tuple[Resource, ...]
    passed_tests: Annotated[tuple[str, ...], Field(alias="passedTests")]
    warned_tests: Annotated[tuple[str, ...], Field(alias="warnedTests")]
    failed_tests: Annotated[tuple[str, ...], Field(alias="failedTests")]


class Verifier(_Frozen):
    """Who verified; `policy` is an extension that the predicate allows."""

    id: str
    policy: Resource


class VerificationResult(_Frozen):
    """Predicate https://in-toto.io/attestation/svr/v0.1."""

    verifier: Verifier
    time_created: Annotated[str, Field(alias="timeCreated")]
    properties: tuple[str, ...]


class Statement(_Frozen):
    """An in-toto statement v1 of one of the two predicates."""

    type_: Annotated[Literal["https://in-toto.io/Statement/v1"], Field(alias="_type")] = (
        "https://in-toto.io/Statement/v1"
    )
    subject: Annotated[tuple[Resource, ...], Field(min_length=1)]
    predicate_type: Annotated[
        Literal["https://in-toto.io/attestation/test-result/v0.1", "https://in-toto.io/attestation/svr/v0.1"],
        Field(alias="predicateType"),
    ]
    predicate: TestResult | VerificationResult

    def to_line(self) -> str:
        """One line of ASCII JSON."""
        document: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        return json.dumps(document, allow_nan=False, separators=(",", ":")) + "\n"


def _subject(data_sha256: str, claim_sha256: str) -> tuple[Resource, ...]:
    pairs = ((layout.DATA, data_sha256), (layout.CLAIM, claim_sha256))
    return tuple(Resource(name=name, digest=_Digest(sha256=sha256)) for name, sha256 in pairs)


def audit_statement(audit: AuditView, data_sha256: str, claim_sha256: str) -> Statement:
    """State the outcomes of the checks. A required check that was not run counts as failed, another as warned."""
    outcomes = {check.id: check.outcome for check in audit.checks}
    required = set(audit.required)
    passed = tuple(id_ for id_, outcome in outcomes.items() if outcome == "satisfied")
    warned = tuple(id_ for id_, outcome in outcomes.items() if outcome == "not-run" and id_ not in required)
    failed = tuple(id_ for id_ in (*outcomes, *sorted(required - set(outcomes))) if id_ not in (*passed, *warned))
    return Statement(
        subject=_subject(data_sha256, claim_sha256),
        predicate_type="https://in-toto.io/attestation/test-result/v0.1",
        predicate=TestResult(
            result="FAILED" if failed or not passed else "WARNED" if warned else "PASSED",
            configuration=(Resource(name="audits", uri=f"pkg:pypi/privdistill@{audit.examiner_version}"),),
            passed_tests=passed,
            warned_tests=warned,
            failed_tests=failed,
        ),
    )


def decision_statement(decision: Decision, data_sha256: str, claim_sha256: str) -> Statement:
    """State which rules hold; a rule that was waived is not among them, but named as waived."""
    held = [_property("RULE", result.id) for result in decision.rules if result.status == "satisfied"]
    waived = [_property("WAIVED", id_) for id_ in decision.waived]
    verdict = [f"PRIVDISTILL_VERDICT_{decision.verdict.upper()}"]
    policy = Resource(name=layout.POLICY, digest=_Digest(sha256=decision.policy.sha256))
    return Statement(
        subject=_subject(data_sha256, claim_sha256),
        predicate_type="https://in-toto.io/attestation/svr/v0.1",
        predicate=VerificationResult(
            verifier=Verifier(id=f"pkg:pypi/privdistill@{decision.tool_version}", policy=policy),
            time_created=decision.decided_at.replace("+00:00", "Z"),
            properties=(*verdict, *held, *waived),
        ),
    )


def _property(kind: str, id_: str) -> str:
    return f"PRIVDISTILL_{kind}_{id_.upper().replace('-', '_')}"
