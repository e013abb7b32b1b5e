"""The guarantee of the unified statistic, and planted bugs that these tests must catch.

`moves_within_sensitivity` and `noise_is_as_stated` are the two halves of the guarantee; each mutation test plants one
bug and requires one of them to fail.
"""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from privdistill.errors import MechanismError, PrivacyError
from privdistill.features import blocks as feature_blocks
from privdistill.features.encoded import Encoded, TextEncoder
from privdistill.mechanisms import statistic
from privdistill.mechanisms.release import CountBlock, MechanismRecord, PrivateUnits, StatisticRequest
from privdistill.mechanisms.statistic import clean_sum, grid_for, release_statistic
from tests.privdistill.mechanisms.conftest import ToySentences, ToyTokens, make_request, make_units

GRID_STEPS = 2.0**28
ENCODER = TextEncoder(ToySentences(), ToyTokens(), max_tokens=16)

words = st.sampled_from(["alpha", "beta", "gamma", "delta", "émile", "中文", "😀", "x" * 40])
texts = st.lists(words, min_size=0, max_size=20).map(" ".join)
labels = st.sampled_from(["a", "b", "c", "unheard-of"])
people = st.lists(st.lists(st.tuples(texts, labels), min_size=1, max_size=4), min_size=1, max_size=6)


def sums(units: PrivateUnits, request: StatisticRequest, encoder: TextEncoder = ENCODER) -> tuple[np.ndarray, float]:
    """Clean integer sum and the stated sensitivity in grid steps."""
    grid = grid_for(request, contribution_bound=units.contribution_bound, noise_multiplier=0.7, grid_steps=GRID_STEPS)
    return clean_sum(units, encoder.encode(units.texts), request, grid), grid.sensitivity / grid.step


def neighbours(groups: list[list[tuple[str, str]]], bound: int) -> tuple[PrivateUnits, PrivateUnits]:
    """The corpus with and without its first unit."""
    flat = [(text, label, i) for i, group in enumerate(groups) for text, label in group[:bound]]
    first = len(groups[0][:bound])
    return make_units(flat, bound), make_units([(t, y, i - 1) for t, y, i in flat[first:]], bound)


def moves_within_sensitivity(
    groups: list[list[tuple[str, str]]],
    bound: int,
    encoder: TextEncoder = ENCODER,
    request: StatisticRequest | None = None,
) -> bool:
    """Whether removing the first unit moves the clean sum by at most the stated L2 sensitivity."""
    request = request or make_request()
    with_unit, without = neighbours(groups, bound)
    (a, sensitivity), (b, _) = sums(with_unit, request, encoder), sums(without, request, encoder)
    return bool(np.linalg.norm((a - b).astype(np.float64)) <= sensitivity)


@settings(max_examples=60)
@given(people)
def test_record_level_sensitivity(groups: list[list[tuple[str, str]]]) -> None:
    assert moves_within_sensitivity(groups, 1)


@settings(max_examples=60)
@given(people)
def test_person_level_sensitivity(groups: list[list[tuple[str, str]]]) -> None:
    assert moves_within_sensitivity(groups, 4)


def test_the_bound_is_reached_so_the_noise_is_not_wasted() -> None:
    """A unit exists that moves the sum by more than 90 % of the stated sensitivity."""
    groups = [[("alpha beta gamma delta", "a")], [("beta", "b")]]
    with_unit, without = neighbours(groups, 1)
    (a, sensitivity), (b, _) = sums(with_unit, make_request()), sums(without, make_request())
    assert np.linalg.norm((a - b).astype(np.float64)) > 0.9 * sensitivity


@settings(max_examples=30)
@given(people, st.randoms())
def test_sums_are_exact_in_any_order(groups: list[list[tuple[str, str]]], random) -> None:
    shuffled = list(groups)
    random.shuffle(shuffled)
    request = make_request()
    a, _ = sums(neighbours(groups, 4)[0], request)
    b, _ = sums(neighbours(shuffled, 4)[0], request)
    assert (a == b).all()


def test_sensitivity_is_the_root_sum_of_squares_whatever_the_number_of_classes() -> None:
    few, many = make_request(), make_request(tuple(map(str, range(40))))
    for request in (few, many):
        grid = grid_for(request, contribution_bound=1, noise_multiplier=1.0, grid_steps=GRID_STEPS)
        by_hand = [1.0, 1.5 * 0.9, 0.7 * 0.9**2, 1.2, 1.1, 0.5, 0.8 * 0.6, 0.9]
        assert grid.sensitivity == pytest.approx(math.sqrt(sum(part**2 for part in by_hand)))


