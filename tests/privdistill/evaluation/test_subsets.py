"""Small parts of labelled texts: sizes, distinct rows, and that each choice does what its name says."""

import numpy as np
import pytest

from privdistill.evaluation.subsets import SELECTIONS, Sample, centroids, per_class, proportional


def sample(sizes: dict[str, int], seed: int = 0, width: int = 6) -> Sample:
    rng = np.random.default_rng(seed)
    labels = tuple(name for name, n in sizes.items() for _ in range(n))
    points = rng.normal(size=(len(labels), width)) + np.array([[len(label)] for label in labels])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    texts = tuple(f"text {i}" for i in range(len(labels)))
    return Sample(texts, labels, {"encoder": points.astype(np.float32)})


@pytest.mark.parametrize("name", SELECTIONS)
def test_each_choice_takes_as_many_distinct_rows_of_each_class_as_asked(name: str) -> None:
    corpus = sample({"a": 60, "bb": 30, "cccc": 7})
    wanted = {"a": 12, "bb": 5, "cccc": 7}
    rows = SELECTIONS[name](corpus, wanted, np.random.default_rng(0))
    assert len(set(rows.tolist())) == len(rows)
    part = corpus.take(rows)
    assert {label: part.labels.count(label) for label in wanted} == wanted
    assert np.array_equal(part.spaces["encoder"], corpus.spaces["encoder"][rows])
    assert part.texts == tuple(corpus.texts[i] for i in rows)


@pytest.mark.parametrize("name", SELECTIONS)
def test_a_class_may_get_no_row_at_all(name: str) -> None:
    corpus = sample({"a": 90, "bb": 10})
    rows = SELECTIONS[name](corpus, proportional(corpus, 1), np.random.default_rng(0))
    assert corpus.take(rows).labels == ("a",)


def test_herding_comes_nearer_to_the_class_mean_than_random_rows() -> None:
    corpus = sample({"a": 200})
    points, mean = corpus.spaces["encoder"], corpus.spaces["encoder"].mean(axis=0)

    def miss(name: str, seed: int) -> float:
        rows = SELECTIONS[name](corpus, {"a": 10}, np.random.default_rng(seed))
        return float(np.linalg.norm(points[rows].mean(axis=0) - mean))

    assert miss("herding", 0) < 0.6 * np.median([miss("random", seed) for seed in range(20)])


def test_k_centers_cover_better_than_random_rows() -> None:
    corpus = sample({"a": 200})
    points = corpus.spaces["encoder"]

    def cost(name: str, seed: int) -> float:
        rows = SELECTIONS[name](corpus, {"a": 10}, np.random.default_rng(seed))
        return float((np.linalg.norm(points[:, None] - points[rows][None], axis=2).min(axis=1) ** 2).mean())

    assert cost("k-center", 0) < min(cost("random", seed) for seed in range(20))


@pytest.mark.parametrize("classes", [2, 9])
def test_gradient_similarity_matches_the_mean_loss_gradient(classes: int) -> None:
    """Against gradients written out; with nine classes they are projected, which must lose little."""
    from sklearn.linear_model import LogisticRegression

    corpus = sample({"a" * (k + 1): 40 for k in range(classes)}, width=160)
    points = corpus.spaces["encoder"].astype(np.float64)
    head = LogisticRegression(C=0.1, max_iter=1000).fit(points, list(corpus.labels))
    residuals = head.predict_proba(points)
    residuals[np.arange(len(points)), [list(head.classes_).index(y) for y in corpus.labels]] -= 1
    gradients = np.stack([np.outer(r, [*h, 1.0]).ravel() for r, h in zip(residuals, points, strict=True)])

    def miss(name: str, seed: int) -> float:
        rows = SELECTIONS[name](corpus, per_class(corpus, 8), np.random.default_rng(seed))
        errors = []
        for members in corpus.members().values():
            own = np.intersect1d(rows, members)
            errors.append(np.linalg.norm(gradients[own].mean(axis=0) - gradients[members].mean(axis=0)))
        return float(np.mean(errors))

    assert miss("gradient similarity", 0) < min(miss("random", seed) for seed in range(10))


def test_sizes_follow_class_shares_and_never_exceed_a_class() -> None:
    corpus = sample({"a": 90, "bb": 10})
    assert proportional(corpus, 20) == {"a": 18, "bb": 2}
    assert proportional(corpus, 1000) == {"a": 90, "bb": 10}
    assert per_class(corpus, 50) == {"a": 50, "bb": 10}


def test_centres_are_no_texts_and_have_unit_norm_and_their_nearest_texts_are_rows() -> None:
    corpus = sample({"a": 40, "bb": 40})
    vectors, rows = centroids(corpus, {"a": 3, "bb": 3}, np.random.default_rng(0))
    assert vectors.labels == ("a",) * 3 + ("bb",) * 3
    assert np.allclose(np.linalg.norm(vectors.spaces["encoder"], axis=1), 1.0, atol=1e-6)
    assert corpus.take(rows).labels == vectors.labels
