"""The encoder tier: paraphrases are found by meaning, control and power included, and weights are read safely."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from audits.errors import BadInputError
from audits.features.embedding import Encoder, require_encoder
from audits.features.neighbours import Neighbours, closeness, rewritten
from tests.audits.conftest import Audit, Corpora, finding
from tests.leaky_generators import paraphrases


@pytest.fixture
def wordy(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encoder in place of the real one: a text is the sum of fixed random vectors of its words."""
    import audits.examination as examination

    class Words:
        def __init__(self, path: Path) -> None:
            self._known: dict[str, np.ndarray] = {}

        def embed(self, texts):
            import zlib

            def vector(word: str) -> np.ndarray:
                if word not in self._known:
                    self._known[word] = np.random.default_rng(zlib.crc32(word.encode())).normal(size=64)
                return self._known[word]

            rows = [np.sum([vector(word.strip(",;!")) for word in text.split()], axis=0) for text in texts]
            return (np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    monkeypatch.setattr(examination, "Encoder", Words)
    monkeypatch.setattr(examination, "require_encoder", lambda path: None)


@pytest.mark.usefixtures("wordy")
def test_paraphrases_fail_and_no_word_check_sees_them(audit_only: Audit, corpora: Corpora, tmp_path: Path) -> None:
    rows = paraphrases(corpora.train, corpora.rows, np.random.default_rng(1))
    report = audit_only(("PD201", "PD203", "PD204"), rows, encoder=tmp_path)
    assert finding(report, "PD204").status == "fail", finding(report, "PD204").summary
    assert finding(report, "PD201").status != "fail"
    assert all(case.synthetic_row >= len(corpora.rows) for case in finding(report, "PD204").worst_cases)


@pytest.mark.usefixtures("wordy")
def test_a_clean_generator_passes_with_power_against_paraphrases(audit_only: Audit, tmp_path: Path) -> None:
    found = finding(audit_only(("PD204",), encoder=tmp_path), "PD204")
    assert found.status == "pass", found.summary
    assert found.power is not None
    assert "re-ordered" in found.power.sentence
    assert found.estimates["null_false_alarms"].low <= 0.05


@pytest.mark.usefixtures("wordy")
def test_paraphrases_of_the_holdout_are_phantoms(audit_only: Audit, corpora: Corpora, tmp_path: Path) -> None:
    rows = paraphrases(corpora.holdout, corpora.rows, np.random.default_rng(1))
    assert finding(audit_only(("PD204",), rows, encoder=tmp_path), "PD204").status != "fail"


def test_without_an_encoder_it_is_skipped_and_never_green(audit_only: Audit) -> None:
    report = audit_only(("PD204",), require=("PD204",))
    assert finding(report, "PD204").status == "skipped"
    assert report.verdict == "inconclusive"


def test_neighbours_are_those_of_a_plain_search(rng: np.random.Generator) -> None:
    records, rows = rng.normal(size=(700, 8)).astype(np.float32), rng.normal(size=(90, 8)).astype(np.float32)
    records /= np.linalg.norm(records, axis=1, keepdims=True)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    unit_of = np.arange(700) // 3
    found = Neighbours.of(records, unit_of, rows)
    for i in (0, 1, 511, 512, 699):
        near = [float(records[i] @ row) for row in rows]
        assert found.row[i] == int(np.argmax(near))
        assert found.similarity[i] == pytest.approx(max(near), abs=1e-5)
        other = max(float(records[i] @ records[j]) for j in range(700) if unit_of[j] != unit_of[i])
        assert found.others[i] == pytest.approx(other, abs=1e-5)


def test_closeness_has_no_scale() -> None:
    gains = np.random.default_rng(2).normal(size=2_000)
    np.testing.assert_allclose(closeness(3 * gains + 7, 3 * gains + 7), closeness(gains, gains), atol=1e-9)
    assert abs(closeness(gains, gains).std() - 1) < 0.1


def test_rewritten_keeps_most_words_in_another_order(rng: np.random.Generator) -> None:
    text = " ".join(f"w{i}" for i in range(20))
    words = rewritten([text], rng)[0].split()
    assert len(words) == 16
    assert set(words) < set(text.split())
    assert words != sorted(words, key=text.split().index)


def test_a_real_encoder_embeds_each_text_by_itself(tiny_encoder: Path) -> None:
    encoder = Encoder(tiny_encoder)
    texts = ["a bright garden near the station", "slow trains", "", "the museum was calm and we stayed all day"]
    vectors = encoder.embed(texts)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    for i, text in enumerate(texts):
        np.testing.assert_allclose(encoder.embed([text])[0], vectors[i], atol=1e-5)


def test_what_is_no_safe_encoder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="is not a folder"):
        require_encoder(tmp_path / "absent")
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    with pytest.raises(BadInputError, match="pickled ones are not read"):
        require_encoder(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(BadInputError, match="has no config"):
        require_encoder(tmp_path)
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(BadInputError, match="cannot be loaded"):
        Encoder(tmp_path)


def test_torch_is_loaded_for_an_encoder_only() -> None:
    code = "import sys, audits.examination, audits.features.embedding; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
