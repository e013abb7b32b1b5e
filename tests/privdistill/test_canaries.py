"""Canaries in the flow: planted as private records of their own, and nowhere else."""

import json
import stat
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from audits.findings import Model
from privdistill import pipeline
from privdistill.accounting.ledger import Ledger
from privdistill.candidate import read_claim
from privdistill.config import Privacy, RunConfig, Source, Synthesis
from privdistill.corpus.units import plant
from privdistill.errors import RefusedError, RunError
from privdistill.examination import refuse_canaries
from privdistill.features.encoded import TextEncoder
from privdistill.features.fields import divided
from privdistill.mechanisms.release import PrivateUnits
from privdistill.mechanisms.statistic import clean_sum, grid_for
from privdistill.models import loading
from privdistill.runs import RunDirectory
from privdistill.settlement import pack
from tests.leaky_generators import sentences
from tests.privdistill.mechanisms.conftest import ToySentences, ToyTokens, make_request, make_units

ISSUED = 64


class WordModel:
    """Writes invented sentences; its vocabulary is theirs."""

    id = "words"
    texts = tuple(sentences(600, seed=301))
    pieces = tuple(sorted({f" {word.strip(',;!')}" for text in texts for word in text.split() if len(word) > 5})) * 2

    def sample(self, prompts, **options):
        rng = options["rng"]
        return [(self.texts[int(rng.integers(0, len(self.texts)))], True) for _ in prompts]


@pytest.fixture
def encoder() -> TextEncoder:
    return TextEncoder(ToySentences(), ToyTokens(), 16)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> None:
    given = loading.Models(
        TextEncoder(ToySentences(), ToyTokens(), 16), WordModel(), (Model(role="encoder", id="toy", sha256=None),)
    )
    monkeypatch.setattr(loading, "load_models", lambda *args: given)


def config_of(toy_csv: Path, **source: object) -> RunConfig:
    options = {"label_column": "label", "labels": ("good", "bad"), "size": 400, "canaries": ISSUED} | source
    return RunConfig(
        source=Source(path=str(toy_csv), **options),
        privacy=Privacy(),
        synthesis=Synthesis(recipe="passthrough", rows=250, describe="short notes"),
    )


def generate(config: RunConfig, tmp_path: Path, name: str = "run") -> RunDirectory:
    ledger = str(tmp_path / "ledger.sqlite3")
    quiet = lambda stage, done, total: None  # noqa: E731
    return RunDirectory.open(pipeline.generate(config, run=tmp_path / name, ledger=ledger, progress=quiet))


def test_planting_changes_no_other_unit_and_no_sensitivity(encoder: TextEncoder) -> None:
    """`plant` appends units of one record each; the clean sum is that of the corpus plus theirs, in integers."""
    units = make_units([("one text", "a", 0), ("two texts", "b", 1), ("more of it", "b", 1)], bound=2)
    both = plant(units, ("planted one", "planted two"), ("a", "b"))
    assert both.texts[:3] == units.texts
    assert both.unit_of.tolist() == [0, 1, 1, 2, 3]
    assert (both.unit, both.contribution_bound) == (units.unit, units.contribution_bound)
    assert plant(units, (), None) is units
    request = make_request()
    grid = grid_for(request, contribution_bound=2, noise_multiplier=1.0, grid_steps=2.0**30)

    def summed(given: PrivateUnits) -> np.ndarray:
        return clean_sum(given, encoder.encode(given.texts), request, grid)

    alone = make_units([("planted one", "a", 0), ("planted two", "b", 1)], bound=2)
    np.testing.assert_array_equal(summed(both), summed(units) + summed(alone))
    fewer = make_units([("two texts", "b", 0), ("more of it", "b", 0)], bound=2)
    removed = summed(both) - summed(plant(fewer, ("planted one", "planted two"), ("a", "b")))
    np.testing.assert_array_equal(removed, summed(units) - summed(fewer))


