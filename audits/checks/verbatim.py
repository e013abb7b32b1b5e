"""PD201, verbatim overlap. Threat model T0: somebody who holds the synthetic file only, and reads it.

The attacker finds text of real people by reading. A unit is flagged when a run of its words that nobody else uses
stands word for word in a synthetic row, or when a whole record equals a row; flags that concentrate on the train side
are memorisation. It does not see paraphrases, nor copies broken every three words.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from audits.evidence import Evidence
from audits.features.runs import SharedRuns, shared_runs
from audits.features.tokens import join
from audits.memorisation import Leak, judge
from audits.registry import Outcome, check

__all__ = ["verbatim"]

_BITS = (40.0, 60.0, 90.0, 140.0)
_LEVELS = (
    "a shared run of 40 bits",
    "60 bits",
    "90 bits",
    "140 bits",
    "50 words",
    "an equal record",
    "an equal record of 40 bits",
)
_PLANTED = 400
_COPIED_FILE = 0.5
_LONG_ENOUGH = 8


@check(
    id="PD201",
    name="verbatim",
    title="Does training text stand word for word in the synthetic corpus?",
    threat_model="T0",
    tier="core",
)
def verbatim(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Flag units whose private wording appears in the synthetic corpus, train against holdout."""
    runs = evidence.runs
    _, records = evidence.some_train_records(rng, _PLANTED)
    planted = evidence.source_tokens.take(records)
    bits = evidence.rarity.bits[evidence.source_tokens.places(records)]
    again = shared_runs(planted, join(evidence.synthetic_tokens, planted), bits)
    outcome = judge(
        evidence,
        flags=np.asarray(evidence.by_unit(_flags(runs)), np.bool_),
        levels=_LEVELS,
        headline=0,
        what="units share a run of words that nobody else uses with a synthetic row",
        leak=Leak("copied verbatim", _flags(again)),
        rng=rng,
        worst_cases=evidence.worst(
            np.where(runs.bits >= _BITS[0], runs.bits, 0.0), runs.row, (runs.offset, runs.matched)
        ),
        notes=(_coverage(evidence),),
    )
    return _plain_copy(evidence, outcome)


def _flags(runs: SharedRuns) -> npt.NDArray[np.bool_]:
    columns = [runs.bits >= bits for bits in _BITS]
    columns += [runs.length >= 50, runs.equal, runs.equal & (runs.self_bits >= _BITS[0])]
    return np.stack(columns, axis=1)


def _coverage(evidence: Evidence) -> str:
    words = evidence.source_tokens.lengths
    dear = int((evidence.runs.self_bits >= _BITS[0]).sum())
    return (
        f"{dear} of {len(words)} source records are long and rare enough (40 bits) for a run to be told from a phrase"
    )


def _plain_copy(evidence: Evidence, outcome: Outcome) -> Outcome:
    """Where most of the file is whole, long source records, no control is needed to call it a leak."""
    if not evidence.control_broken:
        return outcome
    lengths = evidence.synthetic_tokens.lengths
    equal = shared_runs(
        evidence.synthetic_tokens, evidence.source_tokens, np.zeros(len(evidence.synthetic_tokens.ids))
    ).equal
    long = lengths >= _LONG_ENOUGH
    copied, able = int((equal & long).sum()), int(long.sum())
    if able < 10 or copied / able < _COPIED_FILE:
        return outcome
    sentence = f"{copied} of {able} synthetic rows of {_LONG_ENOUGH} words or more are whole source records."
    return replace(outcome, status="fail", summary=sentence)