# ---------------------------------------------------------------------------------------------------------- the noise


def answer(request: StatisticRequest, units: PrivateUnits, *, noise_multiplier: float = 0.7, charge=lambda _: None):
    return release_statistic(
        units,
        ENCODER.encode(units.texts),
        request,
        noise_multiplier=noise_multiplier,
        grid_steps=GRID_STEPS,
        delta_discretisation=1e-12,
        charge=charge,
    )


WIDE = StatisticRequest("statistic", make_request(tuple(map(str, range(40)))).classes, make_request().blocks[3:5])


def noise_is_as_stated() -> bool:
    """Whether the released cells of a corpus that touches few of them are noised, all of them, at the stated scale."""
    units = make_units([("alpha beta", "0", 0), ("gamma", "1", 1)])
    release = answer(WIDE, units)
    clean, _ = sums(units, WIDE)
    grid = grid_for(WIDE, contribution_bound=1, noise_multiplier=0.7, grid_steps=GRID_STEPS)
    residuals, start = [], 0
    for block in WIDE.blocks:
        payload = release.payload[block.name]
        exact = feature_blocks.shaped(block, clean[start : start + payload.size] * grid.step / block.scale, 40)
        residuals.append(((payload - exact) / release.noise[block.name]).ravel())
        start += payload.size
    z = np.concatenate(residuals)
    return bool(stats.kstest(z, "norm").pvalue > 1e-6 and (z != 0).all() and abs(z.std() - 1) < 0.05)


def test_noise_is_gaussian_on_every_cell_at_the_stated_scale() -> None:
    assert noise_is_as_stated()
    assert 0.7 * answer(WIDE, make_units([("a", "0", 0)])).record.sensitivity / 1.2 == pytest.approx(
        answer(WIDE, make_units([("a", "0", 0)])).noise["tokens"]
    )


def test_two_releases_of_the_same_corpus_differ() -> None:
    units = make_units([("alpha beta", "0", 0)])
    assert not (answer(WIDE, units).payload["tokens"] == answer(WIDE, units).payload["tokens"]).any()


def test_the_charge_comes_before_the_noise_and_its_refusal_stops_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    real = statistic.add_discrete_gaussian
    monkeypatch.setattr(statistic, "add_discrete_gaussian", lambda *a: (order.append("noise"), real(*a))[1])
    answer(WIDE, make_units([("a", "0", 0)]), charge=lambda _: order.append("charge"))
    assert order == ["charge", "noise"]

    def refuse(record: MechanismRecord) -> None:
        raise MechanismError("drawn before")

    with pytest.raises(MechanismError):
        answer(WIDE, make_units([("a", "0", 0)]), charge=refuse)
    assert order == ["charge", "noise"]


def test_the_record_states_what_was_done(request_all: StatisticRequest) -> None:
    seen: list[MechanismRecord] = []
    release = answer(request_all, make_units([("alpha", "a", 0)]), charge=seen.append)
    assert seen == [release.record]
    assert release.record.dimension == request_all.dimension == sum(v.size for v in release.payload.values()) - 6
    assert math.isclose(
        release.record.sensitivity or 0, math.sqrt(sum(p**2 for p in release.record.sensitivity_parts.values()))
    )


