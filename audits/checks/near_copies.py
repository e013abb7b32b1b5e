"""PD203, near-copies. Threat model T0: somebody who recognises in the synthetic file a text that was edited a little.

The attacker knows, or guesses, a person's text and finds it again with some words exchanged. A unit is flagged when
its closest synthetic row is closer than a threshold; flags that concentrate on the train side are memorisation. Mean
distances (DCR) are printed and decide nothing: a five-percent leak hardly moves them. It does not see paraphrases.
"""

import numpy as np
import numpy.typing as npt

from audits.evidence import Evidence
from audits.features.alignment import changed_words, nearest, spell
from audits.findings import Estimate
from audits.memorisation import Leak, judge
from audits.registry import Outcome, check

__all__ = ["near_copies"]

_LEVELS = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6)
_PLANTED = 300


@check(
    id="PD203",
    name="near-copies",
    title="Are synthetic rows closer to training texts than to texts that were never read?",
    threat_model="T0",
    tier="core",
)
def near_copies(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Flag units with a close synthetic row, train against holdout."""
    vocabulary = evidence.vocabulary
    source = spell(vocabulary.spell(evidence.source_tokens))
    synthetic = spell(vocabulary.spell(evidence.synthetic_tokens))
    found = nearest(source, synthetic)
    _, records = evidence.some_train_records(rng, _PLANTED)
    originals = [source.texts[record] for record in records]
    altered = list(changed_words([text.split() for text in originals], rng))
    again = nearest(spell(originals), spell(synthetic.texts + altered))
    compared = int((found.row >= 0).sum())
    return judge(
        evidence,
        flags=np.asarray(evidence.by_unit(_flags(found.similarity)), np.bool_),
        levels=tuple(f"similarity {level:g}" for level in _LEVELS),
        headline=3,
        what="units have a synthetic row of similarity 0.8 or more",
        leak=Leak("copied with one word in twelve changed", _flags(again.similarity)),
        rng=rng,
        worst_cases=evidence.worst(
            np.where(found.similarity >= 0.8, found.similarity, 0.0),
            found.row,
            (np.zeros_like(found.row), evidence.synthetic_tokens.lengths[found.row]),
        ),
        estimates=_distances(evidence, np.asarray(evidence.by_unit(found.similarity), np.float64), rng),
        notes=(
            f"{compared} of {len(source.texts)} source records had a candidate row; the others share no rare "
            "4-gram with any row, or are shorter than twenty characters",
        ),
    )


def _flags(similarity: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return similarity[:, None] >= np.array(_LEVELS)[None, :]


def _distances(
    evidence: Evidence, similarity: npt.NDArray[np.float64], rng: np.random.Generator
) -> dict[str, Estimate]:
    """Difference of mean distances to the closest row, printed for comparison only."""
    if not evidence.has_control:
        return {}
    train = evidence.source.train
    ours, others = 1 - similarity[train], 1 - similarity[~train]
    draws = np.array([rng.choice(others, len(others)).mean() - rng.choice(ours, len(ours)).mean() for _ in range(500)])
    low, high = np.quantile(draws, [0.025, 0.975])
    gap = float(others.mean() - ours.mean())
    return {
        "distance_difference": Estimate(
            value=gap,
            low=float(min(low, gap)),
            high=float(max(high, gap)),
            n=len(similarity),
            method="mean distance to the closest row, holdout minus train; 95 % bootstrap; decides nothing",
        )
    }
