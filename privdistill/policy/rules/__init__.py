"""The closed set of rules. A policy file picks among them; `STANDING` applies always."""

from typing import Annotated

from pydantic import Field

from privdistill.policy.rules.audit import EstimateBound, MinPower, PermittedControls, RequiredChecks
from privdistill.policy.rules.base import Evidence, Level, Outcome, Rule, Status
from privdistill.policy.rules.claim import (
    AccountantsAgree,
    AttackSuccess,
    ClaimMade,
    DeltaBelowSize,
    MaxDelta,
    MaxEpsilon,
    MinRows,
    PermittedAdjacency,
    PermittedModels,
    PermittedNoise,
    PermittedRecipes,
    PermittedUnits,
)
from privdistill.policy.rules.ledger import MaxAttempts, MaxCumulativeEpsilon
from privdistill.policy.rules.standing import STANDING

__all__ = ["STANDING", "AnyRule", "ClaimMade", "Evidence", "Level", "Outcome", "Rule", "Status"]

AnyRule = Annotated[
    AccountantsAgree
    | AttackSuccess
    | ClaimMade
    | DeltaBelowSize
    | EstimateBound
    | MaxAttempts
    | MaxCumulativeEpsilon
    | MaxDelta
    | MaxEpsilon
    | MinPower
    | MinRows
    | PermittedAdjacency
    | PermittedControls
    | PermittedModels
    | PermittedNoise
    | PermittedRecipes
    | PermittedUnits
    | RequiredChecks,
    Field(discriminator="kind"),
]
"""Every kind of rule that a policy file may contain."""
