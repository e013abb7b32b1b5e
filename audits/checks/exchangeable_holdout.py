"""PD104, the holdout is a fair control. Threat model: none; a holdout from elsewhere voids every comparison.

Train and holdout must be two random halves of the same texts. Sides drawn by a verified key are that by construction;
for an outsider's holdout, a word classifier that never sees the synthetic file must fail to tell them apart
(equivalence test). It cannot see differences that are not in the words, nor whether the generator or its tuning read
the holdout.
"""

import numpy as np

from audits.evidence import MARGIN, Evidence
from audits.registry import Outcome, check

__all__ = ["exchangeable_holdout"]


@check(
    id="PD104",
    name="exchangeable-holdout",
    title="Are train and holdout two random parts of the same texts?",
    threat_model="none",
    tier="core",
)
def exchangeable_holdout(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Verify the split, or test that the sides cannot be told apart by their words."""
    del rng
    if not evidence.has_control:
        return Outcome("No holdout was given: nothing tells a phantom from a leak.", status="inconclusive")
    found = evidence.text_only
    numbers = {"text_only_auc": found}
    notes = (f"sampling unit: {evidence.source.sampling}",)
    if evidence.split.kind == "own":
        sentence = "The sides are verified coins of a committed key, so they are exchangeable by construction."
        return Outcome(sentence, status="pass", estimates=numbers, notes=notes)
    if evidence.control_doubt:
        sentence = f"The holdout is not known to be a fair control: {evidence.control_doubt}."
        return Outcome(sentence, status="inconclusive", estimates=numbers, notes=notes)
    return Outcome(
        f"Words do not tell train from holdout: text-only AUC {found.value:.3f} ({found.low:.3f} to {found.high:.3f}), "
        f"inside 0.5 +- {MARGIN}.",
        status="pass",
        estimates=numbers,
        notes=(*notes, "an equivalence test on words; that nobody tuned on the holdout is taken on trust"),
    )
