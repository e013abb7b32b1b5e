import numpy as np

from privdistill.matching.herding import Herd, herd


def test_the_selected_mean_comes_closer_to_the_target_than_chance() -> None:
    rng = np.random.default_rng(0)
    features = rng.standard_normal((400, 8))
    target = np.full(8, 0.4)
    chosen = herd(features, target, 50)
    random_gap = np.linalg.norm(features[:50].mean(axis=0) - target)
    assert np.linalg.norm(features[chosen].mean(axis=0) - target) < 0.2 * random_gap


def test_each_step_is_the_greedy_step_of_the_definition() -> None:
    rng = np.random.default_rng(1)
    features, target = rng.standard_normal((30, 4)), rng.standard_normal(4)
    taken: list[int] = []
    for _ in range(10):
        options = [i for i in range(30) if i not in taken]
        total = features[taken].sum(axis=0)
        gaps = [np.linalg.norm(total + features[i] - (len(taken) + 1) * target) for i in options]
        taken.append(options[int(np.argmin(gaps))])
    assert herd(features, target, 10) == taken


def test_a_refused_candidate_is_never_offered_again() -> None:
    found = Herd(np.eye(6), np.ones(6))
    asked: list[int] = []
    while found:
        i = found.best()
        asked.append(i)
        if i % 2:
            found.refuse(i)
        else:
            found.take(i)
    assert sorted(found.taken) == [0, 2, 4]
    assert sorted(asked) == list(range(6))


def test_a_further_cost_decides_between_equals() -> None:
    found = Herd(np.ones((4, 2)), np.ones(2))
    assert found.best(np.array([3.0, 2.0, 0.5, 1.0])) == 2
