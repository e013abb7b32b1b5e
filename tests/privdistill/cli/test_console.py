"""Progress is drawn on a terminal and nowhere else; results and hints keep to their streams."""

import io
import sys

import pytest

from privdistill.cli import console


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_bars_show_stage_count_and_time_left_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with console.progress_bars(quiet=False) as bars:
        for done in range(4):
            bars("sampling", done, 3)
    drawn = screen.getvalue()
    assert "sampling" in drawn
    assert "3/3" in drawn
    assert "left" in drawn


@pytest.mark.parametrize(("quiet", "terminal"), [(True, True), (False, False), (True, False)])
def test_bars_are_silent_when_quiet_or_off_a_terminal(
    monkeypatch: pytest.MonkeyPatch, quiet: bool, terminal: bool
) -> None:
    screen = Terminal() if terminal else io.StringIO()
    monkeypatch.setattr(sys, "stderr", screen)
    with console.progress_bars(quiet=quiet) as bars:
        bars("sampling", 1, 2)
    assert screen.getvalue() == ""


def test_results_and_hints_keep_to_their_streams(capsys: pytest.CaptureFixture[str]) -> None:
    console.show("one", "two\n")
    console.hint("for people")
    console.hint("for nobody", quiet=True)
    assert capsys.readouterr() == ("one\ntwo\n", "for people\n")


def test_json_refuses_numbers_that_are_not_json() -> None:
    with pytest.raises(ValueError, match="Out of range float values"):
        console.show_json({"epsilon": float("inf")})
