import pytest

from privdistill.synthesis.form import ends_whole, has_preamble, tidy


def _tidy(text: str, ended: bool = True, words: int = 12, whole: bool = True) -> str | None:
    return tidy(text, ended, within=lambda one: len(one.split()) <= words, whole_sentences=whole)


@pytest.mark.parametrize(
    "text",
    [
        "Here is a review of the film.",
        "Here's one example for you.",
        "Sure, this is a good film.",
        "Review: a good film.",
        "Q: what is this?",
        "As an AI I cannot say.",
        "Example 3: a good film.",
        "Example of visual culture: a good film.",
        "Examples abound in this film.",
        "Here is art.",
        "Certainly, this is a good film.",
        "I'm sorry, I have seen no film.",
        "The following is a list of films.",
    ],
)
def test_chat_manners_are_recognised_and_dropped(text: str) -> None:
    assert has_preamble(text)
    assert _tidy(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "Here, love is a battlefield.",
        "Surely the best film of the year.",
        "Reviewers were kind.",
        "An example of how to end a film.",
        "Exemplary work from all of them.",
    ],
)
def test_ordinary_openings_are_kept(text: str) -> None:
    assert not has_preamble(text)
    assert _tidy(text) == text


def test_a_cut_off_text_keeps_its_whole_sentences_only() -> None:
    assert _tidy("It is warm. It is also ver", ended=False) == "It is warm."
    assert _tidy("It is also ver", ended=False) is None


def test_a_long_text_loses_sentences_from_its_end() -> None:
    assert _tidy("One two three. Four five six. Seven eight nine.", words=6) == "One two three. Four five six."


def test_lists_quotes_and_markup_are_undone_or_dropped() -> None:
    assert _tidy('"A bold and moving film."') == "A bold and moving film."
    assert _tidy("- A bold film.") == "A bold film."
    assert _tidy("A **bold** film.") is None
    assert _tidy('He said "no.') is None
    assert _tidy("See https://example.org now.") is None


def test_sentence_marks_are_asked_for_only_where_the_domain_has_them() -> None:
    assert _tidy("see you at nine", whole=False) == "see you at nine"
    assert _tidy("see you at nine") is None
    assert ends_whole("Who ?")
    assert ends_whole("「そうだ。」") is False
    assert ends_whole("そうだ。")


@pytest.mark.parametrize("text", ["東京の天気は晴れです。", "今天天气很好！", "อากาศดีมากวันนี้.", "الطقس جميل اليوم."])
def test_a_text_needs_no_spaces_where_its_script_has_none(text: str) -> None:
    assert _tidy(text) == text
    assert _tidy("word.") is None


def test_sentences_that_no_space_divides_are_told_apart() -> None:
    assert _tidy("駅前のパン屋は静かです。とても", ended=False) == "駅前のパン屋は静かです。"


@pytest.mark.parametrize(
    ("text", "fields", "kept"),
    [
        ("What is owed? => 12 euros", 2, True),
        ("What is owed?", 2, False),
        ("What is owed? => 12 => euros", 2, False),
        ("What is owed? => 12 => euros", 3, True),
        ("What is owed? =>", 2, False),
    ],
)
def test_a_text_has_as_many_fields_as_declared(text: str, fields: int, kept: bool) -> None:
    found = tidy(text, True, within=lambda _: True, whole_sentences=False, fields=fields)
    assert found == (text if kept else None)


def test_a_text_that_was_cut_within_its_last_field_is_dropped() -> None:
    assert tidy("It is warm. => It is als", False, within=lambda _: True, whole_sentences=False, fields=2) is None
