"""Declared text cannot act on a terminal or in a page, and nothing of it is lost."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from privdistill.report import markdown, plain


@given(st.text())
def test_plain_text_is_one_line_without_control(text: str) -> None:
    shown = plain(text)
    assert "\n" not in shown
    assert all(unicodedata.category(c) not in ("Cc", "Cs", "Co", "Cn", "Zl", "Zp") for c in shown)
    assert len(shown.splitlines()) <= 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
        ("\x9b2J", "\\x9b2J"),
        ("a\r\nALLOWED", "a\\x0d\\x0aALLOWED"),
        ("\u202eneddih", "\\u202eneddih"),
        ("\u2028", "\\u2028"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("Grüße, 東京, שלום, 👩‍👩‍👧, می‌خواهم", "Grüße, 東京, שלום, 👩‍👩‍👧, می‌خواهم"),
    ],
)
def test_known_tricks_are_shown_and_letters_are_kept(text: str, shown: str) -> None:
    assert plain(text) == shown


@given(st.text())
def test_markdown_opens_no_tag_link_or_cell(text: str) -> None:
    shown = markdown(text)
    for mark in "<[|`*_#!&":
        assert all(shown[i - 1] == "\\" for i, c in enumerate(shown) if c == mark)
