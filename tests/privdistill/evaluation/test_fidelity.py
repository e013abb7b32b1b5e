"""Form of texts; distances between samples against scipy and naive code."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import linalg

from privdistill.evaluation.fidelity import (
    divergence_area,
    form_of,
    frechet,
    length_distance,
    neighbour_shares,
    samples_apart,
)


def test_faults_of_form_are_counted() -> None:
    texts = ["Sure, here it is.", "A film that never ends", "A film that never ends", "My short movie reviews."]
    report = form_of(texts, "short movie reviews")
    assert report.preambles == 0.25
    assert report.unfinished == 0.5
    assert report.near_duplicates == 0.25
    assert report.echoes == 0.25
    assert report.repeated_openings == 0.5


def test_no_texts_are_no_faults() -> None:
    assert form_of([]).near_duplicates == 0.0


def test_length_distance_is_zero_for_the_same_and_one_for_disjoint() -> None:
    short, long = ["a b c"] * 5, [" ".join("w" * 30)] * 5
    assert length_distance(short, short) == 0.0
    assert length_distance(short, long) == 1.0
    assert length_distance([], short) == 1.0


def test_the_frechet_distance_is_that_of_the_matrix_square_root() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(80, 5)), rng.normal(size=(90, 5)) @ rng.normal(size=(5, 5)) + 1
    first, second = np.cov(one, rowvar=False), np.cov(other, rowvar=False)
    gap = one.mean(axis=0) - other.mean(axis=0)
    expected = gap @ gap + np.trace(first + second - 2 * np.real(linalg.sqrtm(first @ second)))
    assert frechet(one, other) == pytest.approx(expected, rel=1e-6)
    assert frechet(one, one) == pytest.approx(0.0, abs=1e-8)


def test_the_divergence_area_is_one_for_equal_and_near_zero_for_disjoint_histograms() -> None:
    assert divergence_area([30, 30, 30], [30, 30, 30]) == pytest.approx(1.0, abs=1e-9)
    assert divergence_area([1000, 1000, 0, 0], [0, 0, 1000, 1000]) < 0.02
    one, other = [40, 30, 20, 10], [10, 20, 30, 40]
    assert divergence_area(one, other) == pytest.approx(divergence_area(other, one), abs=1e-9)
    assert 0.1 < divergence_area(one, other) < 0.9


def test_the_divergence_area_is_the_trapezoid_over_a_fine_curve() -> None:
    """Against a naive sum over 20,000 mixtures."""
    p, q = np.array([40.5, 30.5, 20.5, 10.5]) / 102, np.array([10.5, 20.5, 30.5, 40.5]) / 102
    points = []
    for w in np.linspace(1e-9, 1 - 1e-9, 20_000):
        r = w * p + (1 - w) * q
        points.append((np.exp(-5 * sum(q * np.log(q / r))), np.exp(-5 * sum(p * np.log(p / r)))))
    points = sorted([*points, (0.0, 1.0), (1.0, 0.0)], key=lambda one: (one[0], -one[1]))
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in pairwise(points))
    assert divergence_area([40, 30, 20, 10], [10, 20, 30, 40]) == pytest.approx(area, abs=2e-3)


def naive_share(inside: np.ndarray, outside: np.ndarray) -> float:
    """Share of `outside` points within the fifth-neighbour ball of some point of `inside`."""
    radius = [sorted(np.linalg.norm(inside - p, axis=1))[5] for p in inside]
    hits = [any(np.linalg.norm(x - p) <= r + 1e-9 for p, r in zip(inside, radius, strict=True)) for x in outside]
    return float(np.mean(hits))


def test_precision_and_recall_are_those_of_naive_loops() -> None:
    rng = np.random.default_rng(3)
    one, other = rng.normal(size=(40, 3)), 2.5 * rng.normal(size=(50, 3))
    assert neighbour_shares(one, other) == pytest.approx((naive_share(other, one), naive_share(one, other)))


def test_a_collapsed_sample_has_precision_and_no_recall() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=(300, 4))
    collapsed = 0.05 * rng.normal(size=(300, 4))
    found = samples_apart(collapsed, real, rng)
    assert found.precision.value > 0.95
    assert found.recall.value < 0.1
    same = samples_apart(real, rng.normal(size=(300, 4)), rng)
    assert same.recall.value > 0.7
    assert same.frechet.value < 0.2 < found.frechet.value
    assert found.mauve.value < 0.5 < same.mauve.value
    assert same.frechet.n == 300
    for one in (found.frechet, found.mauve, found.precision, found.recall):
        assert 0.0 <= one.low <= one.value <= one.high
        assert one.low < one.high
        assert "halves" in one.method
    for one in (found, same):
        assert max(one.mauve.high, one.precision.high, one.recall.high) <= 1.0
