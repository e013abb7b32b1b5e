"""Waivers: a named person sets one soft rule aside, for one candidate, until a date.

    fingerprint(rule, ..., digests) -> str | None             what a waiver must name; None where none can be granted
    settle(waivers, levels, open_, decided_at) -> tuple[WaiverUse, ...]
    Waivers                                                   the file: privdistill.waivers/v1

A fingerprint binds the rule's result to this policy, these rows, this claim and (for rules on the audit) this audit, so
a waiver is of no use for any other candidate. Hard rules are never waived; an expired waiver, or one for a hard rule,
is not overlooked but turns the answer to no until somebody removes it. It does not know files, clocks or verdicts.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from privdistill.policy.facts import Digests
from privdistill.policy.rules import Evidence, Level, Status

__all__ = ["WAIVERS_SCHEMA", "Waiver", "WaiverUse", "Waivers", "fingerprint", "settle", "still_valid"]

WAIVERS_SCHEMA = "privdistill.waivers/v1"


def _day(value: str) -> str:
    try:
        found = date.fromisoformat(value)
    except ValueError:
        found = None
    if found is None or found.isoformat() != value:
        raise ValueError("expected a day written as 2026-12-31")
    return value


Fingerprint = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Day = Annotated[str, Field(strict=True), AfterValidator(_day)]
RuleId = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )


class Waiver(_Frozen):
    """One waiver. Everything in it is printed with the decision and published with the bundle.

    Attributes:
        rule: id of the rule that is set aside.
        fingerprint: as the gate printed it for this candidate.
        reason: why, in words; at least a few.
        approved_by: who answers for it.
        expires: last day on which it counts (UTC).
    """

    rule: RuleId
    fingerprint: Fingerprint
    reason: Annotated[str, Field(min_length=10, max_length=2000)]
    approved_by: Annotated[str, Field(min_length=2, max_length=200)]
    expires: Day


class Waivers(_Frozen):
    """A file of waivers."""

    schema_: Annotated[Literal["privdistill.waivers/v1"], Field(alias="schema")]
    waivers: tuple[Waiver, ...]


class WaiverUse(_Frozen):
    """What became of one waiver in one decision."""

    rule: RuleId
    fingerprint: Fingerprint | None
    """None in the public view where it was made from the digest of the internal audit."""
    reason: str
    approved_by: str
    expires: Day
    state: Literal["applied", "expired", "refused", "unused"]
    """`refused`: it names a rule that can never be waived. `unused`: it fits no open rule of this candidate."""


def fingerprint(
    id_: str, level: Level, status: Status, requirement: str, evidence: Sequence[Evidence], digests: Digests
) -> str | None:
    """What a waiver for this result must name; None for a satisfied rule, a hard one and an advisory one."""
    if level != "soft" or status == "satisfied":
        return None
    audit = digests.audit if "audit" in evidence else None
    parts = [WAIVERS_SCHEMA, digests.policy, id_, requirement, status, digests.data, digests.claim, audit]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def settle(
    waivers: Sequence[Waiver], levels: dict[str, Level], open_: dict[str, str | None], decided_at: str
) -> tuple[WaiverUse, ...]:
    """Hold waivers against the results of one decision.

    Args:
        waivers: as written.
        levels: level of every rule, by id.
        open_: fingerprint of every rule that is not satisfied, by id.
        decided_at: UTC, ISO 8601.
    """
    return tuple(_use(waiver, levels, open_, decided_at) for waiver in waivers)


def still_valid(expires: str, moment: str) -> bool:
    """Whether a waiver counts at a moment (UTC, ISO 8601); its last day is included."""
    return expires >= moment[:10]


def _use(waiver: Waiver, levels: dict[str, Level], open_: dict[str, str | None], decided_at: str) -> WaiverUse:
    state: Literal["applied", "expired", "refused", "unused"]
    if levels.get(waiver.rule) == "hard":
        state = "refused"
    elif not still_valid(waiver.expires, decided_at):
        state = "expired"
    else:
        state = "applied" if open_.get(waiver.rule) == waiver.fingerprint else "unused"
    return WaiverUse(**waiver.model_dump(), state=state)
