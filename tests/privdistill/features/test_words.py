"""Words: those of other libraries where there are spaces, single letters where there are none."""

import re

from hypothesis import given
from hypothesis import strategies as st

from privdistill.features.words import TERM, words_and_marks, words_of


@given(st.text(st.characters(max_codepoint=0x2FF)))
def test_scripts_with_spaces_read_as_ever(text: str) -> None:
    assert words_of(text) == re.findall(r"\w+", text.casefold())
    assert words_and_marks(text) == re.findall(r"\w+|[^\w\s]", text.casefold())
    assert re.findall(TERM, text) == re.findall(r"\b\w\w+\b", text)  # scikit-learn's own pattern


def test_scripts_without_spaces_are_read_letter_by_letter() -> None:
    assert words_of("映画abcを見た") == ["映", "画", "abc", "を", "見", "た"]
    assert re.findall(TERM, "映画 abc を x 見た42") == ["映", "画", "abc", "を", "見", "た", "42"]
