import numpy as np

from privdistill.matching.target import read_target
from privdistill.mechanisms.release import ClassRule, StatisticRequest
from tests.privdistill.planted import answer, planted_map, planted_texts

_RULE = ClassRule(("zero", "one"))


def test_little_noise_gives_the_planted_rates() -> None:
    rng = np.random.default_rng(0)
    map_ = planted_map(rng)
    texts, labels = planted_texts(2000, rng)
    target = read_target(answer(StatisticRequest("s", _RULE, map_.blocks), texts, labels, rng, 0.01))
    assert np.allclose(target.counts, np.bincount(labels), atol=1)
    place = {int(column): i for i, column in enumerate(target.columns)}
    marks = np.array([[one.tokens[place[11]], one.tokens[place[12]]] for one in target.classes])
    assert marks[0, 0] > 1.8 * marks[0, 1]
    assert marks[1, 1] > 1.8 * marks[1, 0]
    assert np.isclose(target.lengths.sum(), 1)


def test_noise_alone_leaves_no_columns_and_pulls_means_together() -> None:
    rng = np.random.default_rng(1)
    map_ = planted_map(rng)
    texts, labels = planted_texts(3, rng)
    target = read_target(answer(StatisticRequest("s", _RULE, map_.blocks), texts, labels, rng, 50.0))
    assert target.columns.size <= 2
    assert np.all(target.counts >= 10)
    assert np.isclose(target.shares.sum(), 1)
    for one in target.classes:
        assert np.isfinite(one.mean).all()
        assert np.isclose(one.lengths.sum(), 1)
