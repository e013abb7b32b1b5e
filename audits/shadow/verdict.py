"""PD601, shadow runs. Threat model T3: somebody who may run the generator at will, with and without a unit.

The strongest attacker of all: he knows every record but one unit, sees many outputs, and asks of each whether the unit
was in. A threshold is chosen on the first third of each kind, the others are judged by it, so that true and false
positives are independent binomials. Fails when the claimed epsilon is rejected, or, without a claim, when runs with the
unit are told apart by more than a margin. One unit is examined; another may be more exposed.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from audits.findings import Estimate, Finding, Power
from audits.statistics.distinguishing import (
    distinguishing_ceiling,
    distinguishing_epsilon,
    distinguishing_mu,
    distinguishing_p_value,
    fisher_p_value,
)
from audits.statistics.intervals import difference, exact, rate

__all__ = ["Claimed", "judge_runs"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

ADVANTAGE_MARGIN = 0.1
_LEAST = 6
_POWER = 0.8


@dataclass(frozen=True, slots=True)
class Claimed:
    """What is claimed; epsilon None: nothing. `mu` is the Gaussian curve, if one is stated."""

    epsilon: float | None = None
    delta: float = 1e-6
    mu: float | None = None


def judge_runs(scores: FloatArray, included: BoolArray, failed: int, claimed: Claimed, alpha: float) -> Finding:
    """Turn the scores of runs, in the order in which they were made, into a finding.

    Args:
        scores: how plainly the target shows in each output.
        included: whether the target was in.
        failed: runs without an output.
        claimed: the hypothesis.
        alpha: level.
    """
    number = np.where(included, np.cumsum(included), np.cumsum(~included))  # of its kind, in the order of the runs
    learn = number <= np.where(included, included.sum(), (~included).sum()) // 3
    test = ~learn
    counts = [int(included[part].sum()) for part in (learn, test)]
    others = [int((~included[part]).sum()) for part in (learn, test)]
    if failed or min(*counts, *others) < _LEAST:
        said = f"{failed} runs gave no output" if failed else f"{len(scores)} runs are too few"
        return _finding("inconclusive", f"{said}; nothing can be told.", {}, None, None)
    threshold = _threshold(scores[learn], included[learn])
    called = scores[test] > threshold
    true, false = int((called & included[test]).sum()), int((called & ~included[test]).sum())
    given = (true, counts[1], false, others[1])
    bound = distinguishing_epsilon(*given, alpha, claimed.delta)
    top = distinguishing_ceiling(counts[1], others[1], alpha, claimed.delta)
    method = f"{counts[1]} runs with and {others[1]} without the unit, Clopper-Pearson, delta {claimed.delta:g}"
    numbers = {
        "tpr": rate(true, counts[1]),
        "fpr": rate(false, others[1]),
        "advantage": difference(true, counts[1], false, others[1]),
        "epsilon_lower_bound": Estimate(
            value=bound, low=bound, high=max(top, bound), n=counts[1] + others[1], method=f"95 % lower bound; {method}"
        ),
        "largest_contradictable_epsilon": exact(top, counts[1] + others[1], f"a perfect attack; {method}"),
    }
    rates = f"the unit is called in {true} of {counts[1]} runs with it and {false} of {others[1]} without it"
    power = _power(counts[1], others[1], alpha)
    if claimed.epsilon is None:
        p_value = fisher_p_value(*given)
        harmful = numbers["advantage"].low > ADVANTAGE_MARGIN
        if p_value <= alpha and harmful:
            return _finding("fail", f"Runs with the unit are told apart: {rates}.", numbers, p_value, power)
        weak = power.detectable is None or power.detectable > 0.5
        status: Literal["pass", "inconclusive"] = "inconclusive" if weak else "pass"
        return _finding(status, f"No epsilon is claimed; {rates}.", numbers, p_value, power)
    numbers["claimed_epsilon"] = exact(claimed.epsilon, counts[1] + others[1], "as claimed")
    hypothesis, delta, mu = claimed.epsilon, claimed.delta, claimed.mu
    p_value = distinguishing_p_value(lambda level: distinguishing_epsilon(*given, level, delta) > hypothesis)
    reach = top > hypothesis
    if mu is not None:
        numbers |= _curve(given, alpha / 2, mu)
        reach = reach or numbers["largest_contradictable_mu"].value > mu
        under = distinguishing_p_value(lambda level: distinguishing_mu(*given, level) > mu)
        p_value = min(1.0, 2 * min(p_value, under))
    said = f"{rates}: lower bound on epsilon {bound:.2f}, claimed {hypothesis:.2f}, at most {top:.2f} could be seen"
    if p_value <= alpha:
        return _finding("fail", f"The claim is contradicted: {said}.", numbers, p_value, power)
    return _finding("pass" if reach else "inconclusive", f"Not contradicted: {said}.", numbers, p_value, power)


def _threshold(scores: FloatArray, included: BoolArray) -> float:
    """The cut that tells most runs apart; between two scores, so that equal ones fall on one side."""
    levels = np.unique(scores)
    cuts = np.concatenate([[levels[0] - 1], (levels[:-1] + levels[1:]) / 2])
    gains = [(scores[included] > cut).mean() - (scores[~included] > cut).mean() for cut in cuts]
    return float(cuts[int(np.argmax(gains))])


def _curve(given: tuple[int, int, int, int], alpha: float, claimed: float) -> dict[str, Estimate]:
    _, with_, _, without = given
    how = "assuming the claimed curve (Gaussian DP); Clopper-Pearson"
    found, top = distinguishing_mu(*given, alpha), distinguishing_mu(with_, with_, 0, without, alpha)
    return {
        "mu_lower_bound": Estimate(value=found, low=found, high=max(found, top), n=with_ + without, method=how),
        "largest_contradictable_mu": exact(top, with_ + without, f"a perfect attack, {how}"),
        "claimed_mu": exact(claimed, with_ + without, "as claimed"),
    }


def _power(with_: int, without: int, alpha: float) -> Power:
    """The smallest chance of exposing the unit in a run that would be found, were it never called without cause."""
    from scipy import stats

    unit = "share of runs that expose the unit"
    method = f"exact power of Fisher's test at level {alpha:g}, no false calls"
    needed = next((t for t in range(with_ + 1) if fisher_p_value(t, with_, 0, without) <= alpha), None)
    for share in np.arange(0.01, 1.005, 0.01) if needed is not None else ():
        if stats.binom.sf((needed or 0) - 1, with_, share) >= _POWER:
            sentence = (
                f"Had the unit been exposed in {share:.0%} of the runs with it, the runs would have been told apart "
                f"with {_POWER:.0%} probability."
            )
            found = float(share)
            return Power(probability=_POWER, detectable=found, unit=unit, method=method, sentence=sentence)
    sentence = "Even if every run with the unit had exposed it, so few runs would not have shown it."
    return Power(probability=_POWER, detectable=None, unit=unit, method=method, sentence=sentence)


def _finding(
    status: Literal["pass", "fail", "inconclusive"],
    summary: str,
    numbers: dict[str, Estimate],
    p_value: float | None,
    power: Power | None,
) -> Finding:
    return Finding(
        id="PD601",
        name="shadow-runs",
        title="Can runs of the generator with one unit be told from runs without it?",
        threat_model="T3",
        tier="model",
        status=status,
        summary=summary,
        estimates=numbers,
        p_value=p_value,
        power=power,
    )
