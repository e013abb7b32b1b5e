"""`python -m audits`: examine a synthetic text corpus against the corpus it was made from.

Parses, calls `examination`, renders; a first word out of `_COMMANDS` is handed to a module of its own. Loads no
numerical library for --help. Exit codes: 0 pass, 10 fail, 3 inconclusive (or no control), 2 usage or input, 1 internal
error, 130 interrupted.
"""

import argparse
import importlib
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from audits.errors import BadInputError

__all__ = ["main"]

_COMMANDS = {
    "canaries": "audits.commands.canaries",
    "checks": "audits.commands.checks",
    "schema": "audits.commands.schema",
    "shadow": "audits.commands.shadow",
}
"""Sub-commands: the module whose `main(arguments)` returns the exit code."""
_FORMATS = ("text", "json", "junit", "sarif", "github", "markdown")
_EXIT = {"pass": 0, "fail": 10, "inconclusive": 3}
_INTERRUPTED = 130
_EPILOG = """\
verdict and exit code
  0    pass          every required check passed, with the power that was asked
  10   fail          some check failed
  3    inconclusive  nothing failed, but a required check could not decide (no holdout, too few units, ...)
  2    usage         a flag or a file is wrong; nothing was audited
  1    internal      the examiner failed; nothing was decided
  130  interrupted

examples
  python -m audits --synthetic synthetic.parquet --source train.csv --holdout heldout.csv --out audit/
  python -m audits --synthetic data.parquet --claim claim.json --source train.jsonl --holdout holdout.jsonl \\
      --split-key split.key --out audit/

other commands
  python -m audits canaries                     issue canaries under seal, to be planted before generating
  python -m audits checks list | explain ID     the checks; what one does, how it can be wrong, what to do
  python -m audits schema NAME                  JSON Schema of audit.json, its public form, or claim.json
  python -m audits shadow                       run a generator many times, with and without one unit

formats and views
  text and json show everything (the internal view), text only on a terminal; junit, sarif, github and markdown show the
  public view: satisfied, violated or not run per check, and no number computed from records. The exit code never
  depends on the format. --output github="$GITHUB_STEP_SUMMARY" appends; other files are replaced.

DIR/audit.json is written last and at once. It names no text: units appear as keyed hashes.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if given and given[0] in _COMMANDS:
            return int(importlib.import_module(_COMMANDS[given[0]]).main(given[1:]))
        return _audit(_parser().parse_args(given))
    except BadInputError as error:
        return _refuse(str(error))
    except KeyboardInterrupt:
        print("interrupted; no report was written", file=sys.stderr)  # noqa: T201
        return _INTERRUPTED
    except MemoryError:
        return _refuse("the files do not fit into the memory; audit a random sample of units")
    except Exception as error:  # its text may carry a record
        frame = error.__traceback__
        while frame is not None and frame.tb_next is not None:
            frame = frame.tb_next
        place = f"{Path(frame.tb_frame.f_code.co_filename).name}:{frame.tb_lineno}" if frame is not None else "?"
        print(f"internal error: {type(error).__name__} at {place}; nothing was decided", file=sys.stderr)  # noqa: T201
        return 1


def _refuse(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)  # noqa: T201
    return 2


def _audit(options: argparse.Namespace) -> int:
    out: Path = options.out
    if out.exists() and not out.is_dir():
        raise BadInputError(f"--out {out.name} is not a folder")
    for library in ("OMP", "OPENBLAS", "MKL"):
        os.environ.setdefault(f"{library}_NUM_THREADS", "1")  # small vectors: more threads only wait for each other
    from audits.disclosure import disclose, refuse_unless_private
    from audits.evidence import Settings
    from audits.examination import Request, examine, read
    from audits.render import canonical, formats, output

    if options.show_private:
        refuse_unless_private(sys.stdout)
    inputs = (options.synthetic, options.source, options.holdout, options.claim, options.reference, options.split_key)
    targets = output.targets(options.output, [path for path in (*inputs, options.canaries) if path is not None])
    (out / "audit.json").unlink(missing_ok=True)  # an audit that ends early must not leave an older answer behind
    request = Request(
        synthetic=options.synthetic,
        source=options.source,
        holdout=options.holdout,
        claim=options.claim,
        reference=options.reference,
        split_key=options.split_key,
        canaries=options.canaries,
        encoder=options.encoder,
        text_column=options.text_column,
        label_column=options.label_column,
        unit_column=options.unit_column,
        require=options.require,
        include=options.include,
        seed=options.seed,
        settings=Settings(alpha=options.alpha, max_detectable=options.max_detectable),
        max_bytes=options.max_megabytes * 2**20,
        plug_ins=not options.no_plug_ins,
    )
    report = examine(request, _progress if sys.stderr.isatty() and not options.quiet else lambda step, share: None)
    try:
        canonical.write(report, out)
        for target in targets:
            name = options.view or formats.default_view(target.format)
            output.write(target, formats.render(report, target.format, name))
    except OSError as error:
        raise BadInputError(f"cannot write to --out or --output: {error.strerror or type(error).__name__}") from None
    view = options.view or formats.default_view(options.format, terminal=sys.stdout.isatty())
    sys.stdout.write(formats.render(report, options.format, view))
    if options.show_private:
        sys.stdout.write("\n" + disclose(report, read(request)[0]))
    return _EXIT[report.verdict]


def _progress(step: str, share: float) -> None:
    ending = "\n" if share >= 1 else ""
    sys.stderr.write(f"\r\x1b[K{share:4.0%}  {step}{ending}")
    sys.stderr.flush()


def _share(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _ids(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audits",
        description="Examine a synthetic text corpus: does it give away the records it was made from, and is its "
        "privacy claim true? Works on anybody's file; knows nothing of the generator.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    files = parser.add_argument_group("files (.parquet, .csv, .tsv, .jsonl; text also .gz)")
    files.add_argument("--synthetic", type=Path, required=True, metavar="FILE", help="the synthetic corpus to examine")
    files.add_argument("--source", type=Path, required=True, metavar="FILE", help="the records that the generator read")
    files.add_argument(
        "--holdout", type=Path, metavar="FILE", help="records of the same origin that it never read: the control"
    )
    files.add_argument("--claim", type=Path, metavar="FILE", help="claim.json of the synthetic file")
    files.add_argument("--split-key", type=Path, metavar="FILE", help="hex split key that the claim commits to")
    files.add_argument(
        "--reference", type=Path, metavar="FILE", help="public texts: what they say is not private wording"
    )
    files.add_argument("--canaries", type=Path, metavar="FILE", help="envelope.json of canaries that were planted")
    files.add_argument("--encoder", type=Path, metavar="PATH", help="folder of a sentence encoder (safetensors): PD204")
    columns = parser.add_argument_group("columns")
    columns.add_argument("--text-column", default="text", metavar="C", help="text column (default: text)")
    columns.add_argument("--label-column", metavar="C", help="label column of source and holdout")
    columns.add_argument("--unit-column", metavar="C", help="who a record belongs to; without it each text is a unit")
    levels = parser.add_argument_group("levels")
    levels.add_argument(
        "--require", type=_ids, metavar="ID,...", help="checks that must pass (default: the core tier and claim)"
    )
    levels.add_argument(
        "--include", type=_ids, default=(), metavar="ID,...", help="checks to run besides, which run on request only"
    )
    levels.add_argument("--alpha", type=_share, default=0.05, help="family-wise level (default: 0.05)")
    levels.add_argument(
        "--max-detectable",
        type=_share,
        default=0.05,
        metavar="SHARE",
        help="a pass must have been able to find a leak of this share of train units (default: 0.05)",
    )
    levels.add_argument("--seed", type=_whole, default=0, metavar="N", help="seed of the re-drawn sides (default: 0)")
    levels.add_argument(
        "--max-megabytes", type=_whole, default=512, metavar="N", help="refuse larger files (default: 512)"
    )
    output = parser.add_argument_group("output")
    output.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for audit.json")
    output.add_argument("--format", choices=_FORMATS, default="text", help="what is printed on stdout (default: text)")
    output.add_argument("--json", dest="format", action="store_const", const="json", help="the same as --format json")
    output.add_argument(
        "--output",
        action="append",
        default=[],
        metavar="FORMAT=FILE",
        help="write a further rendering to a file; may be repeated",
    )
    output.add_argument(
        "--view", choices=("public", "internal"), help="what renderings show (default: by format, see below)"
    )
    output.add_argument(
        "--show-private",
        action="store_true",
        help="also print the records that findings point at; at a terminal only",
    )
    output.add_argument("--quiet", action="store_true", help="no progress on a terminal")
    output.add_argument("--no-plug-ins", action="store_true", help="run the shipped checks only")
    return parser


def _entry() -> NoReturn:
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job keeps ignoring it
        signal.signal(signal.SIGINT, _interrupt)
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    if code == _INTERRUPTED:
        _end_now()
    sys.exit(code)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    """The first Ctrl-C ends the examination; one that comes while it ends must not change the exit code."""
    signal.signal(signal.SIGINT, lambda number, frame: _end_now())
    raise KeyboardInterrupt


def _end_now() -> NoReturn:
    """Leave without the interpreter's clean-up, during which a signal would kill the process instead.

    Nothing is flushed: stderr goes out line by line, and a handler may stand in the middle of a write.
    """
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    _entry()
