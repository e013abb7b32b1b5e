"""ACME101, repeated openings. Threat model T0: somebody who holds the synthetic file and knows how a person starts.

An example of a check of one's own: one file, one function, one registration. A unit is flagged when its first five
words, which no other unit starts with, open a synthetic row; flags that concentrate on the train side are memorisation.
It misses everything after the fifth word. Delete what you do not need and keep the shape.
"""

from collections import Counter

import numpy as np

from audits.evidence import Evidence
from audits.features.tokens import tokenise
from audits.memorisation import Leak, judge
from audits.registry import Outcome, check

__all__ = ["repeated_openings"]

_WORDS = 5
_PLANTED = 200


@check(
    id="ACME101",
    name="repeated-openings",
    title="Do synthetic rows begin like a single training text?",
    threat_model="T0",
    tier="core",
)
def repeated_openings(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Flag units whose own opening opens a synthetic row, train against holdout."""
    source = evidence.source
    openings = [tuple(tokenise(text)[:_WORDS]) for text in source.texts]
    owners = Counter({opening: 0 for opening in openings})
    for opening, _ in {(opening, unit) for opening, unit in zip(openings, source.unit_of.tolist(), strict=True)}:
        owners[opening] += 1
    first_row: dict[tuple[str, ...], int] = {}
    for row, text in enumerate(evidence.synthetic.texts):
        first_row.setdefault(tuple(tokenise(text)[:_WORDS]), row)
    seen = np.array([owners[opening] == 1 and opening in first_row for opening in openings])
    rows = np.array([first_row.get(opening, -1) for opening in openings], np.int64)

    # The self-test: of some train units, how many would be flagged if a row began as they do? Those with an opening
    # of their own.
    _, records = evidence.some_train_records(rng, _PLANTED)
    planted = np.array([owners[openings[record]] == 1 for record in records.tolist()])
    return judge(
        evidence,
        flags=np.asarray(evidence.by_unit(seen), np.bool_)[:, None],
        levels=("five words",),
        headline=0,
        what="units have their own opening in a synthetic row",
        leak=Leak("copied up to their fifth word", planted[:, None]),
        rng=rng,
        worst_cases=evidence.worst(seen.astype(np.float64), rows),
    )
