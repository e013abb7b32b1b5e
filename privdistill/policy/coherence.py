"""Contradictions inside one claim: what a forged, understated or careless claim.json gets wrong about itself.

Full-batch Gaussians are re-derived here in closed form, so an understated epsilon is caught even before the
examiner's own accountant speaks; sampled mechanisms are left to the examiner (PD101) and to `verify`. It does not
know files or policies.
"""

import math

from audits.findings import Claim, Mechanism
from privdistill.policy.tradeoff import gaussian_delta

__all__ = ["contradictions"]

_SLACK = 1e-3
"""Relative tolerance on epsilon, the same as the examiner's."""
_ROUNDING = 1e-6
_LEAST_GRID_STEPS = 2.0**24
"""Below it the integer grid costs more delta than the bound on it was proved for."""


def contradictions(claim: Claim) -> tuple[str, ...]:
    """What does not fit together, one sentence each; empty for a coherent claim and for a claim of nothing."""
    if claim.epsilon is None:
        return () if claim.delta is None else ("a delta is stated without an epsilon",)
    if claim.delta is None or claim.delta_parts is None or claim.adjacency is None:
        return ("an epsilon is stated without delta, its parts or the neighbouring relation",)
    if not claim.mechanisms:
        return ("an epsilon is stated, but no mechanism is listed",)
    found = [problem for mechanism in claim.mechanisms for problem in _mechanism(mechanism)]
    if len({mechanism.name for mechanism in claim.mechanisms}) != len(claim.mechanisms):
        found.append("two mechanisms have the same name")
    found += _delta(claim)
    for accountant in (claim.accountant, claim.second_accountant):
        if accountant is not None and accountant.epsilon > claim.epsilon * (1 + _SLACK):
            found.append(
                f"{accountant.name} reports epsilon {accountant.epsilon:.6g}, above the claimed {claim.epsilon:.6g}"
            )
    if not found and all(mechanism.sampler == "full-batch" for mechanism in claim.mechanisms):
        found += _full_batch(claim, claim.epsilon, claim.delta_parts.composition)
    return tuple(found)


def _mechanism(mechanism: Mechanism) -> list[str]:
    name = repr(mechanism.name)
    if mechanism.kind == "none":
        return [f"mechanism {name} discloses records as they are, and no epsilon covers that"]
    found = []
    if mechanism.noise_multiplier is None or mechanism.sensitivity is None or mechanism.noise == "none":
        found.append(f"mechanism {name} states no noise multiplier, sensitivity or noise")
    wanted = "poisson" if mechanism.kind == "sampled-gaussian" else "full-batch"
    if mechanism.sampler != wanted or (wanted == "full-batch" and mechanism.sample_rate != 1.0):
        found.append(f"mechanism {name} of kind {mechanism.kind} was sampled {mechanism.sampler}")
    if mechanism.dimension == 0:
        found.append(f"mechanism {name} says that it released no cell")
    if mechanism.noise == "discrete-gaussian":
        if mechanism.noise_grid_steps is None:
            found.append(f"mechanism {name} states discrete noise without its grid")
        elif mechanism.noise_grid_steps < _LEAST_GRID_STEPS * (1 - _ROUNDING):
            found.append(f"mechanism {name} has noise of {mechanism.noise_grid_steps:.4g} grid steps, fewer than 2^24")
    if mechanism.kind == "gaussian-threshold" and mechanism.delta_threshold == 0:
        found.append(f"mechanism {name} releases names above a threshold and books no delta for it")
    if mechanism.sensitivity is not None and mechanism.sensitivity_parts:
        total = math.sqrt(math.fsum(part**2 for part in mechanism.sensitivity_parts.values()))
        if total > mechanism.sensitivity * (1 + _ROUNDING):
            found.append(f"the sensitivity parts of mechanism {name} exceed its sensitivity")
    return found


def _delta(claim: Claim) -> list[str]:
    parts, delta = claim.delta_parts, claim.delta
    assert parts is not None and delta is not None  # noqa: S101, PT018
    found = []
    if parts.composition <= 0:
        found.append("no delta is left for the composition")
    if parts.composition + parts.discretisation + parts.thresholds > delta * (1 + _ROUNDING):
        found.append("the parts of delta add up to more than delta")
    for part, stated, booked in (
        ("discretisation", parts.discretisation, math.fsum(m.delta_discretisation for m in claim.mechanisms)),
        ("thresholds", parts.thresholds, math.fsum(m.delta_threshold for m in claim.mechanisms)),
    ):
        if booked > stated * (1 + _ROUNDING):
            found.append(f"the mechanisms book more delta for {part} than the claim states")
    return found


def _full_batch(claim: Claim, epsilon: float, delta: float) -> list[str]:
    mu = math.sqrt(
        math.fsum(m.steps / m.noise_multiplier**2 for m in claim.mechanisms if m.noise_multiplier is not None)
    )
    found = []
    if claim.mu is not None and claim.mu < mu * (1 - _ROUNDING):
        found.append(f"mu is stated as {claim.mu:.6g}, and the mechanisms compose to {mu:.6g}")
    needed = gaussian_delta(epsilon * (1 + _SLACK), mu)
    if needed > delta * (1 + _ROUNDING):
        found.append(
            f"epsilon {epsilon:.6g} is understated: the mechanisms compose to mu {mu:.6g}, needing delta {needed:.3g} "
            f"and the claim has {delta:.3g}"
        )
    for point in claim.privacy_profile:
        if point.delta < gaussian_delta(point.epsilon * (1 + _SLACK), mu) * (1 - _ROUNDING):
            found.append(f"the privacy profile is too small at epsilon {point.epsilon:g}")
            break
    return found
