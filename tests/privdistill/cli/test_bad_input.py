"""Bad input through the real command line and the real pipeline: one clear sentence, exit code 2, no record text."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from privdistill.models import loading

SECRET = "the-secret-sentence"
GOOD = "text,label\n" + "".join(f"{SECRET} number {i},{'ab'[i % 2]}\n" for i in range(40))

CORPORA = {
    "missing": (None, "no corpus at"),
    "empty": (b"", "is empty"),
    "one row": (f"text,label\n{SECRET},a\n".encode(), "found one record"),
    "all texts empty": (b"text,label\n,a\n  ,b\n", "found none"),
    "invalid utf-8": (b"text,label\n" + SECRET.encode() + b"\xff,a\nx,b\n", "not valid UTF-8"),
    "no header": (f"{SECRET} one,better\n{SECRET} two,worse\n".encode(), "found 2 columns (names not shown"),
    "semicolons": (f"text;label\n{SECRET} one;better\n".encode(), "found 1 column"),
    "no such column": (b"words,label\nx,a\ny,b\n", "no column 'text'"),
}

OPTIONS = {
    "epsilon 0": (("--epsilon", "0"), "epsilon"),
    "epsilon -1": (("--epsilon", "-1"), "epsilon"),
    "epsilon inf": (("--epsilon", "inf"), "epsilon"),
    "epsilon nan": (("--epsilon", "nan"), "epsilon"),
    "delta 0": (("--epsilon", "8", "--delta", "0"), "delta"),
    "delta 1": (("--epsilon", "8", "--delta", "1"), "delta"),
    "delta nan": (("--epsilon", "8", "--delta", "nan"), "delta"),
    "no rows": (("--epsilon", "8", "--rows", "0"), "rows"),
    "no epsilon": ((), "epsilon is not set"),
    "unknown recipe": (("--epsilon", "8", "--recipe", "magic"), "unknown recipe 'magic'"),
    "unknown model": (("--epsilon", "8", "--model", "nobody/nothing"), "nobody/nothing"),
    "no such model path": (("--epsilon", "8", "--model", "./nowhere"), "no model at ./nowhere"),
    "absent label column": (("--epsilon", "8", "--label-column", "topic"), "no column 'topic'"),
    "too small for epsilon": (("--epsilon", "1", "--size", "30"), "Nothing was spent"),
    "unit without bound": (("--epsilon", "8", "--unit", "who"), "contribution_bound"),
}


def refused(ended, expected: str) -> None:
    assert ended.code == 2, ended.err
    assert ended.out == ""
    sentences = [line for line in ended.err.splitlines() if line.startswith("error: ")]
    assert len(sentences) == 1, ended.err
    assert expected in sentences[0]
    assert SECRET not in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize("case", CORPORA)
def test_a_corpus_that_cannot_be_read(cli: Callable, in_folder: Path, case: str) -> None:
    content, expected = CORPORA[case]
    if content is not None:
        (in_folder / "c.csv").write_bytes(content)
    refused(cli("generate", "c.csv", "--epsilon", "8", "--label-column", "label"), expected)
    assert not list(in_folder.glob("runs/*"))


def test_mixed_types(cli: Callable, in_folder: Path) -> None:
    rows = [{"text": SECRET}, {"text": 5}, {"text": SECRET}]
    (in_folder / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    refused(cli("generate", "c.jsonl", "--epsilon", "8"), "expected text in column 'text', found int")


@pytest.mark.parametrize("case", OPTIONS)
def test_an_option_without_meaning(
    cli: Callable, in_folder: Path, case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(loading.assets, "fetch", lambda name, progress=None: tmp_path)
    (in_folder / "c.csv").write_text(GOOD)
    options, expected = OPTIONS[case]
    label = () if "--label-column" in options else ("--label-column", "label", "--labels", "a,b")
    refused(cli("generate", "c.csv", *label, *options), expected)


@pytest.mark.parametrize("what", ["occupied", "a file", "below a file"])
def test_a_run_directory_that_cannot_be_used(cli: Callable, in_folder: Path, what: str) -> None:
    (in_folder / "c.csv").write_text(GOOD)
    target = in_folder / "run"
    if what == "occupied":
        target.mkdir()
        (target / "mine.txt").write_text("mine")
    else:
        target.write_text("mine")
    named = target / "deeper" if what == "below a file" else target
    refused(cli("generate", "c.csv", "--epsilon", "8", "--run", named), "run directory")
    assert "mine" in (target / "mine.txt" if target.is_dir() else target).read_text()


def test_the_plan_says_the_same_before_anything_is_read(cli: Callable, in_folder: Path) -> None:
    ended = cli("plan", "absent.csv", "--epsilon", "1", "--label-column", "l", "--labels", "a,b", "--size", "30")
    assert ended.code == 2
    assert "below the noise floor" in ended.out
