"""A corpus of several fields, from its columns to a bundle: declared, joined, divided again, verified."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from pydantic import ValidationError

from privdistill import pipeline
from privdistill.candidate import read_claim
from privdistill.cli.main import main
from privdistill.config import Performance, Privacy, RunConfig, Source, Synthesis
from privdistill.errors import MechanismError, RunError
from privdistill.features.fields import divided
from privdistill.recipes import distribution
from privdistill.runs import RunDirectory
from tests.conftest import toy_rows
from tests.privdistill import test_pipeline

recipe, ledger, generate = test_pipeline.recipe, test_pipeline.ledger, test_pipeline.generate

COLUMNS = ["text", "question", "reply", "label", "soft_label", "rationale", "step_difficulty"]


@pytest.fixture
def letters(tmp_path: Path) -> Path:
    path = tmp_path / "letters.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("question", "reply", "label"))
        writer.writerows((f"was {text[:-1]}?", f"it was\n{label} =>", label) for text, label in toy_rows(300))
    return path


@pytest.fixture
def config(letters: Path, tiny_language_model: Path, tiny_encoder: Path) -> RunConfig:
    return RunConfig(
        source=Source(
            path=str(letters), fields=("question", "reply"), label_column="label", labels=("good", "bad"), size=300
        ),
        privacy=Privacy(epsilon=8.0),
        synthesis=Synthesis(
            recipe="distribution",
            rows=8,
            model=str(tiny_language_model),
            encoder=str(tiny_encoder),
            max_tokens=64,
            rationales=True,
        ),
        performance=Performance(pool_factor=12, dtype="float32"),
    )


@pytest.fixture(autouse=True)
def small_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distribution, "_PUBLIC_TEXTS", (48, 48))
    monkeypatch.setattr(distribution, "_PUBLIC_TOKENS", 12)


def test_from_columns_to_rows_and_their_audit(config: RunConfig, ledger: str, tmp_path: Path) -> None:
    run = generate(config, ledger, tmp_path / "run")
    table = pq.read_table(run.data)
    assert table.column_names == COLUMNS
    for row in table.to_pylist():
        assert divided(row["text"], 2) == (row["question"], row["reply"])
        assert 0 <= row["step_difficulty"] <= 1
        assert row["rationale"] or row["step_difficulty"] == 0
    facts = run.manifest().facts
    assert facts["rationales_written"] + facts["rationales_empty"] == 8
    claim = read_claim(run)
    assert (claim.declarations.fields, claim.declarations.text_column) == (("question", "reply"), None)
    assert [m.name for m in claim.mechanisms] == ["statistic"]  # rationales are charged nothing
    # The examiner reads sources and rows alike: the joined text.
    kept = pq.read_table(run.private / "train.parquet")["text"].to_pylist()
    assert all((divided(text, 2) or ("", ""))[1].startswith("it was ") for text in kept)
    assert all((divided(text, 2) or ("", ""))[1].endswith(" ->") for text in kept)
    found = pipeline.audit(run.path)
    assert found.inputs.train.units_available == len(set(kept))


def test_rows_that_are_not_made_of_the_fields_are_not_written(
    recipe, config: RunConfig, ledger: str, tmp_path: Path
) -> None:
    """The toy recipe writes texts without a divider."""
    plain = config.model_copy(update={"synthesis": Synthesis(recipe="counting", rows=8)})
    with pytest.raises(MechanismError, match="8 of 8 rows are not made of the fields question, reply"):
        generate(plain, ledger, tmp_path / "run")
    assert not (tmp_path / "run" / "candidate" / "data.parquet").exists()
    with pytest.raises(RunError, match="was failed"):
        RunDirectory.open(tmp_path / "run")


@pytest.mark.parametrize(
    ("source", "synthesis", "said"),
    [
        ({"fields": ["q"]}, {}, "expected 2 to 4 distinct columns"),
        ({"fields": ["q", "q"]}, {}, "expected 2 to 4 distinct columns"),
        ({"fields": ["q", " "]}, {}, "expected 2 to 4 distinct columns"),
        ({"fields": ["a", "b", "c", "d", "e"]}, {}, "at most 4 items"),
        ({"fields": ["q", "label"]}, {}, "'label' is a column of the result"),
        ({"fields": ["q", "a"], "text_column": "t"}, {}, "name one of them"),
        ({"fields": ["q", "a"], "label_column": "a"}, {}, "name different columns"),
        ({}, {"rationales": True}, "declare fields"),
        ({"fields": ["q", "rationale"]}, {"rationales": True}, "'rationale' is a field already"),
    ],
)
def test_fields_and_rationales_are_coherent(source: dict, synthesis: dict, said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        RunConfig.model_validate({"source": {"path": "c.csv", **source}, "synthesis": synthesis})


def test_a_rationale_of_the_corpus_may_be_a_field() -> None:
    told = {"source": {"path": "c.csv", "fields": ["prompt", "response", "rationale"]}}
    assert RunConfig.model_validate(told).source.fields[-1] == "rationale"


def test_the_command_line_says_what_is_wrong(letters: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ["plan", str(letters), "--epsilon", "8", "--rationales"]
    with pytest.raises(SystemExit) as ended:
        main(told)
    assert ended.value.code == 2
    assert "declare fields" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main([*told, "--fields", "question, reply"])
    assert ended.value.code == 0
