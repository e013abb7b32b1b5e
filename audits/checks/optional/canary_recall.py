"""PD501, planted canaries recognised. Threat model T2: an auditor who planted texts on the toss of coins he knows.

He issued canaries, had those planted whose coin said so, and asks whether the planted ones show in the synthetic file
more than those that stayed out: by how well the file predicts them, and by runs of their words. Canaries are rare by
construction, so phantoms hardly exist. It speaks of canaries, which begin like real records and end like none; whether
the generator was really given them is taken on trust.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.advantage import AREA_MARGIN
from audits.canaries.exposure import median_exposure
from audits.evidence import Evidence
from audits.features.runs import SharedRuns
from audits.findings import Estimate, Power
from audits.registry import Outcome, check
from audits.statistics.calibration import calibration_doubt, null_calibration
from audits.statistics.detection import detectable_rate
from audits.statistics.families import concentration, maximum
from audits.statistics.intervals import difference, rate
from audits.statistics.ranking import area_interval, at_false_positive_rate
from audits.statistics.tops import ranked, tops

__all__ = ["canary_recall"]

BoolArray = npt.NDArray[np.bool_]
FloatArray = npt.NDArray[np.float64]

_BITS = 40.0
_ASKED = 0.01
_LEAST = 8
_TESTS = 2


@check(
    id="PD501",
    name="canary-recall",
    title="Do planted canaries show in the synthetic corpus more than canaries that stayed out?",
    threat_model="T2",
    tier="canary",
)
def canary_recall(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Compare planted with withheld canaries."""
    opened = evidence.canaries
    if opened is None:
        return Outcome("No envelope of canaries was given.", status="skipped")
    if opened.broken:
        return Outcome(f"The coins cannot be relied on: {opened.problem}.", status="inconclusive")
    single = np.array(opened.repeats) == 1
    planted = np.array(opened.inserted)
    inside, outside = int((planted & single).sum()), int((~planted & single).sum())
    if min(inside, outside) < _LEAST:
        return Outcome(
            f"{inside} planted and {outside} withheld canaries of one copy are too few to compare.",
            status="inconclusive",
        )
    features = evidence.canary_features
    scores, runs = features.likelihood(evidence.synthetic_tokens), features.runs(evidence.synthetic_tokens)
    shown = _shown(runs)
    side, score, flags = planted[single], scores[single], shown[single, None]
    ranks = maximum(tops(len(side)), len(side), inside, rng)
    ordered = side[ranked(score, rng)]
    copies = concentration(flags, side, rng)
    p_value = min(1.0, _TESTS * min(ranks.p_value(ordered), copies.p_value))
    area = area_interval(score, side, rng)
    low = at_false_positive_rate(score, side, _ASKED)
    null = null_calibration(ranks.null(ordered, rng), evidence.settings.alpha)
    numbers = {
        "planted_rate": rate(int(flags[side].sum()), inside),
        "withheld_rate": rate(int(flags[~side].sum()), outside),
        "excess_rate": difference(int(flags[side].sum()), inside, int(flags[~side].sum()), outside),
        "exposure": median_exposure(score, side, rng),
        "auc": area,
        "tpr_at_1_percent": low.tpr,
        "fpr_at_1_percent": low.fpr,
        "null_false_alarms": null,
    } | _probes(opened.repeats, planted, shown)
    found = f"{int(flags[side].sum())} of {inside} planted and {int(flags[~side].sum())} of {outside} withheld canaries"
    measured = f"AUC {area.value:.3f} ({area.low:.3f} to {area.high:.3f})"
    notes = [f"{inside + outside} of {len(opened.texts)} canaries compared; the others are probes with several copies"]
    if not low.resolvable:
        notes.append(f"1 % FPR is unresolvable with {outside} withheld canaries (1,000 are needed)")
    notes.append(f"fails when significant and a copied run concentrates on planted ones, or AUC > {AREA_MARGIN}")
    return Outcome(
        summary=f"{found} share a run of {_BITS:g} bits with the synthetic corpus; {measured}.",
        alarm=f"Planted canaries show: {found} share a run of {_BITS:g} bits with the synthetic corpus; {measured}.",
        p_value=p_value,
        harmful=copies.p_value <= evidence.settings.alpha or area.low > AREA_MARGIN,
        doubt=opened.problem or calibration_doubt(null, evidence.settings.alpha),
        power=_Plan(evidence, planted & single, single, shown, rng.spawn(1)[0]).power,
        estimates=numbers,
        notes=tuple(notes),
    )


def _shown(runs: SharedRuns) -> BoolArray:
    return np.asarray((runs.bits >= _BITS) | runs.equal, np.bool_)


def _probes(repeats: tuple[int, ...], planted: BoolArray, shown: BoolArray) -> dict[str, Estimate]:
    """How often canaries of several copies show: a probe of sensitivity that enters no test and no bound."""
    copies = np.array(repeats)
    return {
        f"planted_rate_{count}_copies": rate(int(shown[planted & (copies == count)].sum()), int(chosen))
        for count in sorted(set(repeats) - {1})
        if (chosen := (planted & (copies == count)).sum())
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Plan:
    """Power of the count of copied runs, worked out only when it is needed."""

    evidence: Evidence
    inside: BoolArray
    single: BoolArray
    shown: BoolArray
    rng: np.random.Generator

    def power(self, alpha: float) -> Power:
        """Return the smallest share of planted canaries whose copies would have been found."""
        which = np.flatnonzero(self.inside)
        _, runs = self.evidence.canary_features.copied(self.evidence.synthetic_tokens, which)
        recall = float(_shown(runs)[which].mean())
        inside, outside = len(which), int(self.single.sum()) - len(which)
        phantom = float((self.shown[self.single & ~self.inside].sum() + 0.5) / (outside + 1))
        asked = self.evidence.settings.power
        found = detectable_rate(inside, outside, phantom, recall, alpha / _TESTS, asked)
        unit = "share of planted canaries copied verbatim"
        method = (
            f"exact power of the hypergeometric test at level {alpha / _TESTS:.3g}, phantom rate of the withheld "
            f"canaries {phantom:.2%}; recall from {inside} canaries copied in memory"
        )
        if found is None:
            sentence = (
                f"Even if every planted canary had been copied verbatim, this check would have missed it with "
                f"{inside} planted and {outside} withheld ones."
            )
            return Power(probability=asked, detectable=None, unit=unit, method=method, sentence=sentence)
        needed = min(inside, int(np.ceil(found * inside)))
        return Power(
            probability=asked,
            detectable=needed / inside,
            unit=unit,
            method=method,
            sentence=f"Had {needed / inside:.2%} of the planted canaries ({needed} of {inside}) been copied verbatim, "
            f"this check would have failed with {asked:.0%} probability (recall {recall:.0%}).",
        )
