"""`init` writes a configuration that works and never overwrites."""

from collections.abc import Callable
from pathlib import Path

import pytest

from privdistill.cli.settings import load_settings


def test_init_writes_a_configuration_that_is_accepted(cli: Callable, in_folder: Path) -> None:
    ended = cli("init")
    assert (ended.code, ended.out) == (0, "privdistill.yaml\n")
    config = load_settings({"privacy.epsilon": 8.0}, file=in_folder / "privdistill.yaml").config
    assert config.source.path == "demo"
    assert config.source.labels == ("fresh", "rotten")
    assert (in_folder / ".gitignore").read_text() == "/runs/\n"


def test_init_chooses_no_epsilon_for_you(cli: Callable, in_folder: Path) -> None:
    cli("init")
    assert load_settings({}, file=in_folder / "privdistill.yaml").config.privacy.epsilon is None


def test_init_never_overwrites(cli: Callable, in_folder: Path) -> None:
    (in_folder / "privdistill.yaml").write_text("mine")
    ended = cli("init")
    assert ended.code == 2
    assert "exists already" in ended.err
    assert (in_folder / "privdistill.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("before", "after"),
    [("*.log", "*.log\n/runs/\n"), ("*.log\n", "*.log\n/runs/\n"), ("runs/\n", "runs/\n"), ("/runs/\n", "/runs/\n")],
)
def test_init_adds_one_line_to_gitignore(cli: Callable, in_folder: Path, before: str, after: str) -> None:
    (in_folder / ".gitignore").write_text(before)
    assert cli("init").code == 0
    assert (in_folder / ".gitignore").read_text() == after


def test_init_into_another_folder(cli: Callable, in_folder: Path) -> None:
    assert cli("init", "new").code == 0
    assert (in_folder / "new" / "privdistill.yaml").is_file()
    ended = cli("init", "absent/place")
    assert ended.code == 2
    assert "there is no folder absent" in ended.err
    assert not (in_folder / "absent").exists()


def test_init_where_nothing_can_be_written(cli: Callable, in_folder: Path) -> None:
    (in_folder / "file").write_text("")
    ended = cli("init", "file")
    assert (ended.code, ended.err) == (2, "error: file is a file; name the folder to write privdistill.yaml to\n")
    ended = cli("init", "file/below")
    assert ended.code == 2
    assert ended.err.count("\n") == 1
