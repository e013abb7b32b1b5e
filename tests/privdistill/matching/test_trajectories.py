import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.matching import trajectories
from privdistill.matching.gradients import gradients_of
from privdistill.matching.kernel_ridge import with_bias
from privdistill.matching.trajectories import follow, head_probabilities, read_segments, segment_distance
from privdistill.recipes import trajectory

D, K, RATE, BOUND = 5, 3, 2.0, 0.8


def records(n: int, rng: np.random.Generator, wrong: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    labels = rng.integers(K, size=n)
    points = 0.3 * rng.standard_normal((n, D - 1))
    points[np.arange(n), labels] += 0.6
    return with_bias(points), np.where(rng.random(n) < wrong, rng.integers(K, size=n), labels)


def expert(
    x: np.ndarray,
    y: np.ndarray,
    steps: int,
    noise: float,
    rng: np.random.Generator,
    rate: float = RATE,
    bound: float = BOUND,
) -> np.ndarray:
    """Iterates of clipped gradient descent, written down from the definition."""
    iterates = [np.zeros((K, D))]
    for _ in range(steps):
        gradients = gradients_of(x[:, :-1], y, iterates[-1][None], bound).reshape(len(x), K, D)
        iterates.append(iterates[-1] - rate * gradients.mean(axis=0) + noise * rng.standard_normal((K, D)))
    return np.stack(iterates)


def segments_of(seed: int, noise: float = 0.0):
    rng = np.random.default_rng(seed)
    iterates = expert(*records(400, rng), 20, noise, rng)
    return read_segments(iterates, 4, rate=RATE, bound=BOUND, noise=noise)


def test_segments_are_cut_where_they_should_be() -> None:
    segments = segments_of(0)
    assert segments.steps == 5
    assert (segments.starts[0] == 0).all()
    assert np.allclose(segments.ends[:-1], segments.starts[1:])
    assert (segments.noise_share == 0).all()
    loud = segments_of(0, noise=5.0)
    assert loud.noise_share.mean() > 0.5


def test_the_records_themselves_lead_where_the_expert_went() -> None:
    rng = np.random.default_rng(1)
    x, y = records(400, rng)
    segments = read_segments(expert(x, y, 20, 0.0, rng), 4, rate=RATE, bound=BOUND, noise=0.0)
    assert segment_distance(x, y, segments) < 1e-9
    assert segment_distance(x, (y + 1) % K, segments) > 1
    assert segment_distance(x[:0], y[:0], segments) == pytest.approx(1)


def test_the_rate_of_the_recipe_may_go_to_and_fro_but_never_takes_a_long_step() -> None:
    """Records that all lie on one side of the public centre, with labels that nothing tells apart."""
    rng = np.random.default_rng(6)
    points = 0.01 * rng.standard_normal((60, D - 1))
    points[:, 0] += 0.97
    x, y = with_bias(points), np.arange(60) // 24 % 2  # 36 and 24 records; the third class is empty
    bound = trajectory._MAX_GRAD_NORM

    def losses(rate: float) -> np.ndarray:
        walk = expert(x, y, 60, 0.0, rng, rate, bound)
        assert np.linalg.norm(np.diff(walk, axis=0), axis=(1, 2)).max() <= rate * bound
        return np.array([-np.log(head_probabilities(x, head)[np.arange(60), y]).mean() for head in walk[1:]])

    assert np.diff(losses(2.0)[5:]).max() < 1e-3
    assert (np.diff(losses(trajectory._LEARNING_RATE)[5:]) > 1e-2).sum() > 20, "up every other step"


def by_hand(x: np.ndarray, y: np.ndarray, segments, wanted: list[int]) -> list[int]:
    """Greedy steps of the definition, gradients written out."""
    goal = segments.gradients.reshape(len(segments.starts), -1)
    scale = 1 / np.linalg.norm(goal, axis=1)
    parts = [gradients_of(x[:, :-1], y, head[None], BOUND) * s for head, s in zip(segments.middles, scale, strict=True)]
    features, target = np.hstack(parts), (goal * scale[:, None]).ravel()
    taken: list[int] = []
    while len(taken) < sum(wanted):
        have = np.bincount(y[taken], minlength=K)
        total = features[taken].sum(axis=0)
        gaps = {
            i: np.linalg.norm(total + features[i] - (len(taken) + 1) * target)
            for i in range(len(x))
            if i not in taken and have[y[i]] < wanted[y[i]]
        }
        taken.append(min(gaps, key=gaps.__getitem__))
    return taken


@given(st.integers(0, 1000))
@settings(max_examples=10)
def test_factored_inner_products_choose_what_the_definition_chooses(seed: int) -> None:
    segments = segments_of(2)
    x, y = records(25, np.random.default_rng(seed))
    wanted = [int(min(n, 3)) for n in np.bincount(y, minlength=K)]
    assert follow(x, y, segments, wanted) == by_hand(x, y, segments, wanted)


def test_planted_gradients_without_clipping_are_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    real = trajectories._residuals
    monkeypatch.setattr(trajectories, "_residuals", lambda x, y, head, bound: real(x, y, head, np.inf))
    rng = np.random.default_rng(1)
    x, y = records(400, rng)
    segments = read_segments(expert(x, y, 20, 0.0, rng), 4, rate=RATE, bound=BOUND, noise=0.0)
    assert segment_distance(x, y, segments) > 1e-4


def test_chosen_rows_follow_better_than_random_ones() -> None:
    segments = segments_of(3, noise=0.01)
    x, y = records(400, np.random.default_rng(4), wrong=0.3)
    chosen = follow(x, y, segments, [15, 15, 15])
    assert len(chosen) == len(set(chosen)) == 45
    random_rows = np.concatenate([np.flatnonzero(y == k)[:15] for k in range(K)])
    assert segment_distance(x[chosen], y[chosen], segments) < 0.7 * segment_distance(
        x[random_rows], y[random_rows], segments
    )


def test_refused_candidates_are_asked_once_and_never_taken() -> None:
    x, y = records(12, np.random.default_rng(5))
    asked: list[int] = []

    def accept(i: int) -> bool:
        asked.append(i)
        return i % 2 == 0

    assert sorted(follow(x, y, segments_of(2), [9, 9, 9], accept=accept)) == [0, 2, 4, 6, 8, 10]
    assert sorted(asked) == list(range(12))


def test_probabilities_are_those_of_the_head() -> None:
    x, _ = records(7, np.random.default_rng(6))
    found = head_probabilities(x, np.zeros((K, D)))
    assert np.allclose(found, 1 / K)
