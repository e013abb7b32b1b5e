"""Hand a candidate to the examiner in a process of its own, and keep what the examiner needs on the private side.

The two sides and the split key lie in RUN/private, readable by the owner only. The audit never filters rows and never
triggers a retry: it reads, reports, and that is all. This module does not know a single check.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from audits.findings import AuditReport, CanaryDeclaration
from privdistill.atomic import write_atomically
from privdistill.config import Source
from privdistill.corpus.fingerprints import digest
from privdistill.corpus.sides import normalise, sides_hmac
from privdistill.corpus.units import Side, Split, plant
from privdistill.errors import IndeterminateError, RefusedError, RunError
from privdistill.mechanisms.release import PrivateUnits
from privdistill.models import assets
from privdistill.models.loading import Models
from privdistill.recipes.base import Progress, Task
from privdistill.runs import RunDirectory
from privdistill.synthesis.canaries import canary_openings, canary_words

__all__ = ["examine", "keep_sides", "plant_canaries", "read_audit", "refuse_canaries", "require_own_sides"]

_KEY = "split.key"
_CORPUS = "corpus.digest"
_SIDES = "sides.hmac"
_CANARIES = "canaries"
_DECLARED = "declared.json"
_ANSWERS = {0, 3, 10}
_UNIT = "unit"


def keep_sides(run: RunDirectory, sides: Split, key: bytes) -> None:
    """Write train, holdout and split key under RUN/private; a resumed run must find the units that it had.

    Raises:
        RunError: the corpus holds other units, labels or records than when the run was begun.
    """
    kept, found = run.private / _CORPUS, digest(sides, key).encode() + b"\n"
    if kept.is_file():
        if kept.read_bytes() != found:
            raise RunError(
                "the corpus is not what it was when this run was begun (records, labels or units differ), and a run is "
                "resumed on the same units or not at all; restore the corpus, or start a new run"
            )
        return
    write_atomically(run.private / _KEY, key.hex().encode() + b"\n")
    files = {name: _parquet(side) for name, side in (("train", sides.train), ("holdout", sides.holdout))}
    for name, content in files.items():
        write_atomically(run.private / f"{name}.parquet", content)
    write_atomically(run.private / _SIDES, sides_hmac(key, files["train"], files["holdout"]).encode() + b"\n")
    write_atomically(kept, found)  # last: with it, all of them are there


def plant_canaries(
    run: RunDirectory, units: PrivateUnits, source: Source, task: Task, models: Models, progress: Progress
) -> tuple[PrivateUnits, CanaryDeclaration | None]:
    """Have the examiner issue canaries under the source's key; returns the units with the planted ones, and the claim.

    They are made of declarations and public models, so they are no function of the corpus. The envelope lies in
    RUN/private until the examiner opens it; what was not planted is seen by nobody before. A resumed run has them.

    Raises:
        RunError: they could not be issued.
    """
    if not source.canaries:
        return units, None
    folder = run.private / _CANARIES
    declared = _declared(folder)
    if declared is None:
        declared = _issue(run, folder, source, task, models, progress)
    rows = [json.loads(line) for line in (folder / "inserted.jsonl").read_bytes().splitlines()]
    labels = tuple(row["label"] for row in rows) if task.labelled else None
    return plant(units, tuple(row["text"] for row in rows), labels), declared


def _declared(folder: Path) -> CanaryDeclaration | None:
    """What the claim will say of canaries that were issued before, or None."""
    try:
        return CanaryDeclaration.model_validate_json((folder / _DECLARED).read_bytes())
    except OSError:
        return None


def _issue(
    run: RunDirectory, folder: Path, source: Source, task: Task, models: Models, progress: Progress
) -> CanaryDeclaration:
    for left in folder.glob("*"):
        left.unlink()  # a run that was killed before its canaries were complete issues others
    folder.mkdir(mode=0o700, exist_ok=True)
    openings = canary_openings(models.language_model, task, source.canaries, progress)
    given = [{"text": text} | ({"label": label} if label is not None else {}) for text, label in openings]
    write_atomically(folder / "openings.jsonl", _jsonl(given))
    write_atomically(folder / "words.jsonl", _jsonl([{"text": word} for word in canary_words(models.language_model)]))
    command = [sys.executable, "-P", "-m", "audits", "canaries", "--count", str(source.canaries)]
    command += ["--public", str(folder / "openings.jsonl"), "--words", str(folder / "words.jsonl")]
    command += ["--key", str(run.private / _KEY), "--out", str(folder)]
    command += ["--label-column", "label"] if task.labelled else []
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode != 0:
        write_atomically(run.private / "canaries.stderr", done.stderr)
        raise RunError(f"canaries could not be issued (see {run.private / 'canaries.stderr'}); nothing was spent")
    declared = CanaryDeclaration(issued=source.canaries, commitment=done.stdout.decode().strip())
    write_atomically(folder / _DECLARED, declared.model_dump_json().encode())
    return declared


def examine(run: RunDirectory, source: Source, encoder: str | None, progress: Progress) -> AuditReport:
    """Run `python -m audits` on a run and read its report.

    Args:
        run: a complete run.
        source: what was declared of the corpus.
        encoder: `embedded`, or a local folder, to look for paraphrases too; None: not.
        progress: where to report.

    Raises:
        AssetError: there is no such encoder.
        RunError: candidate or private sides are gone.
        IndeterminateError: the examiner ended without a report.
    """
    names = ("train.parquet", "holdout.parquet", _KEY, _SIDES)
    needed = (run.data, run.claim, *(run.private / name for name in names))
    envelope = run.private / _CANARIES / "envelope.json"
    for file in (*needed, *([envelope] if source.canaries else [])):
        if not file.is_file():
            raise RunError(f"{file} is missing, so the run cannot be audited; generate a new one")
    key = bytes.fromhex(needed[4].read_text().strip())
    if needed[5].read_text().strip() != sides_hmac(key, needed[2].read_bytes(), needed[3].read_bytes()):
        raise RunError(
            f"the sides in {run.private} are not those that the run was made from, so an audit would say nothing about "
            "it; restore the files, or generate a new run"
        )
    run.audit.parent.mkdir(exist_ok=True, mode=0o700)
    run.audit.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "audits", "--synthetic", str(run.data), "--claim", str(run.claim)]
    command += ["--source", str(needed[2]), "--holdout", str(needed[3]), "--split-key", str(needed[4])]
    command += ["--text-column", "text", "--out", str(run.audit.parent)]
    if source.label_column is not None:
        command += ["--label-column", "label"]
    if encoder is not None:
        command += ["--encoder", str(assets.resolve(encoder, "encoder", progress))]
    if source.canaries:
        command += ["--canaries", str(envelope)]
    if source.unit != "record":
        command += ["--unit-column", _UNIT]
    progress("examining", 0, 1)
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    progress("examining", 1, 1)
    if done.returncode not in _ANSWERS or not run.audit.is_file():
        write_atomically(run.private / "audit.stderr", done.stderr)
        raise IndeterminateError(
            f"the examiner ended with code {done.returncode} and no report; its messages are in "
            f"{run.private / 'audit.stderr'}"
        )
    return read_audit(run.audit)


def require_own_sides(run: RunDirectory, report: AuditReport) -> None:
    """Refuse a report about other private files than the run's. A copy of a run without its private side cannot tell.

    Raises:
        IndeterminateError: the report is about others, or names none.
    """
    kept = run.private / _SIDES
    if not kept.is_file() and not (run.private / "train.parquet").exists():
        return
    if not kept.is_file() or kept.read_text().strip() != report.inputs.sides_hmac:
        raise IndeterminateError(
            f"it is not shown that {run.audit} examined the private files that the run was made from, and not other "
            "private files; run privdistill audit"
        )


def refuse_canaries(run: RunDirectory) -> None:
    """Refuse to let a row out that holds a canary, whatever the checks said of all of them together.

    Raises:
        RefusedError: a row holds one.
    """
    import pyarrow.parquet as pq

    envelope = run.private / _CANARIES / "envelope.json"
    if not envelope.is_file():
        return
    issued = [normalise(canary["text"]).casefold() for canary in json.loads(envelope.read_bytes())["canaries"]]
    table = pq.read_table(run.data)
    worded = [name for name in ("text", "rationale") if name in table.column_names]
    rows = [normalise(text).casefold() for name in worded for text in table[name].to_pylist()]
    if any(canary in row for row in rows for canary in issued):
        raise RefusedError("a row holds a canary that was planted in the corpus; nothing is released")


def read_audit(path: Path) -> AuditReport:
    """Read audit.json.

    Raises:
        IndeterminateError: absent, or not a report.
    """
    try:
        return AuditReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise IndeterminateError(f"{path} is not an audit report; run privdistill audit first") from None


def _jsonl(rows: Sequence[dict[str, str]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def _parquet(side: Side) -> bytes:
    import io

    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"text": pa.array(side.texts, pa.string()), _UNIT: pa.array(side.units, pa.string())}
    if side.labels is not None:
        columns["label"] = pa.array(side.labels, pa.string())
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()
