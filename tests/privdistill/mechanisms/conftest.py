"""A tiny deterministic encoder and requests with every kind of block."""

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from privdistill.features.encoded import TextEncoder
from privdistill.mechanisms.release import (
    ClassRule,
    CountBlock,
    HeadGradientBlock,
    LengthBlock,
    MomentBlock,
    OpeningBlock,
    PrivateUnits,
    SecondMomentBlock,
    StatisticRequest,
    TokenBlock,
    VoteBlock,
)

WIDTH, VOCABULARY = 8, 50


class ToySentences:
    """Embeds a text by a generator seeded from the text itself."""

    width = WIDTH

    def embed(self, texts: Sequence[str], progress: Callable[[int, int], None] | None = None) -> np.ndarray:
        rows = [np.random.default_rng(zlib.crc32(text.encode())).normal(size=WIDTH) * 3 for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), WIDTH)


class ToyTokens:
    """One id per word."""

    size = VOCABULARY

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        return [[zlib.crc32(word.encode()) % VOCABULARY for word in text.split()] for text in texts]


@pytest.fixture
def encoder() -> TextEncoder:
    return TextEncoder(ToySentences(), ToyTokens(), max_tokens=16)


def make_request(classes: tuple[str, ...] = ("a", "b", "c"), other: int | None = None) -> StatisticRequest:
    rng = np.random.default_rng(7)
    centre, basis = rng.normal(size=WIDTH), np.linalg.qr(rng.normal(size=(WIDTH, 4)))[0]
    columns = np.arange(VOCABULARY, dtype=np.int64)
    columns[::7] = -1
    return StatisticRequest(
        "statistic",
        ClassRule(classes, other=other),
        (
            CountBlock(1.0),
            MomentBlock(1.5, centre, basis, 0.9),
            SecondMomentBlock(0.7, centre, basis, 0.9),
            TokenBlock(1.2, columns, VOCABULARY),
            OpeningBlock(1.1, columns, VOCABULARY, 3),
            LengthBlock(0.5, (2, 4, 8, 12)),
            HeadGradientBlock(0.8, centre, basis, 0.9, rng.normal(size=(2, len(classes), 5)), 0.6),
            VoteBlock(0.9, tuple(rng.normal(size=(k % 4, WIDTH)) for k in range(2, 2 + len(classes)))),
        ),
    )


@pytest.fixture
def request_all() -> StatisticRequest:
    return make_request()


def make_units(records: Sequence[tuple[str, str, int]], bound: int = 1) -> PrivateUnits:
    """(text, label, unit index) triples, unit indices non-decreasing."""
    return PrivateUnits(
        tuple(text for text, _, _ in records),
        tuple(label for _, label, _ in records),
        np.array([unit for _, _, unit in records], dtype=np.int64),
        "record" if bound == 1 else "person",
        bound,
    )
