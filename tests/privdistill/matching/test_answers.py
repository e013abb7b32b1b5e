import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from privdistill.matching.answers import Answers, likenesses

_GOOD = ("fine", "warm", "clever", "moving", "bright", "witty")
_BAD = ("dull", "cold", "clumsy", "tedious", "grim", "stale")
_PLAIN = ("film", "scene", "story", "actor", "music", "ending", "plot", "camera", "city", "night")


def _pool(n: int, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    labels = rng.integers(2, size=n)
    texts = [
        " ".join([*rng.choice(_PLAIN, 5), *rng.choice((_GOOD, _BAD)[label], 1), *rng.choice(_GOOD + _BAD, 1)])
        for label in labels
    ]
    return texts, labels


def _centred(answers: np.ndarray) -> np.ndarray:
    answers = answers - answers.mean(axis=0)
    return answers / np.linalg.norm(answers)


def test_the_correlation_is_that_of_the_definition() -> None:
    rng = np.random.default_rng(0)
    texts, _ = _pool(60, rng)
    teacher = rng.dirichlet(np.ones(3), size=60)
    shares = np.array([0.5, 0.3, 0.2])
    table, probes = likenesses(texts)
    assert probes.tolist() == list(range(60))
    members = [np.flatnonzero(np.arange(60) % 3 == k) for k in range(3)]
    answers = Answers(table, members, teacher, shares)
    chosen: list[tuple[int, int]] = []
    for step in range(12):
        k = step % 3
        answers.choose(k, step // 3)
        chosen.append((int(members[k][step // 3]), k))
    words = TfidfVectorizer(ngram_range=(1, 2)).fit_transform(texts)
    like = (words @ words.T).toarray()
    np.fill_diagonal(like, 0)
    given = sum(like[:, [i]] * (np.eye(3)[k] - shares) for i, k in chosen)
    aim = teacher - teacher.mean(axis=1, keepdims=True)
    assert answers.correlation == pytest.approx(float((_centred(given) * _centred(aim)).sum()), abs=1e-4)
    # And what it would be after one row more.
    ahead = answers.correlations(1)[7]
    answers.choose(1, 7)
    assert answers.correlation == pytest.approx(ahead, abs=1e-4)


def test_rows_chosen_by_their_answers_teach_more_than_as_many_at_random() -> None:
    rng = np.random.default_rng(1)
    texts, labels = _pool(900, rng)
    pool, fresh = texts[:600], texts[600:]
    flipped = np.where(rng.random(600) < 0.25, 1 - labels[:600], labels[:600])  # the pool's labels are often wrong
    teacher = np.eye(2)[labels[:600]] * 0.8 + 0.1
    table, probes = likenesses(pool)
    members = [np.flatnonzero(flipped == k) for k in range(2)]
    answers = Answers(table, members, teacher[probes], np.array([0.5, 0.5]))
    rows: list[int] = []
    alive = [np.ones(len(own), dtype=bool) for own in members]
    for step in range(40):
        k = step % 2
        best = int(np.argmax(np.where(alive[k], answers.correlations(k), -2)))
        alive[k][best] = False
        answers.choose(k, best)
        rows.append(int(members[k][best]))

    def score(chosen: list[int]) -> float:
        words = TfidfVectorizer(ngram_range=(1, 2))
        student = LogisticRegression(C=1).fit(words.fit_transform([pool[i] for i in chosen]), flipped[chosen])
        return float(student.score(words.transform(fresh), labels[600:]))

    at_random = [
        score([*rng.choice(members[0], 20, replace=False), *rng.choice(members[1], 20, replace=False)])
        for _ in range(20)
    ]
    assert score(rows) > max(at_random)


def test_texts_without_words_leave_the_choice_to_others() -> None:
    table, probes = likenesses(["!", "?", "..."])
    answers = Answers(table, [np.array([0, 2]), np.array([1])], np.full((3, 2), 0.5)[probes], np.array([0.5, 0.5]))
    assert answers.correlations(0).tolist() == [0.0, 0.0]
    answers.choose(0, 0)
    assert answers.correlation == 0.0


def test_an_empty_class_can_be_asked() -> None:
    table, probes = likenesses(["one text", "another text"])
    answers = Answers(table, [np.array([0, 1]), np.array([], dtype=int)], np.eye(2)[probes], np.array([1.0, 0.0]))
    assert len(answers.correlations(1)) == 0
