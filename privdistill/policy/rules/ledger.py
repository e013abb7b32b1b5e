"""Rules on the ledger: how often this source has been asked, and what it has lost in total.

No ledger, no release: without it every rule here is not-run. It does not know where the ledger lies.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from privdistill.policy.facts import Facts, finite
from privdistill.policy.rules.base import Evidence, Number, Outcome, Rule, Whole, not_run, within

__all__ = ["MaxAttempts", "MaxCumulativeEpsilon"]

_LEDGER: frozenset[Evidence] = frozenset({"ledger"})
_NO_LEDGER = "there is no ledger"


class MaxAttempts(Rule):
    """Runs on the source that nobody has reviewed, this one included: repeating until it passes is selection."""

    kind: Literal["max-attempts"]
    attempts: Annotated[Whole, Field(ge=1)]
    evidence: ClassVar[frozenset[Evidence]] = _LEDGER

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"at most {self.attempts} attempt(s) on the source since a person reviewed"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        ledger = facts.ledger
        if ledger is None:
            return not_run(_NO_LEDGER, self.attempts)
        if ledger.attempts < 1 or not 0 <= ledger.reviewed_attempts <= ledger.attempts:
            return not_run("the ledger does not count this run", self.attempts)
        open_ = ledger.attempts - ledger.reviewed_attempts
        return within(
            open_, self.attempts, f"attempt {ledger.attempts} on this source, {ledger.reviewed_attempts} reviewed"
        )


class MaxCumulativeEpsilon(Rule):
    """Everything the source has lost over all its runs, this one included."""

    kind: Literal["max-cumulative-epsilon"]
    epsilon: Annotated[Number, Field(gt=0.0)]
    delta: Annotated[Number, Field(gt=0.0, lt=1.0)]
    evidence: ClassVar[frozenset[Evidence]] = _LEDGER

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"all runs on the source together at most epsilon {self.epsilon:g}, delta {self.delta:g}"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        if facts.ledger is None:
            return not_run(_NO_LEDGER, self.epsilon)
        epsilon, delta = finite(facts.ledger.cumulative_epsilon), finite(facts.ledger.cumulative_delta)
        if epsilon is None or delta is None or min(epsilon, delta) < 0:
            return not_run("the ledger could not compose the source's charges", self.epsilon)
        if delta > self.delta:
            return Outcome("violated", f"deltas add up to {delta:.3g}", delta, self.delta)
        extra = f"; {facts.ledger.unprotected} run(s) without any guarantee" if facts.ledger.unprotected else ""
        return within(epsilon, self.epsilon, f"epsilon {epsilon:.4g} over {facts.ledger.attempts} attempt(s){extra}")
