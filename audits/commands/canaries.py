"""`python -m audits canaries`: issue canaries under seal, for whoever owns the corpus.

Parses, has them made, writes two files that only their owner may read: the envelope stays with the auditor, the
inserted half goes to the generator. It decides nothing.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from audits.errors import BadInputError

__all__ = ["ENVELOPE", "INSERTED", "main"]

ENVELOPE = "envelope.json"
INSERTED = "inserted.jsonl"
_EPILOG = """\
DIR/envelope.json    stays with the auditor until the synthetic corpus is there; then: --canaries DIR/envelope.json
DIR/inserted.jsonl   about half of the canaries; plant each row as a record and a unit of its own
stdout               a commitment to the envelope, which may be published beforehand

500 canaries (250 planted) let an audit find a generator that copies one planted record in twenty. Words and openings
taken from the corpus itself make the canaries a function of it: where a guarantee is claimed, give public texts.
"""


def main(arguments: Sequence[str]) -> int:
    """Run the sub-command and return its exit code."""
    options = _parser().parse_args(arguments)
    from audits.canaries.envelope import Canary, write_sealed
    from audits.canaries.issuing import PROBES, Opening, compose, inserted_rows, seal, vocabulary
    from audits.split import read_split_key

    out: Path = options.out
    if (out / ENVELOPE).exists():
        raise BadInputError(f"--out {out.name} holds an envelope already; a coin must not be drawn twice")
    texts, labels = _column(options.public or options.candidates, options.text_column, options.label_column)
    rows = list(zip(texts, labels, strict=True))
    if options.candidates is not None:
        canaries = [Canary(text=text, label=label) for text, label in rows if text.strip()][: options.count]
        if len(canaries) < options.count:
            raise BadInputError(f"--candidates has {len(canaries)} texts, --count asks for {options.count}")
    else:
        openings = [Opening(text, label) for text, label in rows if text.strip()]
        words = vocabulary(_column(options.words, options.text_column, None)[0] if options.words else texts)
        canaries = compose(options.count, openings, words)
        for repeats in PROBES if options.probes else ():
            canaries += compose(options.probes, openings, words, repeats)
    key = read_split_key(options.key) if options.key is not None else None
    envelope = seal(canaries, key)
    lines = [
        json.dumps({"text": text, "unit": unit} | ({"label": label} if options.label_column else {}))
        for text, label, unit in inserted_rows(envelope)
    ]
    try:
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_sealed(out / ENVELOPE, envelope.model_dump_json(by_alias=True, indent=1) + "\n")
        write_sealed(out / INSERTED, "".join(line + "\n" for line in lines))
    except OSError as error:
        raise BadInputError(f"cannot write to --out {out.name}: {error.strerror or type(error).__name__}") from None
    print(envelope.commitment)  # noqa: T201
    return 0


def _column(path: Path, text: str, label: str | None) -> tuple[list[str], list[str | None]]:
    from audits.inputs.files import read_table

    table = read_table(path, [text, *([label] if label else [])], role="public", max_bytes=2**29)
    return table.columns[text], [value for value in table.columns[label]] if label else [None] * table.rows


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 to 1000000")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audits canaries",
        description="Issue canaries: records that are planted on the toss of a sealed coin, so that an audit can tell "
        "afterwards whether the planted ones are recognised better than the others.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--count", type=_count, required=True, metavar="N", help="canaries with one copy each")
    origin = parser.add_mutually_exclusive_group(required=True)
    origin.add_argument("--public", type=Path, metavar="FILE", help="public texts of the same kind: how canaries begin")
    origin.add_argument("--candidates", type=Path, metavar="FILE", help="canaries as they are, instead of made ones")
    parser.add_argument("--words", type=Path, metavar="FILE", help="words they end with (default: those of --public)")
    parser.add_argument("--probes", type=_count, metavar="K", help="further K canaries of 4 copies and K of 16 each")
    parser.add_argument("--text-column", default="text", metavar="C", help="text column of the files (default: text)")
    parser.add_argument("--label-column", metavar="C", help="label column: a canary keeps the label of its opening")
    parser.add_argument("--key", type=Path, metavar="FILE", help="hex key of the coins (default: a fresh one)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the two files")
    return parser
