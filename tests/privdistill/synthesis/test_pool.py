"""The shortlist of tokens: a function of what the public model wrote and of its tokenizer, and of nothing else."""

import typing
from collections import Counter
from collections.abc import Sequence

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from privdistill.features.encoded import TokenModel
from privdistill.synthesis import pool
from privdistill.synthesis.pool import Draft, public_shortlist

SIZE = 40


class Letters:
    """A tokenizer of single letters."""

    size = SIZE

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [[ord(letter) - ord("a") for letter in text] for text in texts]


TEXTS = st.lists(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1), max_size=8)


@given(texts=TEXTS, size=st.integers(2, 60), end=st.integers(0, SIZE - 1))
def test_it_holds_the_most_frequent_tokens_then_the_first_of_the_vocabulary(
    texts: list[str], size: int, end: int
) -> None:
    found = public_shortlist([Draft(text, 0) for text in texts], Letters(), size, always=[end])
    count = Counter(letter for text in texts for letter in "".join(text))
    ranked = sorted(range(SIZE), key=lambda i: (i != end, -count[chr(ord("a") + i)], i))
    assert found.tolist() == sorted(ranked[:size])
    assert found.dtype == np.int64


@given(texts=TEXTS, order=st.randoms())
def test_it_does_not_depend_on_the_order_of_the_pool(texts: list[str], order: object) -> None:
    drafts = [Draft(text, i) for i, text in enumerate(texts)]
    shuffled = list(drafts)
    order.shuffle(shuffled)
    first, second = (public_shortlist(one, Letters(), 9, always=[0]) for one in (drafts, shuffled))
    assert np.array_equal(first, second)


def test_nothing_but_drafts_and_a_tokenizer_can_be_counted() -> None:
    """No token ids, no statistic, no records: the only texts that it takes are drafts, which only the pool makes."""
    hints = typing.get_type_hints(public_shortlist)
    assert hints == {
        "pool": Sequence[Draft],
        "tokenizer": TokenModel,
        "size": int,
        "always": Sequence[int],
        "return": pool.IntArray,
    }
