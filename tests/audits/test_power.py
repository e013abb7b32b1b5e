"""What a check says it would have caught is said of a world without a leak: what was found already lends nothing."""

from types import SimpleNamespace

import numpy as np
import pytest

from audits.advantage import replace_scores
from audits.memorisation import Leak, _Plan
from audits.statistics.ranking import area

TRAIN, HOLDOUT = 1_800, 1_200
ALPHA = 0.05 / 6


def detectable(hits: int) -> float:
    """Smallest rate found, when so many units are flagged and all of them lie on the train side."""
    train = np.arange(TRAIN + HOLDOUT) < TRAIN
    evidence = SimpleNamespace(
        source=SimpleNamespace(train=train, unit="record"),
        train_units=TRAIN,
        holdout_units=HOLDOUT,
        settings=SimpleNamespace(power=0.8),
        synthetic=SimpleNamespace(rows_used=500),
    )
    flags = (np.arange(TRAIN + HOLDOUT) < hits)[:, None]
    plan = _Plan(evidence, flags, Leak("copied", np.ones((20, 1), bool)), np.random.default_rng(0))  # type: ignore[arg-type]
    found = plan.power(ALPHA).detectable
    assert found is not None
    return found


@pytest.mark.parametrize("hits", [4, 8])
def test_hits_on_the_train_side_lend_nothing_to_the_power_against_the_next(hits: int) -> None:
    assert detectable(hits) >= detectable(0)


@pytest.mark.parametrize("columns", [(), (3,)])
def test_an_advantage_that_is_there_lends_nothing_to_the_power_against_the_next(columns: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    train = np.arange(TRAIN + HOLDOUT) < TRAIN
    base = rng.normal(size=(TRAIN + HOLDOUT, *columns))
    base[train] += 1.0
    replay = replace_scores(base, base[:10] + 9.0, train)
    scores = replay(1 / TRAIN, rng)
    first = scores.reshape(len(scores), -1)[:, 0]
    assert abs(area(first, train) - 0.5) < 0.05
    assert (first > 6.0).sum() == 1  # the planted one, and nothing else
