"""Hand a candidate to the examiner in a process of its own, and keep what the examiner needs on the private side.

The two sides and the split key lie in RUN/private, readable by the owner only. The audit never filters rows and never
triggers a retry: it reads, reports, and that is all. This module does not know a single check.
"""

import subprocess
import sys
from pathlib import Path

from pydantic import ValidationError

from audits.findings import AuditReport
from privdistill.config import Source
from privdistill.corpus.units import Side, Split
from privdistill.errors import IndeterminateError, RunError
from privdistill.runs import RunDirectory, write_atomically

__all__ = ["examine", "keep_sides", "read_audit"]

_KEY = "split.key"
_ANSWERS = {0, 3, 10}
_UNIT = "unit"


def keep_sides(run: RunDirectory, sides: Split, key: bytes) -> None:
    """Write train, holdout and split key under RUN/private."""
    write_atomically(run.private / _KEY, key.hex().encode() + b"\n")
    for name, side in (("train", sides.train), ("holdout", sides.holdout)):
        write_atomically(run.private / f"{name}.parquet", _parquet(side))


def examine(run: RunDirectory, source: Source) -> AuditReport:
    """Run `python -m audits` on a run and read its report.

    Raises:
        RunError: candidate or private sides are gone.
        IndeterminateError: the examiner ended without a report.
    """
    needed = (run.data, run.claim, run.private / "train.parquet", run.private / "holdout.parquet", run.private / _KEY)
    for file in needed:
        if not file.is_file():
            raise RunError(f"{file} is missing, so the run cannot be audited; generate a new one")
    run.audit.parent.mkdir(exist_ok=True, mode=0o700)
    run.audit.unlink(missing_ok=True)
    command = [sys.executable, "-m", "audits", "--synthetic", str(run.data), "--claim", str(run.claim)]
    command += ["--source", str(needed[2]), "--holdout", str(needed[3]), "--split-key", str(needed[4])]
    command += ["--text-column", "text", "--out", str(run.audit.parent)]
    if source.label_column is not None:
        command += ["--label-column", "label"]
    if source.unit != "record":
        command += ["--unit-column", _UNIT]
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode not in _ANSWERS or not run.audit.is_file():
        write_atomically(run.private / "audit.stderr", done.stderr)
        raise IndeterminateError(
            f"the examiner ended with code {done.returncode} and no report; its messages are in "
            f"{run.private / 'audit.stderr'}"
        )
    return read_audit(run.audit)


def read_audit(path: Path) -> AuditReport:
    """Read audit.json.

    Raises:
        IndeterminateError: absent, or not a report.
    """
    try:
        return AuditReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError):
        raise IndeterminateError(f"{path} is not an audit report; run privdistill audit first") from None


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
