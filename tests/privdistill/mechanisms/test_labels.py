"""The label threshold: sensitivity, tail probability, noise, and planted bugs."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from privdistill.errors import CorpusError, MechanismError
from privdistill.mechanisms import labels
from privdistill.mechanisms.labels import clean_counts, release_labels, threshold_for
from privdistill.mechanisms.release import PrivateUnits, Release
from tests.privdistill.mechanisms.conftest import make_units

GRID_STEPS, SIGMA = 2.0**28, 2.0


def release(units: PrivateUnits, delta_threshold: float = 1e-7, charge=lambda _: None) -> Release:
    return release_labels(
        units,
        noise_multiplier=SIGMA,
        grid_steps=GRID_STEPS,
        delta_discretisation=1e-12,
        delta_threshold=delta_threshold,
        charge=charge,
    )


@settings(max_examples=60)
@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=5), min_size=1, max_size=6))
def test_sensitivity_of_the_label_vector_is_one(groups: list[list[str]]) -> None:
    step = SIGMA / GRID_STEPS
    all_units = make_units([("t", y, i) for i, group in enumerate(groups) for y in group], bound=5)
    rest = make_units([("t", y, i) for i, group in enumerate(groups[1:]) for y in group], bound=5)
    a, b = clean_counts(all_units, step), clean_counts(rest, step)
    assert sum((a.get(y, 0) - b.get(y, 0)) ** 2 for y in set(a) | set(b)) <= (1 / step) ** 2


@pytest.mark.parametrize("bound", [1, 4, 30])
@pytest.mark.parametrize("delta", [1e-3, 1e-7])
def test_new_labels_pass_with_at_most_delta(bound: int, delta: float) -> None:
    threshold = threshold_for(SIGMA, delta, bound)
    worst = max(1 - norm.cdf((threshold - 1 / math.sqrt(m)) / SIGMA) ** m for m in range(1, bound + 1))
    assert worst <= delta * (1 + 1e-6)
    assert worst >= delta * 0.99


def test_a_label_of_one_unit_hardly_ever_passes_and_a_common_one_always() -> None:
    units = make_units([("t", "common", i) for i in range(200)] + [("t", "rare", 200)])
    passed = sum("rare" in release(units, 0.02).classes for _ in range(1500))
    assert passed / 1500 < 0.02 + 4 * math.sqrt(0.02 / 1500)
    assert passed > 0, "the test has no power if nothing ever passes"
    assert release(units).classes == ("common",)


def test_planted_threshold_without_its_one_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = labels.threshold_for
    monkeypatch.setattr(labels, "threshold_for", lambda *a: real(*a) - 1.5)
    units = make_units([("t", "common", i) for i in range(200)] + [("t", "rare", 200)])
    passed = sum("rare" in release(units, 0.02).classes for _ in range(1500))
    assert passed / 1500 > 0.02 + 4 * math.sqrt(0.02 / 1500)


def test_noise_of_the_counts_has_the_stated_scale() -> None:
    units = make_units([("t", "common", i) for i in range(500)])
    values = np.array([release(units).payload["label"][0] for _ in range(600)])
    assert abs(values.mean() - 500) < 5 * SIGMA / math.sqrt(600)
    assert values.std() == pytest.approx(SIGMA, rel=0.15)


def test_labels_come_out_by_noised_count() -> None:
    units = make_units([("t", y, i) for i, y in enumerate(["big"] * 400 + ["mid"] * 200 + ["low"] * 100)])
    assert release(units).classes == ("big", "mid", "low")


def test_no_label_at_all_is_said_without_a_count() -> None:
    with pytest.raises(CorpusError, match="declare the list"):
        release(make_units([("t", str(i), i) for i in range(50)]))


def test_charge_comes_first_and_an_unlabelled_corpus_is_refused() -> None:
    seen = []
    release(make_units([("t", "common", i) for i in range(100)]), charge=seen.append)
    assert [(r.name, r.kind, r.delta_threshold) for r in seen] == [("labels", "gaussian-threshold", 1e-7)]
    bare = PrivateUnits(("t",), None, np.zeros(1, np.int64), "record", 1)
    with pytest.raises(MechanismError):
        release(bare)
