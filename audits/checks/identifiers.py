"""PD401, identifiers replayed. Threat model T0: somebody who searches the synthetic file for contact data and secrets.

The attacker needs no model, only a pattern: e-mail addresses, phone and card numbers, IBANs, keys. A unit is flagged
when an identifier that it carries, and at most five units do, stands anywhere inside a synthetic row, whatever the
spelling; flags that concentrate on the train side are memorisation. Names, addresses and ids without a fixed format
are not seen.
"""

from collections import defaultdict

import numpy as np
import numpy.typing as npt

from audits.evidence import Evidence
from audits.features.identifiers import identifiers
from audits.memorisation import Leak, judge
from audits.registry import Outcome, check
from audits.statistics.intervals import rate

__all__ = ["replayed_identifiers"]

_LEVELS = (1, 5)
_PLANTED = 300


@check(
    id="PD401",
    name="identifiers",
    title="Do e-mail addresses, numbers or keys of training units stand in the synthetic corpus?",
    threat_model="T0",
    tier="core",
)
def replayed_identifiers(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Flag units with a rare identifier that appears in the synthetic corpus, train against holdout."""
    source = evidence.source
    carried: dict[tuple[str, str], set[int]] = defaultdict(set)
    for text, unit in zip(source.texts, source.unit_of.tolist(), strict=True):
        for found in identifiers(text):
            carried[found].add(unit)
    replayed: dict[tuple[str, str], int] = {}
    for row, text in enumerate(evidence.synthetic.texts):
        for found in identifiers(text):
            replayed.setdefault(found, row)
    known = {found for text in evidence.reference or () for found in identifiers(text)}
    flags, rows = np.zeros((source.units, len(_LEVELS)), np.bool_), np.full(source.units, -1, np.int64)
    for found in sorted(replayed.keys() & carried.keys() - known):
        owners = list(carried[found])
        flags[owners] |= np.array([len(owners) <= most for most in _LEVELS])
        rows[owners] = replayed[found]
    carriers = {unit for found, owners in carried.items() if len(owners) <= _LEVELS[-1] for unit in owners}
    held = np.isin(np.arange(source.units), list(carriers))
    kinds = sorted({kind for kind, _ in carried})
    firsts = np.where(np.diff(source.unit_of, prepend=-1) != 0, flags[source.unit_of].sum(axis=1), 0)
    return judge(
        evidence,
        flags=flags,
        levels=tuple(f"an identifier of at most {most} unit(s)" for most in _LEVELS),
        headline=1,
        what="units have an identifier of theirs in a synthetic row",
        leak=Leak("exposed by an identifier put into another text", _decoys(evidence, rng)),
        rng=rng,
        worst_cases=evidence.worst(firsts.astype(np.float64), rows[source.unit_of]),
        estimates={"carriers": rate(int(held[source.train].sum()), evidence.train_units)},
        notes=(
            f"{int(held.sum())} of {source.units} units carry a rare identifier of a known format"
            + (f" ({', '.join(kinds)})" if kinds else "; the self-test plants decoys of the same formats"),
        ),
    )


def _decoys(evidence: Evidence, rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Whether decoys, given to train units and put inside synthetic rows in another spelling, are recognised."""
    rows = evidence.synthetic.texts
    flags = np.zeros((min(_PLANTED, evidence.train_units), len(_LEVELS)), np.bool_)
    for place in range(len(flags)):
        number = "".join(map(str, rng.integers(0, 10, 8)))
        if place % 2:
            own, shown = f"someone{number}@example.org", f"SomeOne{number}@Example.org"
        else:
            own, shown = f"+1 555 2{number[:2]} {number[2:6]}", f"(555) 2{number[:2]}-{number[2:6]}"
        host = rows[int(rng.integers(0, len(rows)))]
        middle = len(host) // 2
        seen = set(identifiers(f"{host[:middle]} {shown} {host[middle:]}"))
        flags[place] = any(found in seen for found in identifiers(f"Reach me at {own}, please."))
    return flags
