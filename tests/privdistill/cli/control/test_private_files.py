"""`hook no-private-files`: copies of private files, whatever they are called."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.privdistill.cli.control.runs import build_run, edit, private_sentences


@pytest.fixture
def run(in_folder: Path) -> Path:
    """A run in `runs/` whose corpus lies outside of the folder."""
    (in_folder / "runs").mkdir()
    corpus = in_folder.parent / "notes.csv"
    corpus.write_text("text,label\nhers,a\n")
    run = build_run(in_folder / "runs" / "one", private=private_sentences(20))
    edit(run / "run.json", lambda d: d["config"]["source"].update(path=str(corpus)))
    return run


def refused(cli: Callable, file: str) -> str:
    ended = cli("hook", "no-private-files", file)
    assert ended.code == 10, ended.out
    assert "hers" not in ended.out
    return ended.out


def test_copies_under_another_name(cli: Callable, run: Path) -> None:
    shutil.copy(run / "private" / "train.parquet", "sample.parquet")
    assert "a file of run one that never leaves (private/train.parquet)" in refused(cli, "sample.parquet")
    shutil.copy(run.parents[1].parent / "notes.csv", "fixture.txt")
    assert "the private corpus of run one" in refused(cli, "fixture.txt")
    Path("mine.csv").write_text("text,label\nall hers,a\n")
    Path("privdistill.yaml").write_text("source: {path: mine.csv}\n")
    shutil.copy("mine.csv", "example.csv")
    for name in ("mine.csv", "example.csv"):
        assert "the private corpus that privdistill.yaml names" in refused(cli, name)


def test_what_is_no_copy_passes(cli: Callable, run: Path) -> None:
    """Synthetic rows may leave, an empty file is nobody's, and a file of the same size is another file."""
    shutil.copy(run / "candidate" / "data.parquet", "rows.parquet")
    Path("empty").touch()
    Path("other.txt").write_text("text,label\nhers,b\n")
    assert cli("hook", "no-private-files", "rows.parquet", "empty", "other.txt").code == 0


def test_the_help_says_what_it_judges_by(cli: Callable, in_folder: Path) -> None:
    text = " ".join(cli("hook", "no-private-files", "--help").out.replace("│", " ").split())
    assert "byte for byte" in text
    assert "is not recognised" in text
