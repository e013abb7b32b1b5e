from hypothesis import given
from hypothesis import strategies as st

from privdistill.synthesis.near_duplicates import NearDuplicates, near_duplicate_share, shingles

_WORDS = st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=9).map(" ".join)


def _similar(one: str, other: str) -> float:
    a, b = shingles(one), shingles(other)
    return len(a & b) / len(a | b)


@given(st.lists(_WORDS, max_size=30))
def test_no_two_taken_texts_are_near_duplicates(texts: list[str]) -> None:
    index = NearDuplicates(0.6)
    taken = [text for text in texts if index.add(text)]
    assert all(_similar(a, b) < 0.6 for i, a in enumerate(taken) for b in taken[:i])


def test_case_and_punctuation_do_not_make_a_text_new() -> None:
    index = NearDuplicates()
    assert index.add("A slow film, with a warm heart and no plot at all.")
    assert not index.add("a slow film with a warm heart and no plot at all")
    assert index.add("Completely different words stand in this other sentence.")


def test_scripts_without_spaces_have_near_duplicates_too() -> None:
    index = NearDuplicates()
    assert index.add("この映画は心に残る静かな物語で、何度も見たくなる。")
    assert not index.add("この映画は心に残る静かな物語で、何度でも見たくなる。")
    assert index.add("音楽が大きすぎて、話の筋がまったく分からなかった。")


def test_share_counts_later_copies_only() -> None:
    assert near_duplicate_share(["one two three", "one two three", "four five six", "seven"]) == 0.25
    assert near_duplicate_share([]) == 0.0
