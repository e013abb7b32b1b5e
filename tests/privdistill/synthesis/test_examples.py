import numpy as np
import pytest

from privdistill.matching.target import ClassTarget, NoisyTarget
from privdistill.synthesis import examples
from privdistill.synthesis.examples import contrast, example_prompts, examples_help, shots
from privdistill.synthesis.selection import Candidates

_RATES = np.array([[0.5, 0.1, 0.2, 0.05], [0.1, 0.5, 0.2, 0.02]])


def _target() -> NoisyTarget:
    classes = tuple(ClassTarget(np.zeros(2), row, np.array([0.5, 0.5])) for row in _RATES)
    return NoisyTarget(
        ("a", "b"), np.full(2, 100.0), np.arange(4), classes, np.array([0.5, 0.5]), np.full(2, 0.01)
    )  # fmt: skip


def _candidates(rng: np.random.Generator, tokens: np.ndarray, aims: np.ndarray) -> Candidates:
    n = len(aims)
    texts = [f"{'ab'[aim]} " + " ".join(f"w{rng.integers(10_000)}" for _ in range(8)) for aim in aims]
    return Candidates(
        texts, aims, np.eye(2)[aims] * 0.98 + 0.01, rng.standard_normal((n, 2)), tokens, np.eye(2)[np.arange(n) % 2]
    )  # fmt: skip


def _written(rng: np.random.Generator, rates: np.ndarray, n: int) -> Candidates:
    """`n` texts in all whose tokens come up at the rates of their class."""
    aims = np.arange(n) % 2
    return _candidates(rng, (rng.random((n, 4)) < rates[aims]).astype(float), aims)


_ALIKE = np.tile(_RATES.mean(axis=0), (2, 1))


def test_examples_are_shown_only_where_they_set_classes_apart_more_like_the_corpus() -> None:
    rng = np.random.default_rng(0)
    near, far = _written(rng, _RATES, 900), _written(rng, 0.7 * _ALIKE + 0.3 * _RATES[:, [0, 2, 1, 3]], 900)
    assert examples_help(far, near, _target())[0]
    assert not examples_help(near, far, _target())[0]


def test_equals_are_told_apart_seldom() -> None:
    """Two halves written alike: the longer prompts are not worth it."""
    rng, rates = np.random.default_rng(0), 0.6 * _ALIKE + 0.4 * _RATES
    helped = [examples_help(_written(rng, rates, 60), _written(rng, rates, 60), _target())[0] for _ in range(200)]
    assert np.mean(helped) < 0.25  # about one in six at one standard deviation


def test_how_common_a_word_is_does_not_enter() -> None:
    rng = np.random.default_rng(0)
    more = _RATES + np.array([0.0, 0.0, 0.7, 0.0])
    same, other = (contrast(_written(rng, rates, 4000), _target()) for rates in (_RATES, more))
    assert same == pytest.approx(1.0, abs=0.02)
    assert other == pytest.approx(1.0, abs=0.02)


def test_fewer_texts_are_at_no_disadvantage(monkeypatch: pytest.MonkeyPatch) -> None:
    """Means of few texts are off by more than means of many: without a correction their contrast looks worse."""
    rng, rates = np.random.default_rng(0), 0.3 * _ALIKE + 0.7 * _RATES
    few = [_written(rng, rates, 120) for _ in range(400)]
    many = [contrast(_written(rng, rates, 4000), _target()) for _ in range(20)]
    corrected = np.mean([contrast(one, _target()) for one in few])
    monkeypatch.setattr(examples, "_LEAST_SIGNAL", 1.0)  # nothing is taken out
    plain = np.mean([contrast(one, _target()) for one in few])
    assert abs(corrected - np.mean(many)) < 0.045
    assert plain < np.mean(many) - 0.06


def test_one_class_has_no_contrast() -> None:
    rng = np.random.default_rng(0)
    alone = _candidates(rng, np.ones((8, 4)), np.zeros(8, dtype=np.int64))
    assert contrast(alone, _target()) == 0.0
    assert not examples_help(alone, alone, _target())[0]


def test_prompts_show_examples_of_their_class_and_end_where_an_item_begins() -> None:
    rng = np.random.default_rng(0)
    pool = _written(rng, _RATES, 200)
    prompts = example_prompts(["Remarks (a):\n\n-", "Remarks (b):\n*"], pool, _target(), [20, 20], 3, rng)
    for name, mark, options in zip("ab", "-*", prompts, strict=True):
        assert len(options) > 1
        for prompt in options:
            shown = [line.removeprefix(f"{mark} ") for line in prompt.splitlines() if line.startswith(f"{mark} ")]
            assert len(set(shown)) == 3
            assert all(text in pool.texts and text.startswith(name) for text in shown)
            assert prompt.endswith(f"\n{mark}")


def test_a_class_without_enough_examples_keeps_its_head() -> None:
    rng = np.random.default_rng(0)
    pool = _written(rng, _RATES, 200).take(np.arange(0, 200, 2))  # class a alone
    prompts = example_prompts(["A:\n-", "B:\n-"], pool, _target(), [20, 20], 3, rng)
    assert len(prompts[0]) > 1
    assert prompts[1] == ["B:\n-"]


@pytest.mark.parametrize(("max_tokens", "count"), [(10, 3), (64, 3), (100, 1), (500, 0)])
def test_long_texts_are_not_shown(max_tokens: int, count: int) -> None:
    assert shots(max_tokens) == count
