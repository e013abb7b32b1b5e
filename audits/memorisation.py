"""The argument that all memorisation checks share: matches concentrate on the train side, or they do not.

A check brings flags per unit (functions of texts only) and what the flags become when leaks are planted; here the
exact test, the effect size, the null calibration, the power and the planted-leak self-test are made of them. It knows
no text and no particular attack. Matches that the holdout has too (phantoms) are not evidence of memorisation.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.evidence import Evidence
from audits.findings import Estimate, Power, WorstCase
from audits.registry import Outcome
from audits.statistics.calibration import calibration_doubt, null_calibration
from audits.statistics.detection import detectable_rate
from audits.statistics.families import concentration
from audits.statistics.intervals import difference, rate

__all__ = ["Leak", "judge"]

BoolArray = npt.NDArray[np.bool_]
IntArray = npt.NDArray[np.int64]

_TRIALS = 40
_SURE, _STEP = 0.9, 0.85
_PROMISING = 3


@dataclass(frozen=True, slots=True)
class Leak:
    """What the self-test planted, and what the check saw of it.

    Attributes:
        kind: completes "had x % of the train units been ..." (`copied verbatim`).
        flags: (planted units, thresholds): flags of the planted units, from a real second run of the feature.
    """

    kind: str
    flags: BoolArray


def judge(
    evidence: Evidence,
    *,
    flags: BoolArray,
    levels: tuple[str, ...],
    headline: int,
    what: str,
    leak: Leak,
    rng: np.random.Generator,
    worst_cases: tuple[WorstCase, ...],
    estimates: dict[str, Estimate] | None = None,
    notes: tuple[str, ...] = (),
) -> Outcome:
    """Turn flags into an outcome.

    Args:
        evidence: the audit's evidence.
        flags: (units, thresholds); must not depend on the sides.
        levels: name of each threshold.
        headline: threshold whose rates are reported, fixed in advance.
        what: names a flagged unit in the plural (`units with a verbatim run`).
        leak: the planted self-test.
        rng: random generator of the check.
        worst_cases: redacted pointers.
        estimates: further numbers.
        notes: further sentences.
    """
    train = evidence.source.train
    n_train, n_holdout = evidence.train_units, evidence.holdout_units
    hits_train = int(flags[train, headline].sum())
    numbers = {"train_rate": rate(hits_train, n_train)}
    if not evidence.has_control:
        return Outcome(
            summary=f"{hits_train} of {n_train} train {what}; without a holdout nobody can tell how many are phantoms.",
            status="inconclusive",
            estimates=numbers | (estimates or {}),
            worst_cases=worst_cases,
            notes=notes,
        )
    hits_holdout = int(flags[~train, headline].sum())
    numbers["holdout_rate"] = rate(hits_holdout, n_holdout)
    numbers["excess_rate"] = difference(hits_train, n_train, hits_holdout, n_holdout)
    test = concentration(flags, train, rng)
    numbers["null_false_alarms"] = null_calibration(test.null, evidence.settings.alpha)
    counts = "; ".join(
        f"{level}: {int(hit)} train, {int(every - hit)} holdout"
        for level, hit, every in zip(levels, test.train, test.flagged, strict=True)
    )
    if evidence.source.unit != "record":
        leak = Leak(f"{leak.kind} (one record of each)", leak.flags)
    plan = _Plan(evidence, flags, leak, rng.spawn(1)[0])
    found = f"{hits_train} of {n_train} train and {hits_holdout} of {n_holdout} holdout {what}"
    doubt = evidence.control_doubt
    return Outcome(
        summary=f"{found}." if evidence.control_broken else f"{found}: no concentration on the train side.",
        alarm=f"{found}: training text is reproduced (most plainly at threshold {levels[test.best]}).",
        p_value=test.p_value,
        harmful=not evidence.control_broken,
        doubt=doubt or calibration_doubt(numbers["null_false_alarms"], evidence.settings.alpha),
        power=plan.power,
        estimates=numbers | (estimates or {}),
        worst_cases=worst_cases,
        notes=(f"flagged units by threshold: {counts}", *notes),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Power of the test, worked out only when it is needed."""

    evidence: Evidence
    flags: BoolArray
    leak: Leak
    rng: np.random.Generator

    def power(self, alpha: float) -> Power:
        """Return what would have been found at a corrected level."""
        train = self.evidence.source.train
        n_train, n_holdout = self.evidence.train_units, self.evidence.holdout_units
        asked = self.evidence.settings.power
        columns = {tuple(column): place for place, column in enumerate(self.flags.T)}
        tests = max(1, len(columns) if self.flags.any() else self.flags.shape[1])
        # What would have been found is asked of a world without a leak: whatever was flagged counts as a phantom, on
        # either side, or hits that are a leak already would lend their evidence to the power against the next one.
        held = (self.flags[~train].sum(axis=0) + 0.5) / (n_holdout + 1)
        phantom = np.maximum(held, self.flags.mean(axis=0))
        seen = self.leak.flags.mean(axis=0) if len(self.leak.flags) else np.zeros(len(phantom))
        rates = []
        for level in np.argsort(np.sqrt(phantom + 1e-3) / np.maximum(seen, 1e-9))[:_PROMISING].tolist():
            phantoms, recall = float(phantom[level]), float(seen[level])
            found = detectable_rate(n_train, n_holdout, phantoms, recall, alpha / tests, asked)
            if found is not None:
                rates.append((found, phantoms, recall, level))
        unit = f"share of train units {self.leak.kind}"
        if not rates:
            sentence = (
                f"Even if every train unit had been {self.leak.kind}, this check would have missed it with {n_train} "
                f"train and {n_holdout} holdout units."
            )
            return Power(probability=asked, detectable=None, unit=unit, method="exact power", sentence=sentence)
        detectable, phantoms, recall, _ = min(rates)
        planted, tried = self._least(min(n_train, math.ceil(detectable * n_train)), alpha)
        failed = tried.high < asked
        share = f"{planted / n_train:.2%} of the train units ({planted} of {n_train}"
        rows = f"as many as {planted / self.evidence.synthetic.rows_used:.2%} of the synthetic rows)"
        seen_so = (
            "but the planted-leak self-test of this run missed it" if failed else "as this run's self-test confirms"
        )
        return Power(
            probability=asked,
            detectable=None if failed else planted / n_train,
            unit=unit,
            method=f"exact power of the hypergeometric test at level {alpha:.3g} over {tests} thresholds, with the "
            f"phantom rate of the holdout or of both sides, tightened by the planted-leak self-test "
            f"({round(tried.value * tried.n)} of "
            f"{tried.n} plantings found); recall from {len(self.leak.flags)} planted units",
            sentence=f"Had {share}, {rows} been {self.leak.kind}, this check would have failed with {asked:.0%} "
            f"probability (recall {recall:.0%}, about {phantoms:.2%} phantoms), {seen_so}.",
        )

    def _least(self, planted: int, alpha: float) -> tuple[int, Estimate]:
        """Step down from the exact bound, which overpays for the thresholds, while the self-test finds nearly all."""
        found = self._verified(planted, alpha)
        while found.value >= _SURE and planted > 1:
            fewer = min(planted - 1, math.floor(planted * _STEP))
            again = self._verified(fewer, alpha)
            if again.value < _SURE:
                break
            planted, found = fewer, again
        return planted, found

    def _verified(self, planted: int, alpha: float) -> Estimate:
        """Share of plantings found, each in a world where what was flagged is spread over both sides by chance."""
        members = np.flatnonzero(self.evidence.source.train)
        found = 0
        for _ in range(_TRIALS):
            flags = self.rng.permutation(self.flags)  # phantoms fall on either side, as `power` says
            chosen = self.rng.choice(members, planted, replace=False)
            flags[chosen] |= self.leak.flags[self.rng.integers(0, len(self.leak.flags), planted)]
            found += concentration(flags, self.evidence.source.train, self.rng, redraws=999).p_value <= alpha
        return rate(found, _TRIALS)
