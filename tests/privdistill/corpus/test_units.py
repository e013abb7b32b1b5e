"""Sides and contribution subsets depend on the key and on one unit alone."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.corpus.reader import Records
from privdistill.corpus.sides import commitment, is_holdout, kept_records, normalise
from privdistill.corpus.units import Split, split

KEY = bytes(range(32))
ids = st.text(min_size=1, max_size=6)


def cut(rows: list[tuple[str, str, str]], *, person: bool = True, bound: int = 2, key: bytes = KEY) -> Split:
    records = Records(
        tuple(r[0] for r in rows), tuple(r[1] for r in rows), tuple(r[2] for r in rows) if person else None
    )
    return split(records, key=key, unit="who" if person else "record", contribution_bound=bound, holdout=0.3)


def contents(side) -> dict[str, list[tuple[str, str]]]:
    out: dict[str, list[tuple[str, str]]] = {}
    for text, label, unit in zip(side.texts, side.labels, side.units, strict=True):
        out.setdefault(unit, []).append((text, label))
    return {unit: sorted(rows) for unit, rows in out.items()}


@settings(max_examples=60)
@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.sampled_from("xy"), ids), min_size=1, max_size=20))
def test_adding_or_removing_a_unit_changes_nothing_about_the_others(rows: list[tuple[str, str, str]]) -> None:
    everything, gone = cut(rows), rows[0][2]
    without = cut([row for row in rows if row[2] != gone] or [("t", "x", "another")])
    for a, b in ((everything.train, without.train), (everything.holdout, without.holdout)):
        left, right = contents(a), contents(b)
        left.pop(gone, None)
        right.pop("another", None)
        assert {u: r for u, r in left.items() if u != "another"} == right


@settings(max_examples=60)
@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.sampled_from("xy"), ids), min_size=1, max_size=20))
def test_no_unit_exceeds_the_bound_and_units_are_adjacent(rows: list[tuple[str, str, str]]) -> None:
    units = cut(rows).units
    assert all(high - low <= 2 for low, high in units.spans())
    assert len({u for u in units.unit_of.tolist()}) == len(units.spans())


def test_the_kept_subset_does_not_depend_on_file_order() -> None:
    texts, labels = [f"text {i}" for i in range(9)], ["x"] * 9
    kept = {texts[i] for i in kept_records(KEY, "p", texts, labels, 3)}
    backwards = {texts[::-1][i] for i in kept_records(KEY, "p", texts[::-1], labels, 3)}
    assert kept == backwards
    assert len(kept) == 3


def test_exact_copies_share_a_side_and_stay_separate_units() -> None:
    rows = [(text, "x", "") for text in ("one  two", "one two ", "e\u0301te\u0301", "\u00e9t\u00e9")] * 3
    parts = cut(rows, person=False, bound=1)
    for a, b in (("one two", "one  two"), ("\u00e9t\u00e9", "e\u0301te\u0301")):
        assert normalise(a) == normalise(b)
    sides = [{normalise(t) for t in side.texts} for side in (parts.train, parts.holdout)]
    assert not sides[0] & sides[1]
    assert len(parts.units.spans()) == len(parts.train.texts)


def test_the_holdout_share_is_binomial_over_units() -> None:
    share = np.mean([is_holdout(KEY, f"unit {i}", 0.3) for i in range(20_000)])
    assert abs(share - 0.3) < 4 * (0.21 / 20_000) ** 0.5


def test_another_key_draws_other_sides_and_another_commitment() -> None:
    other = bytes(32)
    assert [is_holdout(KEY, str(i), 0.5) for i in range(64)] != [is_holdout(other, str(i), 0.5) for i in range(64)]
    assert commitment(KEY) != commitment(other)
    assert KEY.hex() not in commitment(KEY)


def test_private_objects_do_not_print_themselves() -> None:
    parts = cut([("the-secret", "x", "p")])
    assert "the-secret" not in repr(parts) + repr(parts.train) + repr(parts.units)
