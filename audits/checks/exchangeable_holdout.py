"""PD104, the holdout is a fair control. Threat model: none; a holdout from elsewhere voids every comparison.

Train and holdout must be two random halves of the same texts. Sides drawn by a verified key are that by construction;
for an outsider's holdout, a word classifier that never sees the synthetic file must fail to tell them apart
(equivalence test). It cannot see differences that are not in the words, nor whether the generator or its tuning read
the holdout.
"""

import numpy as np

from audits.evidence import Evidence
from audits.features.distinguishing import side_scores
from audits.registry import Outcome, check
from audits.statistics.ranking import area_interval

__all__ = ["exchangeable_holdout"]

MARGIN = 0.05
_FOLDS = 5


@check(
    id="PD104",
    name="exchangeable-holdout",
    title="Are train and holdout two random parts of the same texts?",
    threat_model="none",
    tier="core",
)
def exchangeable_holdout(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Verify the split, or test that the sides cannot be told apart by their words."""
    if not evidence.has_control:
        return Outcome("No holdout was given: nothing tells a phantom from a leak.", status="inconclusive")
    tokens = evidence.source_tokens
    owner = np.repeat(evidence.source.unit_of, tokens.lengths)
    fold = rng.permutation(evidence.source.units) % _FOLDS
    scores = side_scores(tokens.ids, owner, evidence.source.train, fold)
    auc = area_interval(scores, evidence.source.train, rng, confidence=0.9)
    numbers = {"text_only_auc": auc}
    notes = (f"sampling unit: {evidence.source.sampling}",)
    if evidence.split.kind == "own":
        sentence = "The sides are verified coins of a committed key, so they are exchangeable by construction."
        return Outcome(sentence, status="pass", estimates=numbers, notes=notes)
    inside = auc.low > 0.5 - MARGIN and auc.high < 0.5 + MARGIN
    interval = f"text-only AUC {auc.value:.3f} ({auc.low:.3f} to {auc.high:.3f})"
    if inside:
        sentence = f"Words do not tell train from holdout: {interval}, inside 0.5 +- {MARGIN}."
        limits = "an equivalence test on words; that nobody tuned on the holdout is taken on trust"
        return Outcome(sentence, status="pass", estimates=numbers, notes=(*notes, limits))
    sentence = f"Train and holdout may differ without any generator: {interval}, not inside 0.5 +- {MARGIN}."
    return Outcome(sentence, status="inconclusive", estimates=numbers, notes=notes)
