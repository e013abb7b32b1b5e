"""PD101, epsilon recomputed. Threat model: none; the claim itself is on trial, not an attacker.

Somebody wrote down an epsilon. Composing the mechanisms that the same claim lists, with a library that is not the
generator's, must not give a larger one; and sensitivity, samplers, grids and parts of delta must fit together. It
cannot see whether the mechanisms were run as listed.
"""

import math
from itertools import pairwise

import numpy as np

from audits.accounting import Recomputed, discretisation_delta, gaussian_epsilon, recompute
from audits.evidence import Evidence
from audits.findings import Claim, Mechanism
from audits.registry import Outcome, check
from audits.statistics.intervals import exact

__all__ = ["claimed_epsilon"]

_SLACK = 1.001
_ROUND = 1 + 1e-6
_FINEST_GRID = 2.0**24


@check(
    id="PD101",
    name="claimed-epsilon",
    title="Do the mechanisms of the claim add up to no more than the epsilon it states?",
    threat_model="none",
    tier="claim",
)
def claimed_epsilon(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Recompute epsilon from the claim's mechanisms and test the claim for contradictions."""
    del rng
    if evidence.read_claim is None:
        return Outcome("No claim was given, so there is nothing to recompute.", status="skipped")
    claim = evidence.claim
    if claim is None:
        return Outcome("The claim does not fit the schema, so nothing can be recomputed.", status="inconclusive")
    if claim.epsilon is None:
        stray = claim.delta is not None or any(m.kind != "none" for m in claim.mechanisms)
        note = ("a delta or a noised mechanism is listed all the same",) if stray else ()
        return Outcome("No guarantee is claimed: there is nothing to verify.", status="inconclusive", notes=note)
    problems = _contradictions(claim)
    if problems:
        return Outcome(f"The claim contradicts itself: {problems[0]}.", status="fail", notes=tuple(problems[1:]))
    assert claim.delta_parts is not None  # noqa: S101  (checked by _contradictions)
    found = recompute(claim.mechanisms, claim.delta_parts.composition)
    problems = _understated(claim, found)
    numbers = {
        "recomputed_epsilon": exact(found.epsilon, len(claim.mechanisms), found.method),
        "claimed_epsilon": exact(claim.epsilon, len(claim.mechanisms), "as claimed"),
    }
    notes = [
        f"{m.name}: floating-point noise, weaker than discrete noise"
        for m in claim.mechanisms
        if m.noise == "float-gaussian"
    ]
    if found.mu is not None:
        other = gaussian_epsilon(claim.delta_parts.composition, found.mu)
        numbers["mu"] = exact(
            found.mu, len(claim.mechanisms), f"root of the sum of steps / sigma^2 (epsilon {other:.4g})"
        )
    if problems:
        return Outcome(
            f"The claim understates: {problems[0]}.", status="fail", estimates=numbers, notes=tuple(problems[1:])
        )
    return Outcome(
        f"{len(claim.mechanisms)} mechanism(s) compose to epsilon {found.epsilon:.4f} at delta "
        f"{claim.delta_parts.composition:.3g}; claimed {claim.epsilon:.4f}.",
        status="pass",
        estimates=numbers,
        notes=(
            *notes,
            "the claim's numbers are taken as they stand; whether the mechanisms were run so is not visible here",
        ),
    )


def _contradictions(claim: Claim) -> list[str]:
    found = []
    if claim.delta is None or claim.delta_parts is None or claim.adjacency is None:
        return ["an epsilon is stated without delta, its parts or the neighbouring relation"]
    if not claim.mechanisms:
        return ["an epsilon is stated, but no mechanism is listed"]
    for mechanism in claim.mechanisms:
        found += [f"mechanism {mechanism.name!r} {problem}" for problem in _mechanism(mechanism, claim.epsilon or 0.0)]
    if len({m.name for m in claim.mechanisms}) != len(claim.mechanisms):
        found.append("two mechanisms have the same name")
    parts = claim.delta_parts
    if parts.composition <= 0:
        found.append("no delta is left for the composition")
    if parts.composition + parts.discretisation + parts.thresholds > claim.delta * _ROUND:
        found.append("the parts of delta add up to more than delta")
    if math.fsum(m.delta_discretisation for m in claim.mechanisms) > parts.discretisation * _ROUND:
        found.append("the mechanisms book more delta for discretisation than the claim")
    if math.fsum(m.delta_threshold for m in claim.mechanisms) > parts.thresholds * _ROUND:
        found.append("the mechanisms book more delta for thresholds than the claim")
    return found


def _mechanism(mechanism: Mechanism, epsilon: float) -> list[str]:
    if mechanism.kind == "none":
        return ["discloses records as they are, and no epsilon covers that"]
    if mechanism.noise_multiplier is None or mechanism.sensitivity is None or mechanism.noise == "none":
        return ["states no noise multiplier, no sensitivity or no noise"]
    found = []
    sampled = mechanism.kind == "sampled-gaussian"
    if mechanism.sampler != ("poisson" if sampled else "full-batch"):
        found.append(f"of kind {mechanism.kind} was sampled {mechanism.sampler}")
    if not sampled and mechanism.sample_rate != 1.0:
        found.append("is full batch with a sample rate below 1")
    if not mechanism.sensitivity_parts:
        found.append("states no parts of its sensitivity")
    elif math.sqrt(math.fsum(p * p for p in mechanism.sensitivity_parts.values())) > mechanism.sensitivity * _ROUND:
        found.append("has sensitivity parts that exceed its sensitivity")
    if mechanism.dimension == 0:
        found.append("releases no cell")
    if mechanism.kind == "gaussian-threshold" and mechanism.delta_threshold <= 0:
        found.append("releases names above a threshold and books no delta for that")
    if mechanism.noise == "discrete-gaussian":
        found += _grid(mechanism, epsilon)
    return found


def _grid(mechanism: Mechanism, epsilon: float) -> list[str]:
    if mechanism.noise_grid_steps is None:
        return ["states discrete noise without its grid"]
    if mechanism.noise_grid_steps < _FINEST_GRID / _ROUND:
        return [f"has noise of {mechanism.noise_grid_steps:.4g} grid steps, fewer than 2^24"]
    needed = mechanism.steps * discretisation_delta(epsilon, mechanism.dimension, mechanism.noise_grid_steps)
    if mechanism.delta_discretisation * _ROUND < needed:
        return [f"books {mechanism.delta_discretisation:.3g} of delta for discretisation and needs {needed:.3g}"]
    return []


def _understated(claim: Claim, found: Recomputed) -> list[str]:
    problems = []
    assert claim.epsilon is not None and claim.delta_parts is not None  # noqa: S101, PT018
    if found.epsilon > claim.epsilon * _SLACK:
        problems.append(f"the mechanisms compose to epsilon {found.epsilon:.4f}, the claim says {claim.epsilon:.4f}")
    for accountant in (claim.accountant, claim.second_accountant):
        if accountant is not None and accountant.epsilon > claim.epsilon * _SLACK:
            problems.append(
                f"its own accountant found epsilon {accountant.epsilon:.4f}, above the claimed {claim.epsilon:.4f}"
            )
    if claim.mu is not None and (found.mu is None or claim.mu * _ROUND < found.mu):
        problems.append(
            f"mu is stated as {claim.mu:.4f}" + (f" and is {found.mu:.4f}" if found.mu else " with sampled mechanisms")
        )
    profile = sorted(claim.privacy_profile, key=lambda point: point.epsilon)
    if any(later.delta > earlier.delta * _ROUND for earlier, later in pairwise(profile)):
        problems.append("the privacy profile rises")
    for point in profile:
        if point.delta * 1.01 + 1e-15 < found.delta_at(point.epsilon * _SLACK):
            problems.append(f"the privacy profile is too small at epsilon {point.epsilon:g}")
            break
    return problems
