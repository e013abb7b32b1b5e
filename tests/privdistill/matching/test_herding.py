import numpy as np

from privdistill.matching.herding import herd


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


def test_refused_candidates_are_asked_once_and_never_taken() -> None:
    asked: list[int] = []

    def accept(i: int) -> bool:
        asked.append(i)
        return i % 2 == 0

    chosen = herd(np.eye(6), np.ones(6), 6, accept=accept)
    assert sorted(chosen) == [0, 2, 4]
    assert sorted(asked) == list(range(6))
