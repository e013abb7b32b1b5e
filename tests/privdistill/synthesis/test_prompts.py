from privdistill.synthesis.prompts import item_prompts, label_words


def test_names_that_say_nothing_are_not_spoken() -> None:
    labels = ["0", "1", "class_2", "cluster-3", "LABEL 4", "other", "sports_news"]
    assert label_words(labels, {}, other=5) == [None] * 6 + ["sports news"]


def test_descriptions_win_over_names() -> None:
    assert label_words(["0", "1"], {"0": "a complaint"}) == ["a complaint", None]


def test_prompts_end_right_before_an_item_and_differ_by_class() -> None:
    for words in (None, "positive"):
        for prompt in item_prompts("short movie reviews", words):
            assert prompt[-1] in "-*"
            assert ("positive" in prompt) == (words is not None)
            assert "hort movie reviews" in prompt
    assert item_prompts(None, None) == item_prompts("", None)


def test_fields_are_shown_by_name_in_every_wording() -> None:
    for words in (None, "positive"):
        for prompt in item_prompts("short letters", words, ("question", "agent_reply")):
            assert "question => agent reply" in prompt
            assert prompt[-1] in "-*"
    assert item_prompts("short letters", None, ()) == item_prompts("short letters", None)
