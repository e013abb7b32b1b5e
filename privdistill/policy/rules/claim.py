"""Rules on the claim: is there one, how large is it, about whom, and made by what.

Each reads claim.json alone, so each is re-derived by `verify` from the published bundle. Whether the claim is true is
the business of the standing rules, the examiner and `verify`.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from privdistill.policy.facts import Facts, finite
from privdistill.policy.rules.base import Evidence, Number, Outcome, Rule, Whole, not_run, satisfied, violated, within
from privdistill.policy.tradeoff import attack_success

__all__ = [
    "AccountantsAgree",
    "AttackSuccess",
    "ClaimMade",
    "DeltaBelowSize",
    "MaxDelta",
    "MaxEpsilon",
    "MinRows",
    "PermittedAdjacency",
    "PermittedModels",
    "PermittedNoise",
    "PermittedRecipes",
    "PermittedUnits",
]

_CLAIM: frozenset[Evidence] = frozenset({"claim"})
_NO_CLAIM = "there is no claim"
_NOTHING = "the claim states no epsilon"
Names = Annotated[tuple[str, ...], Field(min_length=1)]
Fraction = Annotated[Number, Field(gt=0.0, le=1.0)]


class ClaimMade(Rule):
    """The generator claims a guarantee at all: epsilon, delta and the neighbouring relation."""

    kind: Literal["claim-made"]
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        return "a differential-privacy guarantee is claimed"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        claim = facts.claim
        if claim is None:
            return not_run(_NO_CLAIM)
        if finite(claim.epsilon) is None or finite(claim.delta) is None or claim.adjacency is None:
            return violated("the claim states no epsilon: these rows carry no guarantee")
        return satisfied(f"epsilon {claim.epsilon:.4g} at delta {claim.delta:.3g}")


class MaxEpsilon(Rule):
    """Upper limit on epsilon of this release."""

    kind: Literal["max-epsilon"]
    epsilon: Annotated[Number, Field(gt=0.0)]
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"epsilon at most {self.epsilon:g}"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        epsilon = finite(facts.claim.epsilon) if facts.claim else None
        if epsilon is None:
            return not_run(_NOTHING, self.epsilon)
        return within(epsilon, self.epsilon, f"epsilon {epsilon:.6g}")


class MaxDelta(Rule):
    """Upper limit on delta of this release."""

    kind: Literal["max-delta"]
    delta: Annotated[Number, Field(gt=0.0, lt=1.0)]
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"delta at most {self.delta:g}"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        delta = finite(facts.claim.delta) if facts.claim else None
        if delta is None:
            return not_run("the claim states no delta", self.delta)
        return within(delta, self.delta, f"delta {delta:.3g}")


class DeltaBelowSize(Rule):
    """delta <= 1 / (factor * n), n the *declared* size: an exact count never enters a decision."""

    kind: Literal["delta-below-size"]
    factor: Annotated[Number, Field(ge=1.0)] = 10.0
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"delta at most 1 / ({self.factor:g} x declared number of records)"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        if facts.claim is None:
            return not_run(_NO_CLAIM)
        size, delta = facts.claim.declarations.size, finite(facts.claim.delta)
        if not size:
            return not_run("no size was declared (--size), and the exact count may not be used")
        if delta is None:
            return not_run("the claim states no delta")
        return within(delta, 1 / (self.factor * size), f"delta {delta:.3g} for a declared size of {size}")


class AttackSuccess(Rule):
    """What the best possible membership attack may reach: a limit that means the same for every mechanism."""

    kind: Literal["max-attack-success"]
    false_positive_rate: Annotated[Fraction, Field(lt=1.0)] = 0.01
    true_positive_rate: Fraction
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        return (
            f"no membership attack reaches more than {self.true_positive_rate:.1%} true positives "
            f"at {self.false_positive_rate:.1%} false positives"
        )

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        bound = finite(attack_success(facts.claim, self.false_positive_rate)) if facts.claim else None
        if bound is None:
            return not_run(_NOTHING, self.true_positive_rate)
        return within(bound, self.true_positive_rate, f"the claim bounds it by {bound:.2%}")


class PermittedUnits(Rule):
    """Which privacy unit is good enough; `*` stands for any column (a person, a patient), never for `record`."""

    kind: Literal["permitted-units"]
    units: Names
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"privacy unit is one of {', '.join(self.units)}"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        if facts.claim is None:
            return not_run(_NO_CLAIM)
        unit = facts.claim.privacy_unit
        good = unit in self.units or ("*" in self.units and unit != "record")
        return Outcome("satisfied" if good else "violated", f"the unit is {unit!r}")


class PermittedAdjacency(Rule):
    """Which neighbouring relations are good enough."""

    kind: Literal["permitted-adjacency"]
    adjacency: Annotated[tuple[Literal["add-or-remove-one-unit"], ...], Field(min_length=1)]
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"neighbouring relation is one of {', '.join(self.adjacency)}"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        if facts.claim is None or facts.claim.adjacency is None:
            return not_run("the claim states no neighbouring relation")
        good = facts.claim.adjacency in self.adjacency
        return Outcome("satisfied" if good else "violated", f"the relation is {facts.claim.adjacency}")


class AccountantsAgree(Rule):
    """Two independent accountants were asked and differ by no more than the tolerance."""

    kind: Literal["accountants-agree"]
    relative_tolerance: Annotated[Number, Field(gt=0.0, le=0.1)] = 0.001
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"two accountants agree on epsilon within {self.relative_tolerance:.2%}"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        claim = facts.claim
        if claim is None or claim.accountant is None or claim.second_accountant is None:
            return not_run("there is no second accountant's value", self.relative_tolerance)
        if claim.accountant.name == claim.second_accountant.name:
            return violated(f"both values come from {claim.accountant.name}")
        first, second = finite(claim.accountant.epsilon), finite(claim.second_accountant.epsilon)
        if first is None or second is None or max(first, second) <= 0:
            return not_run("an accountant gave no number", self.relative_tolerance)
        difference = abs(first - second) / max(first, second)
        return within(difference, self.relative_tolerance, f"{first:.6g} and {second:.6g} differ by {difference:.3%}")


class PermittedNoise(Rule):
    """Every mechanism drew one of these noises; discrete noise on a grid that is fine enough."""

    kind: Literal["permitted-noise"]
    noise: Annotated[tuple[Literal["discrete-gaussian", "float-gaussian"], ...], Field(min_length=1)]
    min_grid_steps: Number = 16_777_216.0
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        return (
            f"noise is one of {', '.join(self.noise)}, discrete noise at least {self.min_grid_steps:g} grid steps wide"
        )

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        if facts.claim is None or not facts.claim.mechanisms:
            return not_run("the claim lists no mechanism")
        for mechanism in facts.claim.mechanisms:
            if mechanism.noise not in self.noise:
                return violated(f"mechanism {mechanism.name!r} drew {mechanism.noise}")
            if mechanism.noise == "discrete-gaussian":
                steps = finite(mechanism.noise_grid_steps)
                if steps is None:
                    return not_run(f"mechanism {mechanism.name!r} does not state its grid", self.min_grid_steps)
                if steps < self.min_grid_steps:
                    return violated(f"mechanism {mechanism.name!r} has a coarse grid", steps, self.min_grid_steps)
        return satisfied(f"{len(facts.claim.mechanisms)} mechanism(s), {facts.claim.noise_source}")


class PermittedRecipes(Rule):
    """Which recipes have been reviewed."""

    kind: Literal["permitted-recipes"]
    recipes: Names
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"recipe is one of {', '.join(self.recipes)}"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        if facts.claim is None:
            return not_run(_NO_CLAIM)
        good = facts.claim.recipe in self.recipes
        return Outcome("satisfied" if good else "violated", f"the recipe is {facts.claim.recipe!r}")


class PermittedModels(Rule):
    """Which public models may have been used (`*`: any), and whether each must be pinned by its sha256."""

    kind: Literal["permitted-models"]
    models: Names
    pinned: Annotated[bool, Field(strict=True)] = True
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        names = "any public model" if "*" in self.models else f"models are among {', '.join(self.models)}"
        return names + (", each pinned by its sha256" if self.pinned else "")

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        if facts.claim is None:
            return not_run(_NO_CLAIM)
        for model in facts.claim.models:
            if "*" not in self.models and model.id not in self.models:
                return violated(f"the {model.role} {model.id!r} is not among them")
            if self.pinned and model.sha256 is None:
                return violated(f"the {model.role} {model.id!r} is not pinned by a sha256")
        return satisfied(f"{len(facts.claim.models)} model(s) named")


class MinRows(Rule):
    """At least so many rows: a handful of rows is an anecdote, not a corpus."""

    kind: Literal["min-rows"]
    rows: Whole
    evidence: ClassVar[frozenset[Evidence]] = _CLAIM

    @property
    def requirement(self) -> str:  # noqa: D102
        return f"at least {self.rows} rows"

    def check(self, facts: Facts) -> Outcome:  # noqa: D102
        if facts.claim is None:
            return not_run(_NO_CLAIM, self.rows)
        rows = facts.claim.rows
        return Outcome("satisfied" if rows >= self.rows else "violated", f"{rows} rows", rows, self.rows)
