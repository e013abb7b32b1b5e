"""Unlabelled, one-class, 50-class, heavily imbalanced and non-English corpora: every matcher chooses what it is asked.

Tokens are drawn: real sentences of other languages go through whole recipes in `tests/privdistill/recipes`.
Statistics are planted, noise is that of a modest budget; classes that drown in it are named, never dropped.
"""

import numpy as np
import pytest

from privdistill.features.blocks import class_of
from privdistill.features.encoded import Encoded
from privdistill.matching.quotas import quotas
from privdistill.matching.target import read_target
from privdistill.mechanisms.release import ClassRule, Release, StatisticRequest
from privdistill.recipes.distribution import Choice, Ground, Measured, herded
from privdistill.recipes.gradient import aligned, head_gradients
from privdistill.recipes.metamodel import supporting
from privdistill.recipes.trajectory import expert_request, following
from privdistill.synthesis.clusters import cluster_rule
from privdistill.synthesis.measurement import make_public_map
from privdistill.synthesis.pool import Draft
from privdistill.synthesis.selection import Candidates
from privdistill.synthesis.teacher import fit_teacher, projected
from tests.privdistill.planted import RECORD, VOCABULARY, answer

WIDTH, ROWS = 12, 60
STEMS = {"non-English": "東京 の 天気 は 晴れ"}


def corpus(n: int, classes: int, rng: np.random.Generator, shares: np.ndarray) -> tuple[Encoded, np.ndarray]:
    labels = rng.choice(classes, size=n, p=shares)
    centres = np.random.default_rng(99).standard_normal((classes, WIDTH))
    points = 0.4 * rng.standard_normal((n, WIDTH)) + centres[labels]
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    tokens = tuple(rng.integers(VOCABULARY, size=int(rng.integers(3, 12))) for _ in range(n))
    return Encoded(points.astype(np.float32), tokens, np.zeros(n, dtype=bool)), labels


def matched(kind: str, matcher: str) -> tuple[Choice, Measured, Candidates]:
    rng = np.random.default_rng(3)
    classes = {"one class": 1, "fifty classes": 50, "imbalanced": 4, "unlabelled": 3, "non-English": 2}[kind]
    shares = np.array([0.97, 0.01, 0.01, 0.01]) if kind == "imbalanced" else np.full(classes, 1 / classes)
    private, labels = corpus(1500, classes, rng, shares)
    public, aims = corpus(200, classes, rng, np.full(classes, 1 / classes))
    rule = ClassRule(tuple(f"c{k}" for k in range(classes)))
    if kind == "unlabelled":
        rule = cluster_rule(public.embeddings.astype(np.float64), classes, rng)
        labels, aims = (np.array([class_of(rule, None, e) for e in one.embeddings]) for one in (private, public))
    drafts = [Draft(f"text {i}", int(k)) for i, k in enumerate(aims)]
    map_ = make_public_map(public, VOCABULARY, 1.0)
    ground = Ground(rule, [None] * classes, drafts, public, map_)
    more = head_gradients(ground) if matcher == "gradient" else ()
    release = answer(StatisticRequest("statistic", rule, (*map_.blocks, *more)), private, labels, rng, 1.0)
    target = read_target(release)
    teacher = fit_teacher(release, target, moment=map_.moment, tokens=map_.tokens, opening=map_.opening)
    pool, aims = corpus(300, classes, rng, np.full(classes, 1 / classes))
    stem = STEMS.get(kind, "the quick brown fox")
    candidates = Candidates(
        [f"{stem} {i} {i * 7} {i * 13} {i * 29} {i * 31}" for i in range(300)],
        aims,
        teacher.probabilities(pool),
        projected(pool, map_.moment),
        np.zeros((300, target.columns.size)),
        np.eye(len(map_.length.edges) + 1)[np.zeros(300, dtype=int)],
    )
    measured = Measured(ground, release, target, quotas(ROWS, target.shares), more)
    if matcher == "trajectory":
        start = expert_request(ground, release).start
        walk = np.cumsum(0.01 * rng.standard_normal((101, *start.shape)), axis=0)
        expert = Release({"iterates": walk}, {"iterates": 0.01}, RECORD, rule.names)
        return following(candidates, measured, expert=expert), measured, candidates
    choose = {"distribution": herded, "metamodel": supporting, "gradient": aligned}[matcher]
    return choose(candidates, measured), measured, candidates


@pytest.mark.parametrize("matcher", ["distribution", "metamodel", "gradient", "trajectory"])
@pytest.mark.parametrize("kind", ["one class", "fifty classes", "imbalanced", "unlabelled", "non-English"])
def test_every_matcher_chooses_exactly_what_is_asked(kind: str, matcher: str) -> None:
    choice, measured, _ = matched(kind, matcher)
    assert len(choice.rows) == len(set(choice.rows)) == len(choice.owners) == ROWS
    assert np.bincount(choice.owners, minlength=len(measured.wanted)).tolist() == list(measured.wanted)
    if choice.soft_labels is not None:
        assert choice.soft_labels.shape == (ROWS, len(measured.wanted))
        assert np.allclose(choice.soft_labels.sum(axis=1), 1)
        assert (choice.soft_labels >= 0).all()
    assert all(np.isfinite(value) for value in _numbers(dict(choice.facts)))


def _numbers(facts: object) -> list[float]:
    if isinstance(facts, dict):
        return [number for value in facts.values() for number in _numbers(value)]
    if isinstance(facts, list):
        return [number for value in facts for number in _numbers(value)]
    return [] if isinstance(facts, str) else [float(facts)]  # a name, as of the matcher that won, is no number
