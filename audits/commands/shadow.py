"""`python -m audits shadow`: run a generator many times, with and without one unit, and try to tell the runs apart.

Parses, drives, scores, judges, writes DIR/shadow.json (one finding, PD601). Exit codes as for an audit. Long: every run
is a run of the generator. It knows the generator by its command line only.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audits.errors import BadInputError

if TYPE_CHECKING:
    from audits.findings import Finding
    from audits.inputs.files import Table

__all__ = ["main"]

_EXIT = {"pass": 0, "fail": 10}
_EPILOG = """\
example
  python -m audits shadow --command 'privdistill generate {input} --epsilon 1 ... ' --source train.csv \\
      --target one_record.csv --runs 60 --epsilon 1 --delta 1e-6 --out shadow/

The generator reads {input} (JSON lines with the columns that are named here) and writes {output} (JSON lines with a
column `text`). Nothing else tells the runs apart: {run} is their number, in random order. The target is one privacy
unit: one record, or all records of the file with --one-unit. 60 runs of either kind can contradict an epsilon of 2.3.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the sub-command and return its exit code."""
    options = _parser().parse_args(arguments)
    from audits.inputs.files import read_table
    from audits.shadow.runs import parse_template

    template = parse_template(options.command)
    columns = [options.text_column, *([options.label_column] if options.label_column else [])]
    columns += [options.unit_column] if options.unit_column else []
    source = read_table(options.source, columns, role="source", max_bytes=2**29)
    target = read_table(options.target, columns, role="target", max_bytes=2**24)
    if target.rows > 1 and not options.one_unit:
        raise BadInputError(
            f"the target file has {target.rows} records; a bound on epsilon speaks of one unit: give one record, or "
            "--one-unit if all of them belong to one"
        )
    if set(target.columns[options.text_column]) & set(source.columns[options.text_column]):
        raise BadInputError("the target is in the source already; leave it out there")
    if not any(text.strip() for text in target.columns[options.text_column]):
        raise BadInputError("the target has no text")
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    report = out / "shadow.json"
    report.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix="privdistill-shadow-") as folder:
        finding = _attack(options, source, target, template.words, Path(folder))
    document = {"schema": "privdistill.shadow/v1", "seed": options.seed, "runs": 2 * options.runs}
    document |= {"finding": finding.model_dump(mode="json")}
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    report.write_text(text, encoding="utf-8")
    sys.stdout.write(
        text if options.json else f"{finding.status:12}  {finding.id}  {finding.name}\n{finding.summary}\n"
    )
    return _EXIT.get(finding.status, 3)


def _attack(
    options: argparse.Namespace, source: "Table", target: "Table", words: tuple[str, ...], folder: Path
) -> "Finding":
    import numpy as np

    from audits.canaries.scores import CanaryFeatures
    from audits.features.tokens import Vocabulary
    from audits.inputs.files import read_table
    from audits.shadow.runs import Template, drive
    from audits.shadow.verdict import Claimed, judge_runs

    vocabulary = Vocabulary()
    tokens = vocabulary.encode(target.columns[options.text_column])
    features = CanaryFeatures.of(tokens, vocabulary.encode(source.columns[options.text_column]))
    scores, included, failed = [], [], 0
    runs = drive(
        Template(words),
        _records(source),
        _records(target),
        options.runs,
        folder,
        timeout=options.timeout,
        rng=np.random.default_rng(options.seed),
        tell=_progress if sys.stderr.isatty() and not options.quiet else lambda step, share: None,
    )
    for inside, output in runs:
        try:
            rows = read_table(output, ["text"], role="output", max_bytes=2**29) if output is not None else None
        except BadInputError:
            rows = None
        if rows is None:
            failed += 1
            continue
        synthetic = vocabulary.encode(rows.columns["text"])
        scores.append(float(features.likelihood(synthetic).max() + features.runs(synthetic).bits.max()))
        included.append(inside)
    claimed = Claimed(options.epsilon, options.delta, options.mu)
    return judge_runs(np.array(scores, np.float64), np.array(included, np.bool_), failed, claimed, options.alpha)


def _records(table: "Table") -> list[dict[str, str]]:
    names = list(table.columns)
    return [dict(zip(names, values, strict=True)) for values in zip(*table.columns.values(), strict=True)]


def _progress(step: str, share: float) -> None:
    sys.stderr.write(f"\r\x1b[K{share:4.0%}  {step}")
    sys.stderr.flush()


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not 0 < value < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def _share(text: str) -> float:
    value = _positive(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return value


def _whole(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 0")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audits shadow",
        description="Run a generator many times, with and without one unit, and try to tell the runs apart: the "
        "strongest attack, and the longest.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--command", required=True, metavar="LINE", help="command with {input}, {output} and {run}")
    parser.add_argument("--source", type=Path, required=True, metavar="FILE", help="records that every run gets")
    parser.add_argument(
        "--target", type=Path, required=True, metavar="FILE", help="the unit that half the runs get too"
    )
    parser.add_argument("--one-unit", action="store_true", help="all records of --target belong to one unit")
    parser.add_argument("--runs", type=_whole, default=60, metavar="N", help="runs of either kind (default: 60)")
    parser.add_argument("--epsilon", type=_positive, help="claimed epsilon of one run; without it none is contradicted")
    parser.add_argument("--delta", type=_share, default=1e-6, help="claimed delta (default: 1e-6)")
    parser.add_argument("--mu", type=_positive, help="claimed Gaussian curve, if one is claimed")
    parser.add_argument("--alpha", type=_share, default=0.05, help="level (default: 0.05)")
    parser.add_argument("--text-column", default="text", metavar="C", help="text column of the inputs (default: text)")
    parser.add_argument("--label-column", metavar="C", help="label column, handed on")
    parser.add_argument("--unit-column", metavar="C", help="unit column, handed on")
    parser.add_argument("--timeout", type=_positive, default=3600.0, metavar="S", help="seconds for one run")
    parser.add_argument("--seed", type=_whole, default=0, metavar="N", help="order of the runs (default: 0)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for shadow.json")
    parser.add_argument("--json", action="store_true", help="print shadow.json instead of the summary")
    parser.add_argument("--quiet", action="store_true", help="no progress on a terminal")
    return parser
