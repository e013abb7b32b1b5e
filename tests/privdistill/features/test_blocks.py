"""Public maps: norms, shapes, record-locality."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.features.blocks import block_vector, class_of, clip, statistic_of, unpack_symmetric
from privdistill.features.encoded import TextEncoder
from privdistill.mechanisms.release import ClassRule, MomentBlock, OpeningBlock, SecondMomentBlock, TokenBlock
from tests.privdistill.mechanisms.conftest import ToySentences, ToyTokens, make_request

ENCODER = TextEncoder(ToySentences(), ToyTokens(), max_tokens=16)
texts = st.lists(st.sampled_from(["a", "bb", "😀", "中文", "w" * 50]), max_size=30).map(" ".join)


@settings(max_examples=80)
@given(texts, st.floats(1e-30, 1e30))
def test_no_block_exceeds_its_norm_bound(text: str, stretch: float) -> None:
    encoded = ENCODER.encode([text])
    with np.errstate(over="ignore"):
        embedding = encoded.embeddings[0] * np.float32(stretch)
    for block in make_request().blocks:
        vector = block_vector(block, encoded.tokens[0], embedding, 1)
        assert np.linalg.norm(vector.values) <= block.norm_bound
        assert np.unique(vector.cells).size == vector.cells.size
        width = int(np.prod(block.shape, dtype=int))
        assert vector.cells.size == 0 or (0 <= vector.cells.min() and vector.cells.max() < width)


@settings(max_examples=40)
@given(st.lists(texts, min_size=2, max_size=6), st.randoms())
def test_encoding_is_a_function_of_each_text_alone(batch: list[str], random) -> None:
    order = list(range(len(batch)))
    random.shuffle(order)
    whole, shuffled = ENCODER.encode(batch), ENCODER.encode([batch[i] for i in order])
    for position, i in enumerate(order):
        alone = ENCODER.encode([batch[i]])
        assert (whole.embeddings[i] == shuffled.embeddings[position]).all()
        assert (whole.embeddings[i] == alone.embeddings[0]).all()
        assert (whole.tokens[i] == alone.tokens[0]).all()


def test_texts_are_cut_to_the_public_limit_and_it_is_said() -> None:
    encoded = ENCODER.encode(["a " * 16, "a " * 17, "a" * 600])
    assert [t.size for t in encoded.tokens] == [16, 16, 1]
    assert encoded.truncated.tolist() == [False, True, True]


def test_classes_come_from_the_record_alone() -> None:
    x = np.zeros(2, np.float32)
    assert class_of(ClassRule(("a", "b")), "b", x) == 1
    assert class_of(ClassRule(("a", "b")), "zzz", x) is None
    assert class_of(ClassRule(("a", "other"), other=1), "zzz", x) == 1
    centres = np.array([[1.0, 1.0], [0.1, 0.0]])
    assert class_of(ClassRule(("x", "y"), centres=centres), None, x) == 1


def test_statistics_of_public_texts_match_hand_counts() -> None:
    request = make_request()
    encoded = ENCODER.encode(["a bb", "bb bb", "w"])
    found = statistic_of(request.blocks, 3, encoded, [0, 1, None])
    assert found["count"].tolist() == [1.0, 1.0, 0.0]
    assert found["length"].sum() == 2
    assert found["second"].shape == (4, 4)
    opening = found["opening"]
    assert opening.shape == (3, 3, 50)
    assert opening[0].sum() == pytest.approx(np.sum(request.blocks[4].columns[encoded.tokens[0]] >= 0), rel=1e-6)


def test_symmetric_packing_keeps_the_norm_and_the_matrix() -> None:
    h = np.array([0.3, -0.2, 0.5])
    block = SecondMomentBlock(1.0, np.zeros(3), np.eye(3), 1.0)
    vector = block_vector(block, np.zeros(0, np.int64), h.astype(np.float32), 0)
    assert np.linalg.norm(vector.values) == pytest.approx(h @ h, rel=1e-6)
    packed = np.zeros(6)
    packed[vector.cells] = vector.values
    assert unpack_symmetric(packed, 3) == pytest.approx(np.outer(h, h), rel=1e-6, abs=1e-7)


def test_unknown_token_ids_and_empty_texts_contribute_nothing() -> None:
    block = TokenBlock(1.0, np.full(5, -1, np.int64), 3)
    assert block_vector(block, np.array([1, 99], np.int64), np.zeros(2, np.float32), 0).cells.size == 0
    opening = OpeningBlock(1.0, np.arange(5, dtype=np.int64), 5, 2)
    assert block_vector(opening, np.array([99], np.int64), np.zeros(2, np.float32), 0).cells.size == 0
    moment = MomentBlock(1.0, np.zeros(2), np.eye(2), 1.0)
    assert block_vector(moment, np.zeros(0, np.int64), np.zeros(2, np.float32), 0).values.tolist() == [0.0, 0.0]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=8), st.floats(1e-6, 1e6))
def test_clip_always_ends_within_the_bound(values: list[float], bound: float) -> None:
    assert np.linalg.norm(clip(np.array(values), bound)) <= bound
