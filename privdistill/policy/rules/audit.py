"""Rules on the audit: which checks must have passed, what they would have caught, what effect they leave open.

Numbers are compared through their confidence bounds only; there is no way to write a rule on a point estimate. A
check that is absent, skipped, errored, inconclusive or too weak is not-run. It does not know how a check works.
"""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from audits.findings import AuditReport, Finding
from privdistill.policy.facts import Facts, finite
from privdistill.policy.rules.base import (
    CheckId,
    Evidence,
    Number,
    Outcome,
    Rule,
    Signed,
    not_run,
    satisfied,
    violated,
    within,
)

__all__ = ["EstimateBound", "MinPower", "PermittedControls", "RequiredChecks", "findings_of"]

_AUDIT: frozenset[Evidence] = frozenset({"audit"})
_NO_AUDIT = "there is no audit"
CheckIds = Annotated[tuple[CheckId, ...], Field(min_length=1)]


def findings_of(audit: AuditReport, check: str) -> tuple[Finding, ...]:
    """Every finding with that id."""
    return tuple(finding for finding in audit.findings if finding.id == check)


class RequiredChecks(Rule):
    """Each of these checks ran to the end and passed."""

    kind: Literal["required-checks"]
    checks: CheckIds
    evidence: ClassVar[frozenset[Evidence]] = _AUDIT

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"checks {', '.join(self.checks)} passed"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        if facts.audit is None:
            return not_run(_NO_AUDIT)
        failed, open_ = [], []
        for check in self.checks:
            statuses = [finding.status for finding in findings_of(facts.audit, check)]
            if "fail" in statuses:
                failed.append(check)
            elif not statuses:
                open_.append(f"{check} absent")
            elif set(statuses) != {"pass"}:
                open_.append(f"{check} {next(status for status in statuses if status != 'pass')}")
        if failed:
            return violated(f"{', '.join(failed)} failed")
        return not_run("; ".join(open_)) if open_ else satisfied(f"{len(self.checks)} of {len(self.checks)} passed")


class MinPower(Rule):
    """A pass of these checks must have had the power to mean something: a planted leak of that size would be found."""

    kind: Literal["min-power"]
    checks: CheckIds
    detectable: Annotated[Number, Field(gt=0.0)]
    probability: Annotated[Number, Field(gt=0.0, le=1.0)] = 0.8
    evidence: ClassVar[frozenset[Evidence]] = _AUDIT

    @property
    def requirement(self) -> str:  # noqa: D102
        names = ", ".join(self.checks)
        return f"{names} would have found a leak of {self.detectable:g} with probability {self.probability:g}"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        if facts.audit is None:
            return not_run(_NO_AUDIT, self.detectable)
        worst = 0.0
        for check in self.checks:
            findings = findings_of(facts.audit, check)
            if not findings:
                return not_run(f"{check} absent", self.detectable)
            for finding in findings:
                power = finding.power
                detectable = finite(power.detectable) if power else None
                if power is None or detectable is None:
                    return not_run(f"{check} states no power: even a total leak may be missed", self.detectable)
                if not power.probability >= self.probability:
                    return not_run(
                        f"{check} states its power at probability {power.probability:g} only", self.detectable
                    )
                if detectable > self.detectable:
                    return not_run(
                        f"{check} is too weak: it would find {detectable:.3g} ({power.unit})", self.detectable
                    )
                worst = max(worst, detectable)
        return satisfied(f"the weakest would find {worst:.3g}", worst, self.detectable)


class EstimateBound(Rule):
    """A confidence bound of one estimate: `at_most` looks at its upper bound, `at_least` and `not_above` at its lower.

    `at_most` asks that a large effect is ruled out; `not_above` that the effect is not shown to exceed the limit,
    whatever a test that is corrected for many checks says of it.
    """

    kind: Literal["estimate-bound"]
    check_id: CheckId
    estimate: Annotated[str, Field(min_length=1)]
    at_most: Signed | None = None
    at_least: Signed | None = None
    not_above: Signed | None = None
    evidence: ClassVar[frozenset[Evidence]] = _AUDIT

    @model_validator(mode="after")
    def _one_side(self) -> Self:
        if sum(side is not None for side in (self.at_most, self.at_least, self.not_above)) != 1:
            raise ValueError(
                "expected exactly one of at_most (compares the upper bound), at_least and not_above (the lower bound)"
            )
        return self

    @property
    def _limit(self) -> float:
        return next(side for side in (self.at_most, self.at_least, self.not_above) if side is not None)

    @property
    def requirement(self) -> str:  # noqa: D102
        if self.at_most is not None:
            return f"upper confidence bound of {self.check_id} {self.estimate} at most {self.at_most:g}"
        side = "at least" if self.at_least is not None else "not above"
        return f"lower confidence bound of {self.check_id} {self.estimate} {side} {self._limit:g}"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        limit = self._limit
        if facts.audit is None:
            return not_run(_NO_AUDIT, limit)
        findings = findings_of(facts.audit, self.check_id)
        worst: Outcome | None = None
        for finding in findings:
            estimate = finding.estimates.get(self.estimate)
            if finding.status not in ("pass", "fail") or estimate is None:
                return not_run(f"{self.check_id} has no estimate {self.estimate!r} ({finding.status})", limit)
            low, value, high = finite(estimate.low), finite(estimate.value), finite(estimate.high)
            if low is None or value is None or high is None or not low <= value <= high:
                return not_run(f"{self.check_id} {self.estimate} has no usable interval", limit)
            text = f"{value:.4g}, interval {low:.4g} to {high:.4g}"
            outcome = within(high if self.at_most is not None else low, limit, text)
            if self.at_least is not None:
                outcome = Outcome("satisfied" if low >= limit else "violated", text, low, limit)
            if worst is None or outcome.status == "violated":
                worst = outcome
        return worst or not_run(f"{self.check_id} absent", limit)


class PermittedControls(Rule):
    """Where the audit's holdout came from: `own` is drawn by the secret key of the source, `external` was handed in."""

    kind: Literal["permitted-controls"]
    controls: Annotated[tuple[Literal["own", "external"], ...], Field(min_length=1)]
    evidence: ClassVar[frozenset[Evidence]] = _AUDIT

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"the audit's holdout is {' or '.join(self.controls)}"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        if facts.audit is None:
            return not_run(_NO_AUDIT)
        split = facts.audit.inputs.split
        if split == "none" or facts.audit.inputs.holdout is None:
            return not_run("the audit had no holdout to compare with")
        return Outcome("satisfied" if split in self.controls else "violated", f"the holdout is {split}")
