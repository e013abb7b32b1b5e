"""PD204, semantic neighbours. Threat model T0: somebody who recognises in the synthetic file what a known text says.

The attacker does not look for words but for meaning: a paraphrase tells as much as a copy. A unit is flagged when its
closest synthetic row, in an encoder's space, is closer than anybody else's record by more than is usual; flags that
concentrate on the train side are memorisation. It sees what the encoder sees, and common contents have close
neighbours anyway, so rare ones are tested best.
"""

import numpy as np
import numpy.typing as npt

from audits.evidence import Evidence
from audits.features.neighbours import Neighbours, closeness, rewritten
from audits.memorisation import Leak, judge
from audits.registry import Outcome, check

__all__ = ["semantic_neighbours"]

_LEVELS = (2.5, 3.0, 3.5, 4.0, 5.0, 6.0)
_HEADLINE = 3
_PLANTED = 200
_MOST = 50_000


@check(
    id="PD204",
    name="semantic-neighbours",
    title="Do synthetic rows say what training texts say, closer than other people's texts do?",
    threat_model="T0",
    tier="encoder",
)
def semantic_neighbours(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Flag units with an unusually close synthetic row, train against holdout."""
    if evidence.encoder is None:
        return Outcome("No encoder was given.", status="skipped")
    source, synthetic = evidence.source, evidence.synthetic
    if max(len(source.texts), len(synthetic.texts)) > _MOST:
        return Outcome(
            f"{len(source.texts)} records and {len(synthetic.texts)} rows are more than exact search compares "
            f"({_MOST}); audit a random sample of units.",
            status="inconclusive",
        )
    records, rows = evidence.encoder.embed(source.texts), evidence.encoder.embed(synthetic.texts)
    found = Neighbours.of(records, source.unit_of, rows)
    gain = found.gain()
    _, chosen = evidence.some_train_records(rng, _PLANTED)
    planted = evidence.encoder.embed(rewritten([source.texts[record] for record in chosen], rng))
    own = np.einsum("ij,ij->i", records[chosen], planted).astype(np.float64)
    again = Neighbours(np.maximum(found.similarity[chosen], own), found.row[chosen], found.others[chosen]).gain()
    scores, planted_scores = closeness(gain, gain), closeness(again, gain)
    return judge(
        evidence,
        flags=np.asarray(evidence.by_unit(_flags(scores)), np.bool_),
        levels=tuple(f"{level:g} spreads closer" for level in _LEVELS),
        headline=_HEADLINE,
        what=f"units have a synthetic row {_LEVELS[_HEADLINE]:g} spreads closer than is usual",
        leak=Leak("rewritten with a fifth of the words dropped and the rest re-ordered", _flags(planted_scores)),
        rng=rng,
        worst_cases=evidence.worst(np.where(scores >= _LEVELS[_HEADLINE], scores, 0.0), found.row),
        notes=(
            f"exact search over {len(source.texts)} records and {len(synthetic.texts)} distinct rows, "
            f"{records.shape[1]} dimensions",
        ),
    )


def _flags(scores: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    return scores[:, None] >= np.array(_LEVELS)[None, :]
