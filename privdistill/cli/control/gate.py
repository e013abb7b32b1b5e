"""`gate`: ask a policy, write the answer in the formats that were asked for, end with the exit code of the answer.

Reports are written before the process ends and never change its exit code. It does not know how a policy decides.
"""

import os
from pathlib import Path
from typing import Annotated

import typer

from privdistill.cli.console import hint, show
from privdistill.cli.options import DEFAULT_POLICY, Json, Policy, WaiversFile
from privdistill.errors import UsageError

__all__ = ["gate", "hint_audit"]

_FAIL_ON = ("fail", "warn")
_FORMATS = "text|json|junit|sarif|github|markdown"

TargetArgument = Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="Run directory or bundle.")]
FormatOption = Annotated[
    str,
    typer.Option("--format", metavar=_FORMATS, help="What is printed; all but text and json show the public view."),
]
OutputOption = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="FILE|FORMAT=FILE",
        help="Write the report there, in the format of --format or in its own; stdout then has the text. Repeatable.",
    ),
]
FailOnOption = Annotated[
    str,
    typer.Option("--fail-on", metavar="fail|warn", help="warn: advisory notes and waivers also end with exit code 10."),
]


def gate(
    target: TargetArgument,
    policy: Policy = None,
    format: FormatOption = "text",
    output: OutputOption = None,
    fail_on: FailOnOption = "fail",
    waivers: WaiversFile = None,
    json: Json = False,
) -> None:
    """Ask a policy for its decision, without releasing anything.

    Exit codes: 0 allowed, 10 denied, 3 not decided because something required was not measured.

    Example: privdistill gate RUN --policy internal --output sarif=gate.sarif --output markdown=gate.md
    """
    from privdistill import pipeline
    from privdistill.policy.load import load_waivers
    from privdistill.report.formats import render_format

    form, files = _asked("json" if json else format, output or [])
    if fail_on not in _FAIL_ON:
        raise UsageError(f"expected --fail-on fail or warn, found {fail_on!r}")
    decision = pipeline.gate(target, policy or DEFAULT_POLICY, waivers=load_waivers(waivers) if waivers else ())
    for file, its_form in files:
        _write(file, render_format(decision, its_form))
    show(render_format(decision, form))
    hint_audit(target)
    raise typer.Exit(10 if fail_on == "warn" and decision.exit_code == 0 and decision.warns else decision.exit_code)


def _asked(form: str, output: list[str]) -> tuple[str, list[tuple[Path, str]]]:
    """What goes to stdout, and which format to which file."""
    from privdistill.report.formats import FORMATS

    if form not in FORMATS:
        raise UsageError(f"expected --format {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, found {form!r}")
    files = []
    for item in output:
        own, equals, name = item.partition("=")
        named = bool(equals) and "/" not in own
        if named and own not in FORMATS:
            raise UsageError(
                f"expected --output FILE or FORMAT=FILE with a format out of {', '.join(FORMATS)}, found {own!r}; a "
                f"file of that very name is ./{item}"
            )
        file = Path(name if named else item)
        if not file.parent.is_dir():
            raise UsageError(
                f"there is no folder {file.parent} to write {file.name} to; make it, or name another --output"
            )
        files.append((file, own if named else form))
        form = form if named else "text"
    if len({file for file, _ in files}) != len(files):
        raise UsageError("expected a file of its own for each --output, found one twice")
    return form, files


def _write(file: Path, text: str) -> None:
    try:
        # A file of its own is the owner's to show: it may hold the audit's numbers.
        with os.fdopen(os.open(file, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "w", encoding="utf-8") as stream:
            stream.write(text)
    except OSError as error:
        raise UsageError(f"the report cannot be written to {file} ({error.strerror}); name another --output") from None


def hint_audit(target: Path, *, quiet: bool = False) -> None:
    """Name the next step of a run that nobody has examined."""
    from privdistill.runs import RunDirectory

    if (target / "run.json").is_file() and not RunDirectory(target).audit.exists():
        hint(f"next: privdistill audit {target}", quiet=quiet)
