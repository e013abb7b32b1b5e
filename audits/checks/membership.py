"""PD301, membership inference. Threat model T1: the synthetic file, and a text whose membership is in question.

The attacker holds somebody's text and asks whether it was in the training data: he compares how well the synthetic
corpus predicts it with how well other texts of the same kind do. Fails when train units rank above holdout units,
significantly and by more than a fixed margin; differential privacy at a moderate epsilon allows a small advantage,
and an attack that is merely significant is printed, not failed. It bounds this attack, not every attack.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri

from audits.evidence import Evidence
from audits.features.tokens import join
from audits.findings import Claim, Power
from audits.registry import Outcome, check
from audits.statistics.calibration import calibration_doubt, null_calibration
from audits.statistics.families import MaximumTest, maximum
from audits.statistics.intervals import rate
from audits.statistics.ranking import LowFalsePositive, area, area_interval, at_false_positive_rate
from audits.statistics.tops import ranked as _order
from audits.statistics.tops import tops as _tops

__all__ = ["membership"]

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

AREA_MARGIN = 0.55
TIMES_CHANCE = 2.0
_ASKED = 0.01
_RATES = (0.0025, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 1.0)
_TRIALS, _FOUND = 50, 45


@check(
    id="PD301",
    name="membership",
    title="Can it be told from the synthetic text whether a known text was in the training data?",
    threat_model="T1",
    tier="core",
)
def membership(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Rank units by how much better the synthetic corpus predicts them; compare train with holdout."""
    if not evidence.has_control:
        return Outcome("Without a holdout, members cannot be compared with non-members.", status="inconclusive")
    scores, train = evidence.likelihood, evidence.source.train
    test = maximum(_tops(len(train)), len(train), evidence.train_units, rng)
    ordered = train[_order(scores, rng)]
    p_value = test.p_value(ordered)
    auc = area_interval(scores, train, rng)
    low = at_false_positive_rate(scores, train, _ASKED)
    lower = at_false_positive_rate(scores, train, 0.001)
    allowed = _allowed(low, evidence.claim)
    large = auc.low > AREA_MARGIN or (low.resolvable and low.tpr.low > allowed)
    harmful = large and not evidence.control_broken
    null = null_calibration(test.null(ordered, rng), evidence.settings.alpha)
    numbers = {"auc": auc, "tpr_at_1_percent": low.tpr, "fpr_at_1_percent": low.fpr, "null_false_alarms": null}
    notes = []
    if not low.resolvable:
        notes.append(f"1 % FPR is unresolvable with {evidence.holdout_units} holdout units (1,000 are needed)")
    if lower.resolvable:
        numbers |= {"tpr_at_0.1_percent": lower.tpr, "fpr_at_0.1_percent": lower.fpr}
    else:
        notes.append(f"0.1 % FPR is unresolvable with {evidence.holdout_units} holdout units (10,000 are needed)")
    notes.append(
        f"fails when significant and AUC > {AREA_MARGIN} or TPR at 1 % FPR > {allowed:.3f}, by lower interval ends"
    )
    if p_value <= evidence.settings.alpha and not large:
        notes.append("an advantage may be there, below the margin: a private generator is allowed to learn")
    measured = (
        f"AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f}), TPR {low.tpr.value:.1%} at FPR {low.fpr.value:.1%}"
    )
    plan = _Plan(evidence, test, (auc.high - auc.low) / 2, rng.spawn(1)[0])
    return Outcome(
        summary=f"{measured}." if evidence.control_broken else f"Membership is hardly visible in the text: {measured}.",
        alarm=f"Membership of train units shows in the synthetic text: {measured}.",
        p_value=p_value,
        harmful=harmful,
        doubt=evidence.control_doubt or calibration_doubt(null, evidence.settings.alpha),
        power=plan.power,
        estimates=numbers,
        notes=tuple(notes),
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
    test: MaximumTest
    half_width: float
    rng: np.random.Generator

    def power(self, alpha: float) -> Power:
        """Return the smallest planted rate that fails this check."""
        evidence, train = self.evidence, self.evidence.source.train
        count = max(20, round(evidence.settings.max_detectable * evidence.train_units))
        units, records = evidence.some_train_records(self.rng, count)
        planted = evidence.membership(join(evidence.synthetic_tokens, evidence.source_tokens.take(records)))
        base = np.where(np.isin(np.arange(len(train)), units), evidence.likelihood, planted)
        unit = "share of train units copied verbatim"
        method = (
            f"{len(units)} train units planted in memory and rescored; {_TRIALS} simulated audits per rate at level "
            f"{alpha:.3g}, margins included; at least {_FOUND} must fail"
        )
        asked = evidence.settings.power
        for share in _RATES:
            found = sum(
                self._fails(base, planted[units], max(1, round(share * evidence.train_units)), alpha)
                for _ in range(_TRIALS)
            )
            if found >= _FOUND:
                observed = rate(found, _TRIALS)
                trials = f"{found} of {_TRIALS} simulated audits; lower bound {observed.low:.0%}"
                return Power(
                    probability=asked,
                    detectable=share,
                    unit=unit,
                    method=method,
                    sentence=f"Had {share:.2%} of the train units been copied verbatim, this check would have failed "
                    f"with at least {asked:.0%} probability ({trials}).",
                )
        sentence = "Even if every train unit had been copied verbatim, this check would have missed it."
        return Power(probability=asked, detectable=None, unit=unit, method=method, sentence=sentence)

    def _fails(self, base: FloatArray, leaked: FloatArray, count: int, alpha: float) -> bool:
        train = self.evidence.source.train
        scores = base.copy()
        scores[self.rng.choice(np.flatnonzero(train), count, replace=False)] = self.rng.choice(leaked, count)
        low = at_false_positive_rate(scores, train, _ASKED)
        harmful = low.resolvable and low.tpr.low > _allowed(low, self.evidence.claim)
        harmful = harmful or area(scores, train) - self.half_width > AREA_MARGIN
        return harmful and self.test.p_value(train[_order(scores, self.rng)]) <= alpha
