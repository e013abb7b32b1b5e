"""Privacy units: which records belong together, and on which side they are.

The sampling unit of every test is made here. With a unit column it is everything with one value of that column;
without, it is the distinct normalised text (all copies of a text are one unit), or the single record where the split
that is examined was drawn record by record. It computes no statistic and never shows a text.
"""

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from audits.errors import BadInputError
from audits.inputs.files import Table

__all__ = ["Source", "Synthetic", "make_source", "make_synthetic", "normalise", "redact"]

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Source:
    """Train and holdout, unit by unit. Records of one unit are adjacent and carry its index.

    Attributes:
        texts: normalised records; for record units one per unit.
        unit_of: unit index of each record, ascending.
        train: per unit, whether it is on the train side.
        names: per unit, the bytes that identify it (normalised text or unit id).
        copies: per unit, how many records of the files it stands for.
        unit: `record`, or the name of the unit column.
        sampling: what one unit is, in words.
        both_sides: number of units found on both sides before the sampling unit was chosen.
        units_available: units in the files (train, holdout), those without any text included.
        records_available: records in the files (train, holdout), empty ones included.
    """

    texts: list[str]
    unit_of: IntArray
    train: BoolArray
    names: list[bytes]
    copies: IntArray
    unit: str
    sampling: str
    both_sides: int
    units_available: tuple[int, int]
    records_available: tuple[int, int]

    @property
    def units(self) -> int:
        """Number of units, both sides together."""
        return len(self.names)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Synthetic:
    """The examined rows: distinct normalised texts, and where each first stands in the file."""

    texts: list[str]
    row: IntArray
    rows_available: int
    rows_used: int


def normalise(text: str) -> str:
    """Return the form in which records are identified: NFC, runs of whitespace made one space.

    >>> normalise(" a  b ")
    'a b'
    """
    return " ".join(unicodedata.normalize("NFC", text).split())


def redact(name: bytes, key: bytes) -> str:
    """Return the pointer under which a unit may appear in a report: keyed, so it cannot be confirmed by guessing.

    >>> redact(b"x", b"k") == redact(b"x", b"k"), len(redact(b"x", b"k"))
    (True, 16)
    """
    return hmac.new(key, b"privdistill/unit/v1\0" + name, hashlib.sha256).hexdigest()[:16]


def make_synthetic(texts: list[str]) -> Synthetic:
    """Keep each distinct non-empty text once, with its first row."""
    first: dict[str, int] = {}
    used = 0
    for row, text in enumerate(texts):
        plain = normalise(text)
        if plain:
            used += 1
            first.setdefault(plain, row)
    return Synthetic(list(first), np.fromiter(first.values(), np.int64, len(first)), len(texts), used)


def make_source(train: Table, holdout: Table | None, text: str, unit: str | None, *, by_content: bool) -> Source:
    """Group the records of both files into units.

    Args:
        train: the source that the generator read.
        holdout: records that it did not read, or None.
        text: text column of both.
        unit: unit column of both, or None for record units.
        by_content: the sides are a function of content (own split), so copies of a text cannot stand on both sides.

    Raises:
        BadInputError: a unit column has a missing value.
    """
    sides = [(train, True)] + ([(holdout, False)] if holdout is not None else [])
    available = (train.rows, holdout.rows if holdout is not None else 0)
    if unit is not None:
        return _by_column(sides, text, unit, available)
    return _by_text(sides, text, available, by_content=by_content)


def _by_column(sides: list[tuple[Table, bool]], text: str, unit: str, available: tuple[int, int]) -> Source:
    groups: dict[tuple[str, bool], list[str]] = {}
    for table, side in sides:
        for number, (value, owner) in enumerate(zip(table.columns[text], table.columns[unit], strict=True)):
            if not owner:
                raise BadInputError(f"row {number} of {table.name} has no value in the unit column {unit!r}")
            plain = normalise(value)
            groups.setdefault((owner, side), [])
            if plain:
                groups[owner, side].append(plain)
    owners = sorted(key for key, texts in groups.items() if texts)
    both = len({owner for owner, side in groups if side} & {owner for owner, side in groups if not side})
    texts = [record for key in owners for record in groups[key]]
    sizes = np.array([len(groups[key]) for key in owners], np.int64)
    return Source(
        texts=texts,
        unit_of=np.repeat(np.arange(len(owners), dtype=np.int64), sizes),
        train=np.array([side for _, side in owners], np.bool_),
        names=[owner.encode("utf-8", "surrogatepass") for owner, _ in owners],
        copies=sizes,
        unit=unit,
        sampling=f"everything with one value of column {unit!r}",
        both_sides=both,
        units_available=(sum(side for _, side in groups), sum(not side for _, side in groups)),
        records_available=available,
    )


def _by_text(sides: list[tuple[Table, bool]], text: str, available: tuple[int, int], *, by_content: bool) -> Source:
    counts: dict[str, list[int]] = {}
    empty = [0, 0]
    for table, side in sides:
        for value in table.columns[text]:
            plain = normalise(value)
            empty[side] += not plain
            if plain:
                counts.setdefault(plain, [0, 0])[side] += 1
    both = sum(1 for held, trained in counts.values() if held and trained)
    by_record = bool(both) and not by_content
    entries: list[tuple[str, bool, int]] = []
    for plain in sorted(counts):
        held, trained = counts[plain]
        if by_record:
            entries += [(plain, True, 1)] * trained + [(plain, False, 1)] * held
        elif trained and held:
            entries += [(plain, True, trained), (plain, False, held)]
        else:
            entries.append((plain, trained > 0, trained + held))
    trained_units = sum(side for _, side, _ in entries)
    return Source(
        texts=[plain for plain, _, _ in entries],
        unit_of=np.arange(len(entries), dtype=np.int64),
        train=np.array([side for _, side, _ in entries], np.bool_),
        names=[plain.encode("utf-8", "surrogatepass") for plain, _, _ in entries],
        copies=np.array([count for _, _, count in entries], np.int64),
        unit="record",
        sampling="a single record (copies of a text stand on both sides)"
        if by_record
        else "a distinct text, with all its copies",
        both_sides=both,
        units_available=(trained_units + empty[True], len(entries) - trained_units + empty[False]),
        records_available=available,
    )
