"""`privdistill evaluate` on runs that tiny untrained models really made: from files to the report, nothing replaced."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import toy_rows


@pytest.fixture
def run(cli: Callable, toy_csv: Path, tiny_encoder: Path, tiny_language_model: Path, tmp_path: Path) -> Path:
    """A run of the recipe that copies; nothing else is as quick."""
    folder = tmp_path / "run"
    ended = cli(
        "generate", toy_csv, "--recipe", "passthrough", "--label-column", "label", "--labels", "good,bad",
        "--rows", 200, "--model", tiny_language_model, "--encoder", tiny_encoder,
        "--run", folder, "--ledger", tmp_path / "ledger.sqlite3", "--quiet",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    return folder


def file_of(path: Path, rows: list[tuple[str, str]], columns: tuple[str, ...] = ("text", "label", "city")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(columns)
        writer.writerows((text, label, ("", "north", "south")[i % 3]) for i, (text, label) in enumerate(rows))
    return path


def test_a_run_is_evaluated_from_files_to_report(cli: Callable, run: Path, toy_csv: Path, tmp_path: Path) -> None:
    with toy_csv.open(encoding="utf-8", newline="") as stream:
        corpus = [(row["text"], row["label"]) for row in csv.DictReader(stream)]
    asked = ("--students", "words,encoder,static", "--quiet")
    test = file_of(tmp_path / "test.csv", [*toy_rows(60, seed=50), *corpus[:20]])

    ended = cli("evaluate", run, "--test", test, "--group-column", "city", "--json", *asked)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["schema"] == "privdistill.evaluation/v1"
    assert found["runs"][0]["recipe"] == "passthrough"
    assert found["test_records"] + found["test_dropped"] == 80
    assert 0 < found["test_dropped"] <= 20, "those of the corpus that are not on the holdout side"
    assert not any(student["seen_by_generator"] for student in found["students"])
    assert {one["group"] for one in found["per_group"]} == {"(none)", "north", "south"}
    (words,) = (one for one in found["utility"] if (one["trained_on"], one["student"]) == ("synthetic", "words"))
    assert words["rows"] == 200
    assert words["accuracy"]["value"] > 0.8, "copies of records teach what records teach"

    text = cli("evaluate", run, "--test", test, *asked)
    assert text.out.startswith("INTERNAL")
    assert f"{found['test_dropped']} more of the test file were left out" in text.out
    assert "(real: test)" in text.out

    refused = cli("evaluate", run, "--test", toy_csv, *asked)
    assert refused.code == 2
    assert "of 400 that the run was made from" in refused.err
    assert not [sentence for sentence, _ in corpus if sentence in refused.err]


def test_another_encoder_gives_one_more_student(
    cli: Callable, run: Path, tmp_path: Path, tiny_language_model: Path, other_tiny_encoder: Path, tiny_encoder: Path
) -> None:
    test = file_of(tmp_path / "test.csv", toy_rows(60, seed=50))
    asked = ("evaluate", run, "--test", test, "--students", "encoder,static", "--quiet")
    found = json.loads(cli(*asked, "--student-encoder", other_tiny_encoder, "--json").out)
    assert {one["name"]: one["stands_on"] for one in found["students"]} == {
        "encoder": tiny_encoder.name,
        "static": f"the input table of {tiny_language_model.name}, which wrote the rows",
        "other": other_tiny_encoder.name,
    }
    assert {one["space"] for one in found["closeness"]} == {"encoder", "static", "other"}
    assert "other" in {one["student"] for one in found["utility"] if one["trained_on"] == "synthetic"}

    text = " ".join(cli(*asked).out.split())
    assert f"stands on the input table of {tiny_language_model.name}, which wrote the rows" in text
    assert "not asked for (--student-encoder)" in text

    same = cli(*asked, "--student-encoder", tiny_encoder)
    assert "the one that was named is the run's own; name another" in " ".join(same.out.split())

    missing = cli(*asked, "--student-encoder", tmp_path / "nowhere")
    assert missing.code == 2
    assert "no model at" in missing.err


def test_what_a_test_file_lacks_is_said_in_the_words_of_evaluate(cli: Callable, run: Path, tmp_path: Path) -> None:
    test = file_of(tmp_path / "test.csv", toy_rows(20, seed=50), ("text", "verdict", "city"))
    for options, column in (((), "label"), (("--group-column", "store"), "store")):
        named = file_of(test, toy_rows(20, seed=50)) if options else test
        ended = cli("evaluate", run, "--test", named, *options, "--quiet")
        assert ended.code == 2
        assert f"no column {column!r}" in ended.err
        assert "--text-column" not in ended.err
        assert "--group-column" in ended.err
