"""`--show-private`: records at a terminal, for a person; refused wherever output is kept."""

import io
from pathlib import Path

import numpy as np
import pytest

from audits.disclosure import disclose, refuse_unless_private
from audits.errors import BadInputError
from audits.examination import Request, examine, read
from tests.audits.conftest import Corpora, command
from tests.leaky_generators import write_jsonl


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_is_refused_in_a_pipe_before_anything_is_read(files: dict[str, Path], tmp_path: Path) -> None:
    parts = [part for name, path in files.items() for part in (f"--{name}", path)]
    done = command(*parts, "--show-private", "--out", tmp_path / "out")
    assert done.returncode == 2
    assert "at a terminal only" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["1", "true"])
def test_it_is_refused_in_a_ci_system(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    refuse_unless_private(Terminal())
    monkeypatch.setenv("CI", value)
    with pytest.raises(BadInputError):
        refuse_unless_private(Terminal())
    monkeypatch.setenv("CI", "false")
    with pytest.raises(BadInputError):
        refuse_unless_private(io.StringIO())


def test_pointers_lead_to_the_copied_records(corpora: Corpora, files: dict[str, Path], tmp_path: Path) -> None:
    chosen = np.random.default_rng(3).choice(corpora.train, 60, replace=False)
    copied = [f"{text} \x1b[31mred" for text in chosen]
    rows = write_jsonl(tmp_path / "given.jsonl", corpora.rows + copied)
    request = Request(**(files | {"synthetic": rows}), plug_ins=False)
    report = examine(request)
    (found,) = (f for f in report.findings if f.id == "PD201")
    assert found.worst_cases
    shown = disclose(report, read(request)[0])
    assert shown.startswith("PRIVATE")
    assert "\x1b" not in shown, "a record must not steer the terminal"
    for case in found.worst_cases:
        assert case.synthetic_row is not None
        row = (corpora.rows + copied)[case.synthetic_row]
        original = row.partition(" \x1b")[0]
        assert f"  record     {original}" in shown
        assert case.offset is not None
        assert case.length is not None
        assert case.offset + case.length <= len(row.split()) + 4


def test_a_report_of_other_records_points_nowhere(corpora: Corpora, files: dict[str, Path], tmp_path: Path) -> None:
    """Pointers are keyed by the files and the seed: another seed's report resolves to no record."""
    rows = write_jsonl(tmp_path / "given.jsonl", corpora.rows + corpora.train[:60])
    request = Request(**(files | {"synthetic": rows}), plug_ins=False)
    report = examine(request)
    other, _ = read(Request(**(files | {"synthetic": rows}), plug_ins=False, seed=5))
    assert "  record  " not in disclose(report, other)
