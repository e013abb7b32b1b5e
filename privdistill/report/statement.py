"""privacy.json: the epsilon report of one release, as data, derived from the claim, the decision and the policy.

    privacy_statement(claim, decision, policy) -> PrivacyStatement

Fields follow NIST SP 800-226 and the OpenDP registry of deployments: guarantee, accounting, trust, evidence. It holds
no number from the audit and no exact count. It does not know how it is rendered.
"""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from audits.findings import Accountant, Claim, Declarations, DeltaParts, Mechanism, Model, ProfilePoint
from privdistill.errors import RefusedError
from privdistill.policy.decision import Decision, PolicyId, SourceTotal
from privdistill.policy.model import Policy
from privdistill.policy.tradeoff import attack_success, dp_attack_success, group_bound

__all__ = ["PRIVACY_SCHEMA", "Attack", "Group", "PrivacyStatement", "privacy_statement", "unit_sentence"]

PRIVACY_SCHEMA = "privdistill.privacy/v1"
_FALSE_POSITIVE_RATES = (0.01, 0.001)
_GROUPS = (2, 3, 4, 5)


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )


class Attack(_Frozen):
    """Upper bounds on the true positive rate of any membership attack."""

    false_positive_rate: float
    any_mechanism: float
    """By (epsilon, delta) alone."""
    this_mechanism: float
    """By everything the claim supports: mu or the privacy profile."""


class Group(_Frozen):
    """The guarantee for `size` units together; None where no useful bound follows."""

    size: int
    epsilon: float | None
    delta: float | None


class Guarantee(_Frozen):
    """What is promised, to whom."""

    variant: Literal["approximate differential privacy, central model"] = (
        "approximate differential privacy, central model"
    )
    sentence: str
    epsilon: float
    delta: float
    delta_times_declared_size: float | None
    mu: float | None
    adjacency: str
    privacy_unit: str
    contribution_bound: int | None
    excess_contributions: str
    privacy_profile: tuple[ProfilePoint, ...]
    attacks: tuple[Attack, ...]
    groups: tuple[Group, ...]
    not_protected: tuple[str, ...]


class Accounting(_Frozen):
    """How epsilon came about."""

    mechanisms: tuple[Mechanism, ...]
    delta_parts: DeltaParts
    accountant: Accountant | None
    second_accountant: Accountant | None
    rdp_epsilon: float | None
    source: SourceTotal | None
    tuning: str
    post_processing: str


class Trust(_Frozen):
    """What has to be believed."""

    model: str
    noise_source: str
    models: tuple[Model, ...]
    pretraining: str
    repetition: str


class Evidence(_Frozen):
    """What was checked, by what, under which policy."""

    policy: PolicyId
    reason_for_epsilon: str | None
    decided_at: str
    audit: str


class PrivacyStatement(_Frozen):
    """privacy.json."""

    schema_: Literal["privdistill.privacy/v1"] = Field(default="privdistill.privacy/v1", alias="schema")
    run_id: str
    created_at: str
    code_version: str
    recipe: str
    data_sha256: str
    rows: int
    guarantee: Guarantee
    accounting: Accounting
    trust: Trust
    evidence: Evidence
    declarations: Declarations

    def to_json(self) -> str:
        """Canonical ASCII text of privacy.json."""
        return json.dumps(self.model_dump(mode="json", by_alias=True), indent=2, allow_nan=False) + "\n"


def unit_sentence(claim: Claim) -> str:
    """Who is protected, in words."""
    if claim.privacy_unit == "record":
        return "one record (a person who wrote several is protected for each record, not for all of them together)"
    bound = f", at most {claim.contribution_bound} records each" if claim.contribution_bound is not None else ""
    return f"everything of one value of the column {claim.privacy_unit!r}{bound}"


def privacy_statement(claim: Claim, decision: Decision, policy: Policy) -> PrivacyStatement:
    """State what a release guarantees.

    Raises:
        RefusedError: the claim has no epsilon; there is nothing to state.
    """
    parts = claim.delta_parts
    if claim.epsilon is None or claim.delta is None or parts is None or claim.adjacency is None:
        raise RefusedError(
            "expected a claim with epsilon and delta, found none; rows without a guarantee are not released"
        )
    reason = next((rule.why for rule in policy.rules if rule.kind == "max-epsilon"), None)
    return PrivacyStatement(
        run_id=claim.run_id,
        created_at=claim.created_at,
        code_version=claim.code_version,
        recipe=claim.recipe,
        data_sha256=claim.data_sha256,
        rows=claim.rows,
        guarantee=_guarantee(claim, claim.epsilon, claim.delta),
        accounting=Accounting(
            mechanisms=claim.mechanisms,
            delta_parts=parts,
            accountant=claim.accountant,
            second_accountant=claim.second_accountant,
            rdp_epsilon=claim.rdp_epsilon,
            source=decision.source,
            tuning="Every run that reserved a charge on the source, released or not, is in the total of the source.",
            post_processing="Generation, labelling and selection read noised releases and public models only.",
        ),
        trust=Trust(
            model="central: the holder of the source ran the mechanisms and is trusted with the records",
            noise_source=claim.noise_source,
            models=claim.models,
            pretraining="It is assumed that the public models were not trained on the source.",
            repetition="One release; later releases of the same source add to its total.",
        ),
        evidence=Evidence(
            policy=decision.policy,
            reason_for_epsilon=reason,
            decided_at=decision.decided_at,
            audit="Outcomes are in audit.json; numbers are published only where the policy says so.",
        ),
        declarations=claim.declarations,
    )


def _guarantee(claim: Claim, epsilon: float, delta: float) -> Guarantee:
    size = claim.declarations.size
    groups = [(size_, group_bound(claim, size_)) for size_ in _GROUPS]
    return Guarantee(
        sentence=(
            f"Whether or not any one unit was in the source changes the probability of any outcome by a "
            f"factor of at most e^{epsilon:.4g}, except with probability {delta:.3g}. "
            f"A unit is {unit_sentence(claim)}."
        ),
        epsilon=epsilon,
        delta=delta,
        delta_times_declared_size=None if size is None else delta * size,
        mu=claim.mu,
        adjacency=claim.adjacency or "",
        privacy_unit=claim.privacy_unit,
        contribution_bound=claim.contribution_bound,
        excess_contributions=(
            "not applicable: the unit is the record"
            if claim.privacy_unit == "record"
            else "records of one unit beyond the bound are dropped by a keyed choice that depends on that unit alone"
        ),
        privacy_profile=claim.privacy_profile,
        attacks=tuple(
            Attack(
                false_positive_rate=rate,
                any_mechanism=dp_attack_success(epsilon, delta, rate),
                this_mechanism=attack_success(claim, rate) or 1.0,
            )
            for rate in _FALSE_POSITIVE_RATES
        ),
        groups=tuple(
            Group(size=size_, epsilon=bound[0] if bound else None, delta=bound[1] if bound else None)
            for size_, bound in groups
        ),
        not_protected=claim.not_protected,
    )
