"""PD103, sides follow the committed key. Threat model: none; a holdout picked afterwards can hide or fake anything.

Somebody who may choose the holdout after seeing the synthetic rows can put every copied record there. With the key
that the claim commits to, each unit's side is recomputed from its own content or id. Without a key nothing is
verified, and the holdout is treated as an outsider's (PD104). It cannot see whether the generator read the holdout.
"""

import numpy as np

from audits.evidence import Evidence
from audits.registry import Outcome, check
from audits.statistics.intervals import exact

__all__ = ["committed_split"]


@check(
    id="PD103",
    name="committed-split",
    title="Does every unit stand on the side that the committed key gives it?",
    threat_model="none",
    tier="claim",
)
def committed_split(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Report the verification of the split key."""
    del rng
    split = evidence.split
    if not split.key_given:
        return Outcome("No split key was given: the sides are taken as they come.", status="skipped")
    if split.problem:
        return Outcome(
            f"The sides do not follow the committed key: {split.problem}.",
            status="fail" if split.broken else "inconclusive",
        )
    units = evidence.source.units
    return Outcome(
        f"All {units} units stand where the committed key puts them.",
        status="pass",
        estimates={
            "holdout_share": exact(evidence.holdout_units / units, units, "units on the holdout side of all units"),
        },
    )
