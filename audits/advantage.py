"""The argument that all ranking checks share: train units rank above holdout units, by more than is allowed, or not.

A check brings one score per unit (a function of texts only) and what the scores become when train units are copied;
here the max-T test on ranks, the effect sizes with their margin, the null calibration and the power by simulation are
made of them. A private generator may learn a little: what is merely significant is printed, not failed. It knows no
text and no particular attack.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from audits.evidence import Evidence
from audits.findings import Claim, Power
from audits.registry import Outcome
from audits.statistics.calibration import calibration_doubt, null_calibration
from audits.statistics.families import MaximumTest, maximum
from audits.statistics.intervals import rate
from audits.statistics.ranking import LowFalsePositive, area, area_interval, at_false_positive_rate
from audits.statistics.tops import ranked, tops

__all__ = ["AREA_MARGIN", "Ranking", "Replay", "judge_ranking", "replace_scores"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]
Replay = Callable[[float, np.random.Generator], FloatArray]
"""Scores of the compared units had this share of all train units been leaked."""

AREA_MARGIN = 0.55
TIMES_CHANCE = 2.0
_ASKED = 0.01
_RATES = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
_TRIALS, _FOUND = 50, 45


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """Scores to compare.

    Attributes:
        scores: one per compared unit.
        train: side of each.
        prepare: plants leaks and returns how scores would look; called only when power is asked for.
        planted: says what was planted, for the method (`40 train units planted in memory and rescored`).
        kind: completes "had x % of the train units been ..." (`copied verbatim`).
    """

    scores: FloatArray
    train: BoolArray
    prepare: Callable[[np.random.Generator], Replay]
    planted: str
    kind: str = "copied verbatim"


def replace_scores(base: FloatArray, leaked: FloatArray, train: BoolArray) -> Replay:
    """Return a replay that gives random train units the score of a planted one, in a world without any other leak.

    Scores are dealt anew to both sides first: an advantage that is there already must not lend its evidence to the
    power against the next one.

    Args:
        base: (units, ...) a score, or several, of each unit.
        leaked: (planted, ...) the same of planted units.
        train: (units,) side of each.
    """
    members = np.flatnonzero(train)

    def replay(share: float, rng: np.random.Generator) -> FloatArray:
        scores = rng.permutation(base)
        count = max(1, round(share * len(members)))
        scores[rng.choice(members, count, replace=False)] = rng.choice(leaked, count)
        return scores

    return replay


def judge_ranking(
    evidence: Evidence,
    ranking: Ranking,
    rng: np.random.Generator,
    *,
    shows: str,
    hidden: str,
    notes: tuple[str, ...] = (),
) -> Outcome:
    """Turn scores into an outcome.

    Args:
        evidence: the audit's evidence; it has a control.
        ranking: what to compare.
        rng: random generator of the check.
        shows: what an alarm says, without its numbers (`Membership of train units shows ...`).
        hidden: what is said when there is none.
        notes: further sentences.
    """
    scores, train = ranking.scores, ranking.train
    holdout = int((~train).sum())
    test = maximum(tops(len(train)), len(train), int(train.sum()), rng)
    ordered = train[ranked(scores, rng)]
    p_value = test.p_value(ordered)
    auc = area_interval(scores, train, rng)
    low, lower = at_false_positive_rate(scores, train, _ASKED), at_false_positive_rate(scores, train, 0.001)
    limit = _allowed(low, evidence.claim)
    large = auc.low > AREA_MARGIN or (low.resolvable and low.tpr.low > limit)
    null = null_calibration(test.null(ordered, rng), evidence.settings.alpha)
    numbers = {"auc": auc, "tpr_at_1_percent": low.tpr, "fpr_at_1_percent": low.fpr, "null_false_alarms": null}
    said = []
    if not low.resolvable:
        said.append(f"1 % FPR is unresolvable with {holdout} holdout units (1,000 are needed)")
    if lower.resolvable:
        numbers |= {"tpr_at_0.1_percent": lower.tpr, "fpr_at_0.1_percent": lower.fpr}
    else:
        said.append(f"0.1 % FPR is unresolvable with {holdout} holdout units (10,000 are needed)")
    said.append(
        f"fails when significant and AUC > {AREA_MARGIN} or TPR at 1 % FPR > {limit:.3f}, by lower interval ends"
    )
    if p_value <= evidence.settings.alpha and not large:
        said.append("an advantage may be there, below the margin: a private generator is allowed to learn")
    measured = (
        f"AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}), TPR {low.tpr.value:.1%} at FPR {low.fpr.value:.1%}"
    )
    plan = _Plan(evidence, ranking, test, (auc.high - auc.low) / 2, rng.spawn(1)[0])
    return Outcome(
        summary=f"{measured}." if evidence.control_broken else f"{hidden}: {measured}.",
        alarm=f"{shows}: {measured}.",
        p_value=p_value,
        harmful=large and not evidence.control_broken,
        doubt=evidence.control_doubt or calibration_doubt(null, evidence.settings.alpha),
        power=plan.power,
        estimates=numbers,
        notes=(*said, *notes),
    )


def _allowed(point: LowFalsePositive, claim: Claim | None) -> float:
    """The largest true-positive rate that is no fail: twice chance, or the claimed trade-off curve if lower."""
    limit = TIMES_CHANCE * point.fpr.high
    if claim is None or claim.epsilon is None or claim.delta is None:
        return limit
    if claim.mu is not None:
        return min(limit, float(ndtr(ndtri(point.fpr.high) + claim.mu)) + claim.delta)
    return min(limit, float(np.exp(min(claim.epsilon, 50.0))) * point.fpr.high + claim.delta)


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Power by simulation from a real planting, worked out only when it is needed."""

    evidence: Evidence
    ranking: Ranking
    test: MaximumTest
    half_width: float
    rng: np.random.Generator

    def power(self, alpha: float) -> Power:
        """Return the smallest planted rate that fails this check."""
        replay, kind = self.ranking.prepare(self.rng), self.ranking.kind
        unit = f"share of train units {kind}"
        method = (
            f"{self.ranking.planted}; {_TRIALS} simulated audits per rate at level {alpha:.3g}, margins included; at "
            f"least {_FOUND} must fail"
        )
        asked = self.evidence.settings.power
        for share in _RATES:
            found = 0
            for trial in range(_TRIALS):
                found += self._fails(replay(share, self.rng), alpha)
                if trial - found > _TRIALS - _FOUND:  # too many were missed already
                    break
            if found >= _FOUND:
                trials = f"{found} of {_TRIALS} simulated audits; lower bound {rate(found, _TRIALS).low:.0%}"
                return Power(
                    probability=asked,
                    detectable=share,
                    unit=unit,
                    method=method,
                    sentence=f"Had {share:.2%} of the train units been {kind}, this check would have failed with at "
                    f"least {asked:.0%} probability ({trials}).",
                )
        sentence = f"Even if every train unit had been {kind}, this check would have missed it."
        return Power(probability=asked, detectable=None, unit=unit, method=method, sentence=sentence)

    def _fails(self, scores: FloatArray, alpha: float) -> bool:
        train = self.ranking.train
        low = at_false_positive_rate(scores, train, _ASKED)
        harmful = low.resolvable and low.tpr.low > _allowed(low, self.evidence.claim)
        harmful = harmful or area(scores, train) - self.half_width > AREA_MARGIN
        return harmful and self.test.p_value(train[ranked(scores, self.rng)]) <= alpha