def test_canaries_reach_the_mechanisms_and_nothing_else(models: None, toy_csv: Path, tmp_path: Path) -> None:
    config = config_of(toy_csv)
    run = generate(config, tmp_path)
    folder = run.private / "canaries"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    envelope = json.loads((folder / "envelope.json").read_text())
    issued = {canary["text"]: canary["label"] for canary in envelope["canaries"]}
    inserted = [json.loads(line) for line in (folder / "inserted.jsonl").read_text().splitlines()]
    assert len(issued) == ISSUED
    assert 0.25 * ISSUED < len(inserted) < 0.75 * ISSUED
    assert set(issued.values()) == {"good", "bad"}
    rows = set(pq.read_table(run.data)["text"].to_pylist())
    planted = {row["text"] for row in inserted}
    assert planted & rows, "this recipe copies what it reads"
    assert not (set(issued) - planted) & rows
    for side in ("train", "holdout"):
        assert not set(issued) & set(pq.read_table(run.private / f"{side}.parquet")["text"].to_pylist())
    claim = read_claim(run)
    assert claim.canaries is not None
    assert (claim.canaries.issued, claim.canaries.commitment) == (ISSUED, envelope["commitment"])
    everything_public = run.claim.read_text() + (run.path / "run.json").read_text()
    assert not [text for text in issued if text in everything_public]
    assert envelope["key"] == (run.private / "split.key").read_text().strip()
    assert envelope["key"] not in everything_public
    assert len(Ledger(str(tmp_path / "ledger.sqlite3")).mechanisms(run.id)) == 1, "planting is charged nothing"
    report = pipeline.audit(run.path)
    found = {finding.id: finding for finding in report.findings}
    assert found["PD501"].status == "fail", found["PD501"].summary
    assert found["PD103"].status == "pass"
    with pytest.raises(RefusedError, match="holds a canary"):
        pack(run, None, None, tmp_path / "bundle")
    (folder / "envelope.json").unlink()
    with pytest.raises(RunError, match=r"envelope\.json is missing"):
        pipeline.audit(run.path)


def test_without_canaries_nothing_is_issued_or_said(models: None, toy_csv: Path, tmp_path: Path) -> None:
    run = generate(config_of(toy_csv, canaries=0), tmp_path)
    assert not (run.private / "canaries").exists()
    refuse_canaries(run)
    assert read_claim(run).canaries is None


def test_canaries_in_a_labelled_corpus_need_declared_labels() -> None:
    with pytest.raises(ValidationError, match="canaries in a labelled corpus need declared labels"):
        Source(path="x.csv", label_column="label", canaries=10)
    assert Source(path="x.csv", canaries=10).canaries == 10


def test_canaries_do_not_depend_on_the_corpus(models: None, tmp_path: Path) -> None:
    """The same public randomness gives the same canaries whatever stands in the corpus: neighbours stay neighbours."""
    from privdistill.recipes.base import Task
    from privdistill.synthesis.canaries import canary_openings, canary_words

    task = Task(True, ("good", "bad"), None, {}, "short notes", 10, None, None, None)
    openings = canary_openings(WordModel(), task, 40, lambda *told: None)
    assert {label for _, label in openings} == {"good", "bad"}
    assert all(text in WordModel.texts for text, _ in openings)
    assert canary_words(WordModel()) == canary_words(WordModel())
    assert np.all([word.isalpha() for word in canary_words(WordModel())])


@pytest.mark.parametrize("count", [2, 3, 4])
def test_canaries_in_a_corpus_of_fields_are_records_of_that_form(models, tmp_path: Path, count: int) -> None:
    path, names = tmp_path / "fields.csv", ("one", "two", "three", "four")[:count]
    rows = [",".join(f"part {k} of record {i}" for k in range(count)) for i in range(60)]
    path.write_text("\n".join([",".join(names), *rows]) + "\n")
    source = Source(path=str(path), fields=names, size=60, canaries=20)
    config = RunConfig(source=source, synthesis=Synthesis(recipe="passthrough", rows=40))
    made = pipeline.generate(config, run=tmp_path / "run", ledger=str(tmp_path / "l.sqlite3"), progress=lambda *_: None)
    envelope = json.loads((made / "private" / "canaries" / "envelope.json").read_bytes())
    assert all(divided(canary["text"], count) is not None for canary in envelope["canaries"])
    assert pq.read_table(made / "candidate" / "data.parquet").column_names == ["text", *names, "label"]
