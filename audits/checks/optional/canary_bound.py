"""PD502, claim contradicted by canaries. Threat model T2: an auditor who planted texts on the toss of coins he knows.

Canaries have independent fair coins of a sealed key, so one run bounds epsilon from below: name the D best-scored
canaries as planted and count the right ones. Two bounds: one for any mechanism of that (epsilon, delta), one that
assumes the curve which the claim states (Gaussian DP) and reaches further. Fails when the claim is rejected after the
correction for all checks; passes only if a perfect attack would have contradicted it. Canaries with several copies
enter no bound.
"""

import numpy as np

from audits.accounting import gaussian_epsilon
from audits.canaries.envelope import INCLUSION
from audits.evidence import Evidence
from audits.findings import Claim, Estimate
from audits.registry import Outcome, check
from audits.statistics.intervals import exact, rate
from audits.statistics.onerun import ceiling, epsilon_lower_bound, one_run_p_value
from audits.statistics.ranking import at_false_positive_rate
from audits.statistics.tops import ranked
from audits.statistics.tradeoff import curve_p_value, gaussian_inverse, mu_ceiling, mu_lower_bound

__all__ = ["canary_bound"]

_SHARES = (1 / 32, 1 / 8, 3 / 8)
"""Numbers of guesses, as shares of the canaries; fixed in advance."""
_LEAST = 32
_DELTA = 1e-6


@check(
    id="PD502",
    name="canary-bound",
    title="Do planted canaries give away more than the claimed epsilon allows?",
    threat_model="T2",
    tier="canary",
)
def canary_bound(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Bound epsilon from below on canaries and compare it with the claim."""
    opened, claim = evidence.canaries, evidence.claim
    if opened is None:
        return Outcome("No envelope of canaries was given.", status="skipped")
    if opened.problem:
        sentence = f"The coins cannot be relied on: {opened.problem}."
        return Outcome(sentence, status="fail" if opened.broken else "inconclusive")
    single = np.array(opened.repeats) == 1
    units = int(single.sum())
    if units < _LEAST:
        return Outcome(f"{units} canaries of one copy are too few for a bound on epsilon.", status="inconclusive")
    planted = np.array(opened.inserted)[single]
    scores = evidence.canary_features.likelihood(evidence.synthetic_tokens)[single]
    grid = sorted({max(1, round(share * units)) for share in _SHARES})
    curve = claim is not None and claim.mu is not None and claim.epsilon is not None
    alpha = evidence.bound_alpha / len(grid) / (2 if curve else 1)
    ordered = planted[ranked(scores, rng)]
    right = [int(ordered[:guesses].sum()) for guesses in grid]
    delta = claim.delta if claim is not None and claim.delta is not None else _DELTA
    bounds = [epsilon_lower_bound(d, t, units, alpha, INCLUSION, delta) for d, t in zip(grid, right, strict=True)]
    bound, top = max(bounds), max(ceiling(d, units, alpha, INCLUSION, delta) for d in grid)
    best = int(np.argmax(bounds))
    method = f"one run, fair coins, {len(grid)} fixed numbers of guesses, level {alpha:.3g} each, delta {delta:g}"
    low = at_false_positive_rate(scores, planted, 0.01)
    numbers = {
        "epsilon_lower_bound": _bound(bound, top, units, f"95 % lower bound; {method}"),
        "largest_contradictable_epsilon": exact(top, units, f"what a perfect attack would reach; {method}"),
        "right_guesses": rate(right[best], grid[best]),
        "tpr_at_1_percent": low.tpr,
        "fpr_at_1_percent": low.fpr,
    }
    notes = (
        f"{units} of {len(opened.texts)} canaries used; those with several copies are probes and enter no bound",
        "that the planted half was really given to the generator is taken on trust",
    )
    if claim is None or claim.epsilon is None:
        sentence = f"At least epsilon {bound:.2f} was spent (95 %); no epsilon is claimed that it could contradict."
        return Outcome(sentence, status="inconclusive", estimates=numbers, notes=notes)
    numbers["claimed_epsilon"] = exact(claim.epsilon, units, "as claimed")
    counts = list(zip(grid, right, strict=True))
    tests = [one_run_p_value(claim.epsilon, d, t, units, INCLUSION, delta) for d, t in counts]
    reached, mu_top, alarm = (
        0.0,
        0.0,
        f"At least epsilon {bound:.2f} was spent (95 %), the claim says {claim.epsilon:.2f}.",
    )
    if claim.mu is not None:
        tests += [curve_p_value(gaussian_inverse(claim.mu), d, t, units) for d, t in counts]
        reached = max(mu_lower_bound(d, t, units, alpha) for d, t in counts)
        mu_top = max(mu_ceiling(d, units, alpha) for d in grid)
        numbers |= _curve(claim.mu, reached, mu_top, units, alpha, delta)
        alarm = f"{alarm[:-1]}; at least mu {reached:.2f} assuming the claimed curve, the claim says {claim.mu:.2f}."
    below = bound <= claim.epsilon and (claim.mu is None or reached <= claim.mu)
    able = top > claim.epsilon or (claim.mu is not None and mu_top > claim.mu)
    return Outcome(
        _sentence(claim, (bound, top), (reached, mu_top)),
        status="pass" if below and able else "inconclusive",
        alarm=alarm,
        p_value=min(1.0, len(tests) * min(tests)),
        estimates=numbers,
        notes=notes,
    )


def _bound(value: float, top: float, units: int, method: str) -> Estimate:
    return Estimate(value=value, low=value, high=float(max(top, value)), n=units, method=method)


def _curve(claimed: float, reached: float, top: float, units: int, alpha: float, delta: float) -> dict[str, Estimate]:
    how = f"assuming the claimed curve (Gaussian DP); one run, fair coins, level {alpha:.3g} each"
    return {
        "mu_lower_bound": _bound(reached, top, units, f"95 % lower bound, {how}"),
        "mu_lower_bound_as_epsilon": _bound(
            gaussian_epsilon(delta, reached), gaussian_epsilon(delta, top), units, f"at delta {delta:g}, {how}"
        ),
        "largest_contradictable_mu": exact(top, units, f"what a perfect attack would reach, {how}"),
        "claimed_mu": exact(claimed, units, "as claimed"),
    }


def _sentence(claim: Claim, epsilon: tuple[float, float], mu: tuple[float, float]) -> str:
    said = (
        f"Lower bound on epsilon {epsilon[0]:.2f}, claimed {claim.epsilon:.2f}; this audit could have contradicted at "
        f"most {epsilon[1]:.2f}"
    )
    if claim.mu is not None:
        said += f", and mu {mu[1]:.2f} assuming the claimed curve (claimed {claim.mu:.2f}, bound {mu[0]:.2f})"
    return f"{said}."
