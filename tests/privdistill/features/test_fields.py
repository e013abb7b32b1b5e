"""Joining fields is invertible, a function of one record, and stays within a line."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privdistill.features.fields import DIVIDER, divided, joined, plain_field

anything = st.text(st.sampled_from("ab =>-\n\t\r\u2028\x1c\u0338é😀.") | st.characters(codec="utf-8"), max_size=20)


@given(st.lists(anything, min_size=2, max_size=4))
def test_a_record_of_fields_is_joined_and_divided_again(values: list[str]) -> None:
    text, plain = joined(values), tuple(plain_field(value) for value in values)
    if text is None:
        assert not all(plain)
        return
    assert divided(text, len(values)) == plain
    assert joined(plain) == text  # what is plain stays as it is
    assert len(text.splitlines()) == 1
    assert text.count(DIVIDER) == len(values) - 1
    assert all(divided(text, n) is None for n in range(2, 6) if n != len(values))


@given(st.lists(st.lists(anything, min_size=2, max_size=2), min_size=1, max_size=5))
def test_different_plain_records_have_different_texts(records: list[list[str]]) -> None:
    texts = {tuple(map(plain_field, values)): joined(values) for values in records}
    kept = [text for text in texts.values() if text is not None]
    assert len(set(kept)) == len(kept)


@given(anything)
def test_a_record_of_one_field_is_left_as_it_is(value: str) -> None:
    assert joined([value]) == (value if value.strip() else None)


@pytest.mark.parametrize("text", ["", "a =>", "=> a", "a=>b", "a => b => c", "a =>  b", "a\n => b", "a  => b", "a"])
def test_what_was_not_joined_is_not_divided(text: str) -> None:
    assert divided(text, 2) is None


@pytest.mark.parametrize("values", [["", "b"], ["a", " \n"], ["a", "b", ""]])
def test_a_record_with_an_empty_field_has_no_text(values: list[str]) -> None:
    assert joined(values) is None
