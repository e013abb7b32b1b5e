from pathlib import Path

import numpy as np
import pytest

from privdistill.errors import RunError
from privdistill.matching.target import read_target
from privdistill.mechanisms.release import ClassRule, StatisticRequest
from privdistill.synthesis.teacher import Teacher, fit_teacher
from tests.privdistill.planted import answer, planted_map, planted_texts


def _teacher(n: int, noise: float, seed: int = 0) -> tuple[Teacher, np.random.Generator]:
    rng = np.random.default_rng(seed)
    map_ = planted_map(rng)
    texts, labels = planted_texts(n, rng)
    release = answer(StatisticRequest("s", ClassRule(("a", "b")), map_.blocks), texts, labels, rng, noise)
    target = read_target(release)
    made = fit_teacher(release, target, moment=map_.moment, tokens=map_.tokens, opening=map_.opening)
    return made, rng


@pytest.mark.parametrize(("noise", "least"), [(0.1, 0.85), (1.0, 0.85), (4.0, 0.75)])
def test_the_teacher_learns_planted_classes_from_a_noised_statistic(noise: float, least: float) -> None:
    teacher, rng = _teacher(2000, noise)
    texts, labels = planted_texts(1000, rng)
    assert (teacher.probabilities(texts).argmax(axis=1) == labels).mean() > least


def test_probabilities_are_probabilities_even_from_noise_alone() -> None:
    teacher, rng = _teacher(4, 100.0)
    texts, _ = planted_texts(50, rng)
    probabilities = teacher.probabilities(texts)
    assert np.isfinite(probabilities).all()
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_unknown_tokens_are_ignored() -> None:
    teacher, rng = _teacher(500, 0.5)
    texts, _ = planted_texts(5, rng)
    longer = type(texts)(texts.embeddings, tuple(np.append(one, 10_000) for one in texts.tokens), texts.truncated)
    assert np.allclose(teacher.probabilities(texts), teacher.probabilities(longer))


def test_the_embedding_view_reads_planted_classes_and_is_centred() -> None:
    teacher, rng = _teacher(2000, 0.5)
    texts, labels = planted_texts(400, rng)
    reading = teacher.reading(texts)
    assert (reading.argmax(axis=1) == labels).mean() > 0.75
    assert np.abs(reading.mean(axis=0)).max() < 1e-9


def test_a_teacher_comes_back_from_its_file_and_nothing_else_does(tmp_path: Path) -> None:
    teacher, rng = _teacher(800, 0.5)
    texts, _ = planted_texts(300, rng)
    file = tmp_path / "teacher.safetensors"
    file.write_bytes(teacher.content())
    again = Teacher.load(file)
    assert again.names == ("a", "b")
    assert np.array_equal(again.probabilities(texts), teacher.probabilities(texts))
    file.write_bytes(teacher.content().replace(b"teacher/v1", b"teacher/v9"))
    with pytest.raises(RunError, match="not a teacher"):
        Teacher.load(file)
    file.write_bytes(b"something else")
    with pytest.raises(RunError, match="not a teacher"):
        Teacher.load(file)


def test_answers_are_indices_into_the_asked_classes() -> None:
    teacher, rng = _teacher(2000, 0.1)
    texts, labels = planted_texts(300, rng)
    assert (teacher.answers(texts, ("b", "unheard of", "a")) == np.where(labels == 0, 2, 0)).mean() > 0.85
