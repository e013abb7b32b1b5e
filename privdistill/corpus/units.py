"""From records to privacy units on two sides.

Nothing here couples units: no near-duplicate merging, sorting by content, or scaling. It does not know mechanisms or
models.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from privdistill.config import Source
from privdistill.corpus.reader import Records, read
from privdistill.corpus.sides import is_holdout, kept_records, normalise
from privdistill.mechanisms.release import PrivateUnits

__all__ = ["Side", "Split", "draw_sides", "plant", "read_declared", "split"]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Side:
    """The records of one side, units adjacent, after the contribution bound."""

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    units: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Split:
    """Train units for the mechanisms; both sides for the examiner."""

    units: PrivateUnits
    train: Side
    holdout: Side


def read_declared(path: Path, source: Source) -> Records:
    """Read a corpus as declared.

    Raises:
        CorpusError: it cannot be read as declared.
    """
    return read(
        path,
        text_column=source.text_column,
        fields=source.fields,
        label_column=source.label_column,
        unit_column=source.unit if source.unit != "record" else None,
    )


def draw_sides(records: Records, source: Source, key: bytes) -> Split:
    """The sides of a source's records, by its key and what was declared of it."""
    return split(
        records,
        key=key,
        unit=source.unit,
        contribution_bound=source.contribution_bound or 1,
        holdout=source.holdout,
    )


def split(records: Records, *, key: bytes, unit: str, contribution_bound: int, holdout: float) -> Split:
    """Group records by unit, keep at most `contribution_bound` of each, and draw sides.

    Unit: a record, or everything with one value of the unit column. Adjacency: add or remove one unit.

    Args:
        records: as read.
        key: the source's secret key.
        unit: `record` or the unit column's name.
        contribution_bound: at most so many records of a unit are kept.
        holdout: probability of the holdout side, per unit.
    """
    groups: dict[str, list[int]] = {}
    for index, text in enumerate(records.texts):
        # A record is its own unit; the index only tells copies apart and decides nothing.
        groups.setdefault(records.units[index] if records.units else f"{index}\0{normalise(text)}", []).append(index)
    kept: dict[bool, list[tuple[str, list[int]]]] = {False: [], True: []}
    for name, members in groups.items():
        identity = name if records.units else name.split("\0", 1)[1]
        chosen = members
        if len(members) > contribution_bound:
            labels = [records.labels[i] if records.labels else "" for i in members]
            subset = kept_records(key, identity, [records.texts[i] for i in members], labels, contribution_bound)
            chosen = [members[i] for i in subset]
        kept[is_holdout(key, identity, holdout)].append((identity, chosen))
    unit_of = [number for number, (_, members) in enumerate(kept[False]) for _ in members]
    train = _side(records, kept[False])
    units = PrivateUnits(train.texts, train.labels, np.array(unit_of, dtype=np.int64), unit, contribution_bound)
    return Split(units, train, _side(records, kept[True]))


def plant(units: PrivateUnits, texts: Sequence[str], labels: Sequence[str] | None) -> PrivateUnits:
    """Append planted records, each a unit of its own, whatever it resembles.

    Guarantee: none by itself; the records are no function of any unit, so neighbours stay neighbours.
    Unit: as in `units`. Adjacency: add or remove one unit; the planted ones are the same in both corpora.
    Sensitivity: unchanged, one record each.
    """
    if not texts:
        return units
    both = None if units.labels is None or labels is None else (*units.labels, *labels)
    first = int(units.unit_of[-1]) + 1 if units.unit_of.size else 0
    unit_of = np.append(units.unit_of, first + np.arange(len(texts), dtype=np.int64))
    return replace(units, texts=(*units.texts, *texts), labels=both, unit_of=unit_of)


def _side(records: Records, groups: list[tuple[str, list[int]]]) -> Side:
    flat = [(identity, index) for identity, members in groups for index in members]
    return Side(
        tuple(records.texts[index] for _, index in flat),
        tuple(records.labels[index] for _, index in flat) if records.labels is not None else None,
        tuple(identity for identity, _ in flat),
    )
