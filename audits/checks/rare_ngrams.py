"""PD202, rare n-grams. Threat model T0: somebody who holds the synthetic file and knows how one person writes.

The attacker looks for turns of phrase that only one person, or very few, used. A unit is flagged when an n-gram that at
most 1, 2 or 5 units of the source have appears in the synthetic corpus; flags that concentrate on the train side are
memorisation. It finds pieces too short for the verbatim check; it does not see reordered or paraphrased text.
"""

import numpy as np

from audits.evidence import Evidence
from audits.features.survivors import surviving
from audits.features.tokens import Tokens
from audits.memorisation import Leak, judge
from audits.registry import Outcome, check
from audits.statistics.intervals import rate

__all__ = ["rare_ngrams"]

_ORDERS = (4, 6, 8)
_FREQUENCIES = (1, 2, 5)
_HEADLINE = 3
_PLANTED = 300
_SNIPPET = 10


@check(
    id="PD202",
    name="rare-ngrams",
    title="Do turns of phrase that very few units used survive into the synthetic corpus?",
    threat_model="T0",
    tier="core",
)
def rare_ngrams(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Flag units whose rare n-grams appear in the synthetic corpus, train against holdout."""
    source, unit_of, reference = evidence.source_tokens, evidence.source.unit_of, evidence.reference_tokens
    found = surviving(source, unit_of, evidence.synthetic_tokens, reference, _ORDERS, _FREQUENCIES)
    units, records = evidence.some_train_records(rng, _PLANTED)
    planted = _embedded(source, records, evidence.synthetic_tokens, rng)
    again = surviving(source, unit_of, planted, reference, _ORDERS, _FREQUENCIES)  # planted rows add to the flags
    alone = int((found.behind == 1).sum())
    return judge(
        evidence,
        flags=found.flags,
        levels=tuple(f"{n} words of at most {most} unit(s)" for n in _ORDERS for most in _FREQUENCIES),
        headline=_HEADLINE,
        what="units have six words of theirs alone in a synthetic row",
        leak=Leak("quoted (ten words in a row)", (found.flags | again.flags)[units]),
        rng=rng,
        worst_cases=evidence.worst(
            np.where(np.diff(unit_of, prepend=-1) != 0, found.flags[unit_of].sum(axis=1), 0).astype(np.float64),
            found.row[unit_of],
            (found.offset[unit_of], found.matched[unit_of]),
        ),
        estimates={"survivors_of_one_unit": rate(alone, len(found.behind))} if len(found.behind) else {},
        notes=(
            f"{len(found.behind)} distinct runs of {_ORDERS[-1]} words of the source stand in the synthetic corpus",
        ),
    )


def _embedded(
    source: Tokens, records: np.typing.NDArray[np.int64], synthetic: Tokens, rng: np.random.Generator
) -> Tokens:
    """Quote ten words of each record in the middle of another text."""
    ids, lengths = [], [0]
    for record in records:
        begin, end = int(source.starts[record]), int(source.starts[record + 1])
        start = begin + int(rng.integers(0, max(end - begin - _SNIPPET, 0) + 1))
        host = int(rng.integers(0, synthetic.documents))
        around = synthetic.ids[synthetic.starts[host] : synthetic.starts[host + 1]]
        piece = source.ids[start : min(start + _SNIPPET, end)]
        text = np.concatenate([around[: len(around) // 2], piece, around[len(around) // 2 :]])
        ids.append(text)
        lengths.append(len(text))
    return Tokens(np.concatenate(ids), np.cumsum(np.array(lengths, np.int64)))
