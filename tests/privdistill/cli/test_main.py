"""Exit codes, one-sentence errors, and what importing or asking for help must not load."""

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from privdistill.errors import (
    AssetError,
    BudgetError,
    IndeterminateError,
    MechanismError,
    PrivacyError,
    RefusedError,
    RunError,
)

COMMANDS = "init doctor plan generate audit gate release verify run evaluate report ledger policy".split()


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help_loads_neither_torch_nor_numpy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom privdistill.cli.main import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as end:\n    assert end.code == 0, end.code\n"
        "heavy = {'torch', 'numpy', 'transformers', 'opacus', 'sklearn', 'pandas', 'datasets'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Usage:" in done.stdout


def test_no_arguments_prints_the_help(cli: Callable) -> None:
    ended = cli()
    assert ended.code == 0
    assert "generate" in ended.out


def test_python_m_is_the_same_command_line() -> None:
    done = subprocess.run([sys.executable, "-m", "privdistill", "nope"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: No such command")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["generate", "x.csv", "--epsilon", "0"], "privacy.epsilon"),
        (["generate", "x.csv", "--epsilon", "-1"], "privacy.epsilon"),
        (["generate", "x.csv", "--epsilon", "inf"], "privacy.epsilon"),
        (["generate", "x.csv", "--epsilon", "nan"], "privacy.epsilon"),
        (["generate", "x.csv", "--epsilon", "eight"], "--epsilon"),
        (["generate", "x.csv", "--delta", "0"], "privacy.delta"),
        (["generate", "x.csv", "--delta", "1"], "privacy.delta"),
        (["generate", "x.csv", "--delta", "nan"], "privacy.delta"),
        (["generate", "x.csv", "--rows", "0"], "synthesis.rows"),
        (["generate", "x.csv", "--rows", "1.5"], "--rows"),
        (["generate", "x.csv", "--holdout", "1"], "source.holdout"),
        (["generate", "x.csv", "--contribution-bound", "0"], "source.contribution_bound"),
        (["generate", "x.csv", "--unit", "person"], "contribution_bound"),
        (["generate", "x.csv", "--labels", "a,b"], "label_column"),
        (["generate", "x.csv", "--label-column", "l", "--labels", "a,a"], "source.labels"),
        (["generate", "x.csv", "--label-column", "l", "--labels", ""], "source.labels"),
        (["generate", "x.csv", "--dtype", "int4"], "performance.dtype"),
        (["generate", "x.csv", "--epsilo", "8"], "No such option"),
        (["generate"], "no corpus given"),
        (["generate", "x.csv", "--config", "absent.yaml"], "absent.yaml"),
        (["plan", "x.csv", "--delta", "2"], "privacy.delta"),
        (["run", "x.csv", "--rows", "-5"], "synthesis.rows"),
        (["release", "somewhere"], "--out"),
        (["policy", "show", "no-such-policy"], "no-such-policy"),
        (["ledger", "show", "--ledger", "absent.sqlite3"], "no ledger at"),
        (["report", "."], "not a run directory"),
        (["nonsense"], "No such command"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_2(
    cli: Callable, pipeline: ModuleType, in_folder: Path, arguments: list[str], sentence: str
) -> None:
    ended = cli(*arguments)
    assert ended.code == 2
    assert ended.out == ""
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
    assert sentence in ended.err
    assert "Traceback" not in ended.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (AssetError("no model there"), 2),
        (RunError("occupied"), 2),
        (PrivacyError("epsilon is not set"), 2),
        (IndeterminateError("nothing measured"), 3),
        (RefusedError("no"), 10),
        (BudgetError("spent"), 10),
        (MechanismError("broken invariant"), 1),
    ],
)
def test_every_deliberate_error_has_its_exit_code(
    cli: Callable, pipeline: ModuleType, in_folder: Path, error: Exception, code: int
) -> None:
    pipeline.verify = _raising(error)
    ended = cli("verify", "bundle")
    assert (ended.code, ended.out, ended.err) == (code, "", f"error: {error}\n")


@pytest.mark.parametrize("kind", [KeyboardInterrupt])
def test_interruption_is_130(cli: Callable, pipeline: ModuleType, in_folder: Path, kind: type[BaseException]) -> None:
    pipeline.audit = _raising(kind())
    ended = cli("audit", "run")
    assert ended.code == 130
    assert ended.err == "error: interrupted; what was drawn stays charged in the ledger\n"


def test_ctrl_c_ends_a_running_command_with_130(in_folder: Path) -> None:
    code = (
        "import signal, sys, time, types, privdistill\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "fake = types.ModuleType('privdistill.pipeline')\n"
        "def verify(bundle, key=None):\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "fake.verify = verify\n"
        "sys.modules['privdistill.pipeline'] = privdistill.pipeline = fake\n"
        "from privdistill.cli.main import main\nmain(['verify', 'bundle'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        running.send_signal(signal.SIGINT)
        _, err = running.communicate(timeout=30)
    assert running.returncode == 130
    assert err == "error: interrupted; what was drawn stays charged in the ledger\n"


def test_unexpected_errors_never_show_their_message(cli: Callable, pipeline: ModuleType, in_folder: Path) -> None:
    pipeline.verify = _raising(RuntimeError("Mrs Example, born 1931, was admitted"))
    ended = cli("verify", "bundle")
    assert ended.code == 1
    assert "Mrs Example" not in ended.err + ended.out
    assert "RuntimeError at " in ended.err
    assert ended.err.count("\n") == 1


def test_the_place_of_an_unexpected_error_is_relative_to_the_package(
    cli: Callable, pipeline: ModuleType, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("privdistill.cli.settings.read_yaml", _raising(ZeroDivisionError("secret")))
    (in_folder / "privdistill.yaml").write_text("{}")
    ended = cli("plan", "x.csv")
    assert ended.code == 1
    assert "ZeroDivisionError at privdistill/cli/settings.py:" in ended.err
    assert str(Path.cwd()) not in ended.err


@pytest.mark.parametrize("named", [True, False])
def test_tracebacks_go_to_the_private_folder_of_the_run(
    cli: Callable, pipeline: ModuleType, in_folder: Path, named: bool
) -> None:
    run = in_folder / "runs" / "20260101T000000Z-abcdef"
    other = in_folder / "runs" / "20270101T000000Z-abcdef"

    def crash(*_: object, **__: object) -> Path:
        for folder, process in ((run, os.getpid()), (other, os.getpid() + 1)):
            (folder / "private").mkdir(parents=True, mode=0o700)
            (folder / "run.json").write_text(f'{{"process": {process}}}')
        raise RuntimeError("the text of a record")

    pipeline.generate = crash
    pipeline.plan = lambda config: _Plan()
    ended = cli("generate", "x.csv", "--epsilon", "8", *(["--run", run] if named else []))
    file = run / "private" / "traceback.txt"
    assert ended.code == 1
    assert "the text of a record" not in ended.err
    assert "private/traceback.txt" in ended.err
    assert "the text of a record" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not (other / "private" / "traceback.txt").exists()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_disk_errors_name_the_place_and_exit_2(
    cli: Callable, pipeline: ModuleType, in_folder: Path, number: int
) -> None:
    pipeline.verify = _raising(OSError(number, os.strerror(number), "runs/x/run.json"))
    ended = cli("verify", "bundle")
    assert ended.code == 2
    assert ended.err.startswith(f"error: runs/x/run.json: {os.strerror(number)}")


def test_memory_errors_say_what_to_lower(cli: Callable, pipeline: ModuleType, in_folder: Path) -> None:
    pipeline.verify = _raising(MemoryError())
    ended = cli("verify", "bundle")
    assert ended.code == 1
    assert "--batch-size" in ended.err


def test_a_closed_pipe_ends_quietly(in_folder: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$0" -m privdistill policy list | true', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_version(cli: Callable) -> None:
    from importlib.metadata import version

    ended = cli("--version")
    assert (ended.code, ended.out.strip()) == (0, version("privdistill"))


class _Plan:
    warnings = ()
    budget = "calibrated"


def _raising(error: BaseException) -> Callable:
    def function(*_: object, **__: object) -> None:
        raise error

    return function


@pytest.mark.parametrize(
    "command",
    ["plan", "generate --config absent", "audit absent", "gate absent", "release absent --out b", "verify absent",
     "run absent.csv --epsilon 8 --policy absent", "evaluate absent --test absent.csv", "report absent",
     "ledger show --ledger absent", "policy show absent", "policy test absent"],
)  # fmt: skip
def test_an_error_leaves_stdout_empty_with_json_too(cli: Callable, in_folder: Path, command: str) -> None:
    ended = cli(*command.split(), "--json")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: ")
    assert ended.err.count("\n") == 1
