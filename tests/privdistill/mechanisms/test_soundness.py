"""A request without a meaning is found before a record is touched; what built-in recipes ask for always has one."""

from dataclasses import replace

import numpy as np
import pytest

from privdistill.errors import PrivacyError
from privdistill.mechanisms.release import (
    ClassRule,
    CountBlock,
    ExpertRequest,
    HeadGradientBlock,
    LengthBlock,
    MomentBlock,
    OpeningBlock,
    SecondMomentBlock,
    StatisticRequest,
    TokenBlock,
    VoteBlock,
)
from privdistill.mechanisms.soundness import require_sound

D, COLUMNS = 8, 3
RULE = ClassRule(("a", "b"))
CENTRE, BASIS = np.zeros(D), np.ones((D, COLUMNS))
IDS = np.array([-1, 0, 1])
BLOCKS = (
    CountBlock(1.0),
    MomentBlock(1.0, CENTRE, BASIS, 1.0),
    SecondMomentBlock(1.0, CENTRE, BASIS, 1.0),
    TokenBlock(1.0, IDS, 2),
    OpeningBlock(1.0, IDS, 2, 3),
    LengthBlock(1.0, (4, 8)),
    HeadGradientBlock(1.0, CENTRE, BASIS, 1.0, np.zeros((2, 2, COLUMNS + 1)), 1.0),
    VoteBlock(1.0, (np.zeros((5, D)), np.zeros((0, D)))),
)
EXPERT = ExpertRequest("e", RULE, CENTRE, BASIS, 1.0, np.zeros((2, COLUMNS + 1)), 1.0, 10.0, 0.1)


def of(*blocks, rule: ClassRule = RULE) -> StatisticRequest:
    return StatisticRequest("s", rule, blocks)


MEANINGLESS = {
    "no class": of(CountBlock(1.0), rule=ClassRule(())),
    "a class twice": of(CountBlock(1.0), rule=ClassRule(("a", "a"))),
    "unknown labels nowhere": of(CountBlock(1.0), rule=ClassRule(("a",), other=1)),
    "centres of another number": of(CountBlock(1.0), rule=ClassRule(("a", "b"), np.zeros((3, D)))),
    "centres of another width": of(CountBlock(1.0), rule=ClassRule(("a", "b"), np.zeros((2, D + 1)))),
    "a scale that overflows": of(CountBlock(1e200)),
    "a map of another width": of(MomentBlock(1.0, np.zeros(D + 1), BASIS, 1.0)),
    "a map that overflows": of(MomentBlock(1.0, CENTRE, BASIS * 1e300, 1.0)),
    "a map without columns": of(SecondMomentBlock(1.0, CENTRE, np.zeros((D, 0)), 1.0)),
    "a cell of another block": of(TokenBlock(1.0, np.array([0, 2]), 2)),
    "a cell before the first": of(TokenBlock(1.0, np.array([0, -2]), 2)),
    "more cells than numbers": of(OpeningBlock(1.0, IDS, 2**32, 2**32)),
    "lengths that go back": of(LengthBlock(1.0, (8, 4))),
    "weights of other classes": of(HeadGradientBlock(1.0, CENTRE, BASIS, 1.0, np.zeros((2, 3, COLUMNS + 1)), 1.0)),
    "candidates of one class": of(VoteBlock(1.0, (np.zeros((5, D)),))),
    "candidates that are none": of(VoteBlock(1.0, (np.full((5, D), np.nan), np.zeros((5, D))))),
    "a start of another shape": replace(EXPERT, start=np.zeros((3, COLUMNS + 1))),
    "a start that overflows": replace(EXPERT, start=np.full((2, COLUMNS + 1), 1e300)),
    "a rate that is none": replace(EXPERT, learning_rate=float("nan")),
    "a momentum that grows": replace(EXPERT, momentum=1.0),
    "a norm next to nothing": replace(EXPERT, max_grad_norm=1e-320),
}


@pytest.mark.parametrize("what", MEANINGLESS)
def test_what_has_no_meaning_is_refused(what: str) -> None:
    with pytest.raises(PrivacyError, match="has no meaning"):
        require_sound(MEANINGLESS[what], width=D)


def test_every_kind_of_block_can_have_a_meaning() -> None:
    require_sound(of(*BLOCKS), width=D)
    require_sound(EXPERT, width=D)


def test_what_has_no_meaning_is_refused_before_it_is_charged() -> None:
    """At the door, where a token that one record holds would otherwise have made the difference."""
    from privdistill.accounting.budget import calibrate
    from privdistill.features.encoded import TextEncoder
    from privdistill.mechanisms.door import Door
    from privdistill.mechanisms.release import PrivateUnits
    from tests.privdistill.mechanisms.conftest import ToySentences, ToyTokens

    encoder = TextEncoder(ToySentences(), ToyTokens(), 16)
    units = PrivateUnits(("one text",), None, np.zeros(1, np.int64), "record", 1)
    charged: list[object] = []
    door = Door(units, encoder, calibrate(1.0, 1e-6, {"s": 1.0}, threshold=False), charged.append)
    columns = np.full(encoder.vocabulary_size, -1)
    columns[0] = 7
    with pytest.raises(PrivacyError, match="column numbers"):
        door.answer(StatisticRequest("s", ClassRule(("all",), other=0), (TokenBlock(1.0, columns, 2),)))
    assert not charged