def test_person_level_releases_carry_a_noised_unit_count() -> None:
    units = make_units([("alpha", "a", i // 3) for i in range(3000)], bound=3)
    release = answer(make_request(), units)
    assert release.payload["units"].shape == (1,)
    assert abs(release.payload["units"][0] - 1000) < 8 * release.noise["units"]


def test_payloads_are_close_to_the_truth_on_many_records() -> None:
    units = make_units([(f"alpha beta w{i % 9}", "abc"[i % 3], i) for i in range(3000)])
    release = answer(make_request(), units)
    encoded = ENCODER.encode(units.texts)
    truth = feature_blocks.statistic_of(make_request().blocks, 3, encoded, [i % 3 for i in range(3000)])
    for name, value in truth.items():
        assert np.abs(release.payload[name] - value).max() < 7 * release.noise[name], name


# ------------------------------------------------------------------------------------------------------- planted bugs

LONG = [[("alpha " * 20, "a"), ("alpha " * 20, "a"), ("alpha " * 20, "a")], [("beta", "b")]]
Plant = Callable[[pytest.MonkeyPatch], None]


def block_is_clipped() -> bool:
    """Whether one record's moment block keeps to its norm bound, however large its embedding."""
    encoded, block = ENCODER.encode(["alpha"]), make_request().blocks[1]
    value = feature_blocks.block_vector(block, encoded.tokens[0], encoded.embeddings[0] * 100, 0).values
    return bool(np.linalg.norm(value) <= block.norm_bound)


def no_vector_clipping(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(feature_blocks, "clip", lambda vector, bound: vector)


def no_unit_clipping(patch: pytest.MonkeyPatch) -> None:
    real = statistic.grid_for

    def loose(*args, **kwargs):
        return real(*args, **kwargs)._replace(bound=1e9)

    patch.setattr(statistic, "grid_for", loose)
    patch.setitem(globals(), "grid_for", loose)


def rounding_away_from_zero(patch: pytest.MonkeyPatch) -> None:
    class Numpy:
        def __getattr__(self, name: str):
            return (lambda x: np.sign(x) * np.ceil(np.abs(x) * 1.2)) if name == "trunc" else getattr(np, name)

    patch.setattr(statistic, "np", Numpy())


def test_planted_missing_vector_clipping_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert block_is_clipped()
    no_vector_clipping(monkeypatch)
    # Without the clip of the block, the clip of the unit as a whole still holds the norm: look at the block alone.
    assert not block_is_clipped()


def test_planted_missing_unit_clipping_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert moves_within_sensitivity(LONG, 3)
    no_unit_clipping(monkeypatch)
    assert not moves_within_sensitivity(LONG, 3)


def test_planted_rounding_away_from_zero_is_refused_at_run_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rounding_away_from_zero(monkeypatch)
    with pytest.raises(MechanismError, match="exceeds its stated sensitivity"):
        moves_within_sensitivity(LONG, 3)


def test_planted_division_by_the_exact_n_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = statistic.clean_sum

    def mean(units, encoded, request, grid):
        return real(units, encoded, request, grid) * 5 // len(units.texts)

    monkeypatch.setitem(globals(), "clean_sum", mean)
    assert not moves_within_sensitivity([[("alpha", "a")], [("beta", "b")]], 1)


def test_planted_coupled_features_are_caught() -> None:
    class Coupled(ToySentences):
        """Features that depend on how many batch mates there are, as padding to the longest one would make them."""

        def embed(self, texts, progress=None):
            rows = super().embed(texts)
            return np.roll(rows, len(texts), axis=1)

    coupled = TextEncoder(Coupled(), ToyTokens(), max_tokens=16)
    groups = [[(f"w{i} alpha", "a")] for i in range(40)]
    assert moves_within_sensitivity(groups, 1)
    assert not moves_within_sensitivity(groups, 1, coupled)


@pytest.mark.parametrize("factor", [0.5, 0.0, 2.0])
def test_planted_noise_at_another_scale_is_caught(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    real = statistic.add_discrete_gaussian
    planted = (lambda total, steps: real(total, steps * factor)) if factor else (lambda total, steps: total)
    monkeypatch.setattr(statistic, "add_discrete_gaussian", planted)
    assert not noise_is_as_stated()


def test_planted_noise_on_touched_cells_only_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = statistic.add_discrete_gaussian
    monkeypatch.setattr(
        statistic, "add_discrete_gaussian", lambda total, steps: np.where(total == 0, 0, real(total, steps))
    )
    assert not noise_is_as_stated()


def test_a_unit_above_the_contribution_bound_stops_everything() -> None:
    with pytest.raises(MechanismError, match="contribution bound"):
        sums(make_units([("a", "a", 0), ("b", "a", 0)], bound=1), make_request())


def test_too_many_cells_are_refused_before_anything_is_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(statistic, "MAX_CELLS", 3)
    charged: list[MechanismRecord] = []
    with pytest.raises(PrivacyError, match="at most 3 cells"):
        answer(make_request(), make_units([("a", "a", 0)]), charge=charged.append)
    assert charged == []


@pytest.mark.parametrize("scale", [0.0, -1.0, math.inf, math.nan])
def test_a_block_without_a_finite_positive_scale_is_refused(scale: float) -> None:
    with pytest.raises(PrivacyError):
        StatisticRequest("statistic", make_request().classes, (CountBlock(scale),))


def test_non_finite_features_become_zero_before_clipping() -> None:
    class Broken(ToySentences):
        def embed(self, texts, progress=None):
            rows = super().embed(texts)
            rows[:, 0], rows[:, 1] = np.nan, np.inf
            return rows

    encoded: Encoded = TextEncoder(Broken(), ToyTokens(), max_tokens=16).encode(["alpha"])
    assert np.isfinite(encoded.embeddings).all()
    assert np.linalg.norm(feature_blocks.clip(np.array([np.nan, np.inf, 3.0]), 1.0)) <= 1.0
    assert np.linalg.norm(feature_blocks.clip(np.full(4, 1e300), 1.0)) <= 1.0
