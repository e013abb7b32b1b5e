"""Several teachers of one release: what they say together, what they dispute, and who is passed over for it."""

from dataclasses import replace

import numpy as np

from privdistill.matching.target import read_target
from privdistill.mechanisms.release import ClassRule, StatisticRequest
from privdistill.synthesis.panel import Panel, fit_panel
from privdistill.synthesis.selection import select
from tests.privdistill.planted import answer, planted_map, planted_texts
from tests.privdistill.synthesis.test_selection import _candidates, _target


def _panel(noise: float) -> tuple[Panel, np.random.Generator]:
    rng = np.random.default_rng(0)
    map_ = planted_map(rng)
    texts, labels = planted_texts(2000, rng)
    release = answer(StatisticRequest("s", ClassRule(("a", "b")), map_.blocks), texts, labels, rng, noise)
    seen = {"moment": map_.moment, "tokens": map_.tokens, "opening": map_.opening}
    return fit_panel(release, read_target(release), **seen), rng


def test_the_members_are_different_teachers_and_their_mean_learns() -> None:
    panel, rng = _panel(1.0)
    texts, labels = planted_texts(600, rng)
    said = [member.probabilities(texts) for member in panel.members]
    assert all(np.abs(a - b).max() > 1e-3 for i, a in enumerate(said) for b in said[i + 1 :])
    mean = panel.probabilities(texts)
    assert np.allclose(mean, np.mean(said, axis=0))
    assert np.allclose(mean.sum(axis=1), 1)
    assert (mean.argmax(axis=1) == labels).mean() > 0.85


def test_what_the_members_dispute_is_wrong_more_often() -> None:
    panel, rng = _panel(1.0)
    texts, labels = planted_texts(2000, rng)
    right = panel.probabilities(texts).argmax(axis=1) == labels
    disputed = panel.disputed(texts)
    assert 0 < disputed.sum() < len(disputed) / 2
    assert right[~disputed].mean() > right[disputed].mean() + 0.1
    assert not panel.members[0].disputed(texts).any(), "one teacher has nobody to disagree with"


def test_members_that_agree_dispute_nothing() -> None:
    panel, rng = _panel(1.0)
    texts, _ = planted_texts(50, rng)
    assert not replace(panel, members=panel.members[:1] * 5).disputed(texts).any()


def test_disputed_candidates_are_taken_last_where_that_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    pool = _candidates(300, rng)
    disputed = np.arange(300) < 150
    last = replace(pool, disputed=disputed, disputed_last=True)
    chosen, _ = select(last, _target(), [10, 10, 10])
    assert not disputed[chosen].any()
    everybody = disputed | True
    chosen, labels = select(replace(last, disputed=everybody), _target(), [10, 10, 10])
    assert np.bincount(labels).tolist() == [10, 10, 10], "nothing else is left: quotas are met all the same"
    known = replace(last, disputed_last=False)
    assert select(known, _target(), [10, 10, 10])[0] == select(pool, _target(), [10, 10, 10])[0]
    both = last + pool
    assert both.disputed is not None
    assert both.disputed.tolist() == [*disputed.tolist(), *[False] * 300]
    some = both.take(np.array([0, 299, 300]))
    assert (some.agreed.tolist(), some.disputed_last) == ([False, True, True], True)
