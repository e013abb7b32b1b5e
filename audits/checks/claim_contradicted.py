"""PD302, claim contradicted. Threat model T1: as membership inference, played by an auditor who knows the coins.

Every unit was included by an independent coin of a committed key, so one run gives a lower bound on epsilon: name the
D best-scored units as members and count the right ones. Fails when the bound exceeds the claimed epsilon even after
the correction for the other checks of the run. A bound below it is no evidence for the claim; the largest epsilon that
this audit could have contradicted is printed beside it, and when the claim lies above that, the check is inconclusive.
Outside holdouts give no bound at all.
"""

import numpy as np

from audits.evidence import Evidence
from audits.findings import Estimate
from audits.registry import Outcome, check
from audits.statistics.intervals import exact, rate
from audits.statistics.onerun import ceiling, epsilon_lower_bound, one_run_p_value

__all__ = ["claim_contradicted"]

_GUESSES = (16, 64, 256, 1024)


@check(
    id="PD302",
    name="claim-contradicted",
    title="Does the synthetic text give away more than the claimed epsilon allows?",
    threat_model="T1",
    tier="claim",
)
def claim_contradicted(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Bound epsilon from below and compare it with the claim."""
    claim = evidence.claim
    if claim is None or claim.epsilon is None or claim.delta is None:
        return Outcome("No epsilon is claimed, so none can be contradicted.", status="skipped")
    if evidence.split.kind != "own" or evidence.split.holdout is None:
        return Outcome(
            "The sides are not verified coins of a committed key: no bound on epsilon can be computed.",
            status="inconclusive",
        )
    once = evidence.source.copies == 1 if evidence.source.unit == "record" else np.ones(evidence.source.units, np.bool_)
    scores, train = evidence.likelihood[once], evidence.source.train[once]
    units, pi = len(scores), 1 - evidence.split.holdout
    grid = [guesses for guesses in _GUESSES if guesses <= units // 4]
    if not grid:
        return Outcome(f"{units} units are too few for a bound on epsilon.", status="inconclusive")
    alpha = evidence.bound_alpha / len(grid)
    ordered = train[np.lexsort((rng.random(units), -scores))]
    right = [int(ordered[:d].sum()) for d in grid]
    bounds = [epsilon_lower_bound(d, t, units, alpha, pi, claim.delta) for d, t in zip(grid, right, strict=True)]
    tests = [one_run_p_value(claim.epsilon, d, t, units, pi, claim.delta) for d, t in zip(grid, right, strict=True)]
    bound, top = max(bounds), max(ceiling(d, units, alpha, pi, claim.delta) for d in grid)
    best = grid[int(np.argmax(bounds))]
    method = f"one run, inclusion probability {pi:g}, {len(grid)} fixed numbers of guesses, level {alpha:.3g} each"
    numbers = {
        "epsilon_lower_bound": Estimate(
            value=bound, low=bound, high=float(max(top, bound)), n=units, method=f"95 % lower bound; {method}"
        ),
        "largest_contradictable_epsilon": exact(top, units, f"what a perfect attack would reach; {method}"),
        "claimed_epsilon": exact(claim.epsilon, units, "as claimed"),
        "right_guesses": rate(int(ordered[:best].sum()), best),
    }
    notes = (
        f"{units} of {evidence.source.units} units used; texts with several copies are several records and left out",
    )
    reach = f"this audit could have contradicted at most {top:.2f}"
    return Outcome(
        f"Lower bound on epsilon {bound:.2f}, claimed {claim.epsilon:.2f}; {reach}.",
        status="pass" if bound <= claim.epsilon < top else "inconclusive",
        alarm=f"At least epsilon {bound:.2f} was spent (95 %), the claim says {claim.epsilon:.2f}.",
        p_value=min(1.0, len(grid) * min(tests)),
        estimates=numbers,
        notes=notes,
    )
