import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from privdistill.matching.student_weights import StudentWeights, pool_weights, word_features

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


def _centred(weights: np.ndarray) -> np.ndarray:
    weights = weights - weights.mean(axis=0)
    return weights / np.linalg.norm(weights)


@pytest.mark.parametrize("dense", [False, True])
def test_the_correlation_is_that_of_the_definition(dense: bool) -> None:
    rng = np.random.default_rng(0)
    texts, _ = _pool(60, rng)
    words = TfidfVectorizer(ngram_range=(1, 2)).fit_transform(texts)
    found = word_features(texts)
    assert np.array_equal(found.toarray(), words.toarray())
    shares = np.array([0.5, 0.3, 0.2])
    wanted = rng.normal(size=(3, words.shape[1]))
    members = [np.flatnonzero(np.arange(60) % 3 == k) for k in range(3)]
    student = StudentWeights(found.toarray() if dense else found, members, wanted, shares)
    assert student.correlation == 0.0
    chosen: list[tuple[int, int]] = []
    for step in range(12):
        k = step % 3
        student.choose(k, step // 3)
        chosen.append((int(members[k][step // 3]), k))
    given = sum(np.outer(np.eye(3)[k] - shares, words[i].toarray()[0]) for i, k in chosen)
    assert student.correlation == pytest.approx(float((given / np.linalg.norm(given) * _centred(wanted)).sum()))
    # And what it would be after one row more.
    ahead = student.correlations(1)[7]
    student.choose(1, 7)
    assert student.correlation == pytest.approx(ahead)


def test_the_weights_of_the_pool_are_those_of_a_student_with_soft_labels() -> None:
    rng = np.random.default_rng(2)
    texts, labels = _pool(400, rng)
    words = word_features(texts)
    weights = pool_weights(words, np.eye(2)[labels] * 0.8 + 0.1)
    assert weights.shape == (2, words.shape[1])
    assert np.allclose(weights.sum(axis=0), 0, atol=1e-3), "log-odds add up to nothing"
    fresh, truth = _pool(300, rng)
    asked = TfidfVectorizer(ngram_range=(1, 2)).fit(texts).transform(fresh)
    assert np.mean((asked @ weights.T).argmax(axis=1) == truth) > 0.75
    assert pool_weights(words, np.full((400, 3), 1 / 3)).shape == (3, words.shape[1])


def test_rows_chosen_by_what_they_teach_teach_more_than_as_many_at_random() -> None:
    rng = np.random.default_rng(1)
    texts, labels = _pool(900, rng)
    pool, fresh = texts[:600], texts[600:]
    flipped = np.where(rng.random(600) < 0.25, 1 - labels[:600], labels[:600])  # the pool's labels are often wrong
    teacher = np.eye(2)[labels[:600]] * 0.8 + 0.1
    words = word_features(pool)
    members = [np.flatnonzero(flipped == k) for k in range(2)]
    student = StudentWeights(words, members, pool_weights(words, teacher), np.array([0.5, 0.5]))
    rows: list[int] = []
    alive = [np.ones(len(own), dtype=bool) for own in members]
    for step in range(40):
        k = step % 2
        best = int(np.argmax(np.where(alive[k], student.correlations(k), -2)))
        alive[k][best] = False
        student.choose(k, best)
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
    words = word_features(["!", "?", "..."])
    wanted = pool_weights(words, np.full((3, 2), 0.5))
    student = StudentWeights(words, [np.array([0, 2]), np.array([1])], wanted, np.array([0.5, 0.5]))
    assert student.correlations(0).tolist() == [0.0, 0.0]
    student.choose(0, 0)
    assert student.correlation == 0.0


def test_an_empty_class_can_be_asked() -> None:
    words = word_features(["one text", "another text"])
    members = [np.array([0, 1]), np.array([], dtype=int)]
    student = StudentWeights(words, members, pool_weights(words, np.eye(2)), np.array([1.0, 0.0]))
    assert len(student.correlations(1)) == 0
