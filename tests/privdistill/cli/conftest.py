"""A command line with a stand-in for the pipeline, so that parsing and rendering are tested alone."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import pytest

import privdistill
from privdistill.cli.main import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ended]:
    """Run the command line in this process."""

    def run(*arguments: object) -> Ended:
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ended(int(ended.value.code or 0), captured.out, captured.err)

    return run


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An empty stand-in for `privdistill.pipeline`; tests put functions on it."""
    fake = ModuleType("privdistill.pipeline")
    monkeypatch.setitem(sys.modules, "privdistill.pipeline", fake)
    monkeypatch.setattr(privdistill, "pipeline", fake, raising=False)
    return fake
