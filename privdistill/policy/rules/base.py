"""What every rule has in common: id, level, reason, and a three-valued outcome.

A rule is a frozen model (its fields are the policy file) with one pure method, `check`. `Outcome` is satisfied,
violated, or not-run: an input that is absent, skipped, errored or not a finite number was not measured, and that is
never a pass. It does not know how outcomes add up to a verdict.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from privdistill.policy.facts import Facts

__all__ = [
    "CheckId",
    "Evidence",
    "Level",
    "Number",
    "Outcome",
    "Rule",
    "Signed",
    "Status",
    "Whole",
    "not_run",
    "satisfied",
    "violated",
    "within",
]

Level = Literal["hard", "soft", "advisory"]
Status = Literal["satisfied", "violated", "not-run"]
Evidence = Literal["claim", "audit", "ledger", "digests"]


def _no_boolean(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("expected a number, found true or false")
    return value


Number = Annotated[float, BeforeValidator(_no_boolean), Field(ge=0.0)]
"""Lax on purpose: some writers of YAML make `1e-5` a string. Infinity, NaN and booleans are refused."""
Signed = Annotated[float, BeforeValidator(_no_boolean)]
Whole = Annotated[int, BeforeValidator(_no_boolean), Field(ge=0)]
CheckId = Annotated[str, Field(pattern=r"^[A-Z]{2,8}[0-9]{3,4}$")]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one rule found.

    Attributes:
        status: satisfied, violated, or not-run.
        finding: half a sentence on what was found; no record text.
        value: the number that was compared, if one was.
        limit: the number it was compared with.
    """

    status: Status
    finding: str
    value: float | None = None
    limit: float | None = None


def not_run(finding: str, limit: float | None = None) -> Outcome:
    """The rule could not be evaluated."""
    return Outcome("not-run", finding, None, limit)


def satisfied(finding: str, value: float | None = None, limit: float | None = None) -> Outcome:
    """The rule holds."""
    return Outcome("satisfied", finding, value, limit)


def violated(finding: str, value: float | None = None, limit: float | None = None) -> Outcome:
    """The rule was evaluated and does not hold."""
    return Outcome("violated", finding, value, limit)


def within(value: float, limit: float, finding: str) -> Outcome:
    """Satisfied exactly if value <= limit."""
    return Outcome("satisfied" if value <= limit else "violated", finding, value, limit)


class Rule(BaseModel):
    """One rule of a policy. A subclass adds `kind`, its parameters, `evidence`, `requirement` and `check`.

    Attributes:
        id: stable name inside the policy.
        level: `hard` can never be waived, `soft` may be for one candidate, `advisory` is printed and decides nothing.
        why: the reason, for the person who reviews or is refused. Required: a limit without a reason cannot be
        discussed.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, validate_default=True
    )

    evidence: ClassVar[frozenset[Evidence]] = frozenset()

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    level: Level
    why: Annotated[str, Field(min_length=1, max_length=2000)]

    @property
    def requirement(self) -> str:
        """What the rule asks, as half a sentence made from the policy alone; public."""
        raise NotImplementedError

    def check(self, facts: Facts) -> Outcome:
        """Compare facts with the rule. Pure."""
        raise NotImplementedError
