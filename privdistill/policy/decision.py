"""decision.json: the verdict, rule by rule, with digests of everything it was made from.

Two views of one type. The internal view has every number; the public view has no number and no finding that came from
the audit, and names the audit by a salted commitment. It does not know how a rule is checked.
"""

import json
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from privdistill.policy.facts import Digests
from privdistill.policy.rules import Evidence, Level, Status
from privdistill.policy.waivers import WaiverUse

__all__ = ["DECISION_SCHEMA", "Decision", "PolicyId", "RuleResult", "SourceTotal", "Verdict"]

DECISION_SCHEMA = "privdistill.decision/v1"

Verdict = Literal["allow", "deny", "indeterminate"]


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )


class PolicyId(_Frozen):
    """Which policy, to the byte."""

    name: str
    version: str
    sha256: str


class RuleResult(_Frozen):
    """One rule: what it asks (from the policy, public) and what was found."""

    id: str
    kind: str
    level: Level
    status: Status
    requirement: str
    finding: str
    """Redacted in the public view when the evidence includes the audit."""
    value: float | None
    limit: float | None
    evidence: tuple[Evidence, ...]
    fingerprint: str | None = None
    """What a waiver of this result must name; only an open soft rule has one."""

    @property
    def required(self) -> bool:
        """Whether the rule decides anything."""
        return self.level != "advisory"


class SourceTotal(_Frozen):
    """What the source has lost over all its runs: accounting, not measurement, so it may be published."""

    epsilon: float | None
    delta: float | None
    attempts: int


class Decision(_Frozen):
    """decision.json."""

    EXIT_CODES: ClassVar[dict[Verdict, int]] = {"allow": 0, "deny": 10, "indeterminate": 3}

    schema_: Literal["privdistill.decision/v1"] = Field(default="privdistill.decision/v1", alias="schema")
    view: Literal["internal", "public"] = "internal"
    verdict: Verdict
    reason: str
    """One sentence, made of rule ids."""
    policy: PolicyId
    run_id: str | None
    rules: tuple[RuleResult, ...]
    waived: tuple[str, ...] = ()
    """Ids of soft rules set aside by a waiver."""
    waivers: tuple[WaiverUse, ...] = ()
    """Every waiver that was handed in, and what became of it."""
    digests: Digests
    """`audit` is None in the public view; see `audit_commitment`."""
    audit_commitment: str | None = None
    source: SourceTotal | None
    decided_at: str
    """UTC, ISO 8601, given by the caller."""
    tool_version: str

    @property
    def exit_code(self) -> int:
        """0 allow, 10 deny, 3 indeterminate."""
        return self.EXIT_CODES[self.verdict]

    @property
    def warns(self) -> bool:
        """Whether an allowance carries a warning: an advisory rule that does not hold, or a waiver, used or idle."""
        notes = any(not result.required and result.status != "satisfied" for result in self.rules)
        return notes or bool(self.waivers)

    def unmet(self) -> tuple[RuleResult, ...]:
        """Rules that are not satisfied, required ones first, violated before not-run."""
        rank = {"violated": 0, "not-run": 1, "satisfied": 2}
        open_ = [result for result in self.rules if result.status != "satisfied"]
        return tuple(sorted(open_, key=lambda result: (not result.required, rank[result.status])))

    def public(self, *, publish_metrics: bool, audit_commitment: str | None = None) -> "Decision":
        """The view that may leave.

        Args:
            publish_metrics: the policy's permission to show numbers of the audit.
            audit_commitment: salted commitment that takes the place of the audit's digest; None where no bundle holds
                one (a report for a CI system).
        """
        if self.view == "public":
            return self
        rules = tuple(_public(result, publish_metrics) for result in self.rules)
        private = {result.id for result in self.rules if "audit" in result.evidence}
        waivers = tuple(
            use.model_copy(update={"fingerprint": None}) if use.rule in private else use
            for use in self.waivers
            if use.state != "unused"  # it is about another candidate
        )
        digests = Digests(self.digests.data, self.digests.claim, None, self.digests.policy)
        changed = {"view": "public", "rules": rules, "waivers": waivers, "digests": digests}
        return self.model_copy(update={**changed, "audit_commitment": audit_commitment})

    def to_json(self) -> str:
        """Canonical ASCII text of decision.json."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2, allow_nan=False) + "\n"


def _public(result: RuleResult, publish_metrics: bool) -> RuleResult:
    if "audit" not in result.evidence:
        return result
    # A fingerprint made from the digest of the audit would be an unsalted commitment to it.
    hidden: dict[str, object] = {"fingerprint": None}
    if not publish_metrics:
        hidden |= {"finding": "not published: computed on private records", "value": None}
    return result.model_copy(update=hidden)
