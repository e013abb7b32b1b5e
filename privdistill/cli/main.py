"""Wires the commands together and turns whatever reaches the top into an exit code.

Exit codes: 0 done or allowed, 1 internal error, 2 usage or configuration, 3 indeterminate, 10 the answer is no,
130 interrupted. It does not know what a command does.
"""

import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from privdistill.cli import doctor, ledger, making, setup
from privdistill.cli.console import show
from privdistill.cli.control import gate, hooks, policies, release
from privdistill.cli.failures import INTERRUPTED, report_failure

__all__ = ["app", "main"]

_ABOUT = "Differentially private synthetic text: made under a budget, examined, released by a written policy."
_EXIT_CODES = "Exit codes: 0 done or allowed, 1 internal error, 2 usage, 3 indeterminate, 10 no, 130 interrupted."

app = typer.Typer(
    name="privdistill",
    help=_ABOUT,
    epilog=_EXIT_CODES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    pretty_exceptions_show_locals=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        show(version("privdistill"))
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


for _command in (
    setup.init,
    doctor.doctor,
    making.plan,
    making.generate,
    release.audit,
    gate.gate,
    release.release,
    release.verify,
    making.run,
    release.evaluate,
    release.report,
):
    app.command()(_command)
app.add_typer(ledger.app, name="ledger")
app.add_typer(policies.app, name="policy")
app.add_typer(hooks.app, name="hook")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit."""
    _settle_libraries()
    given = sys.argv[1:] if arguments is None else arguments
    if not given:
        given = ["--help"]
    try:
        code = app(given, standalone_mode=False)
    except (KeyboardInterrupt, Exception) as error:
        sys.exit(report_failure(error, _named_run(given)))
    if code == INTERRUPTED:  # Typer turns Ctrl-C into this code by itself
        code = report_failure(KeyboardInterrupt(), None)
    sys.exit(code if isinstance(code, int) else 0)


def _settle_libraries() -> None:
    """Keep the bars, notes and telemetry of libraries off the terminal: stderr carries our own lines."""
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    for name, value in (
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("HF_HUB_DISABLE_TELEMETRY", "1"),
        ("HF_DATASETS_DISABLE_PROGRESS_BARS", "1"),
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("TOKENIZERS_PARALLELISM", "false"),
    ):
        os.environ.setdefault(name, value)


def _named_run(arguments: list[str]) -> Path | None:
    """The run directory that the arguments name, for the traceback of a crash."""
    for name, value in zip(arguments, [*arguments[1:], ""], strict=True):
        if name == "--run":
            return Path(value)
        if name.startswith("--run="):
            return Path(name.removeprefix("--run="))
    return next((Path(value) for value in arguments[1:] if (Path(value) / "run.json").is_file()), None)
