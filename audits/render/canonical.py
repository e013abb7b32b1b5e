"""audit.json: sorted keys, two spaces, a final newline; the same bytes for the same inputs and seed.

Written to a temporary name in the same folder and moved into place, so that a half-written report is never read.
"""

import json
import os
import tempfile
from pathlib import Path

from audits.findings import AuditReport

__all__ = ["dumps", "write"]


def dumps(report: AuditReport) -> str:
    """Return the canonical JSON of a report."""
    return (
        json.dumps(report.model_dump(mode="json", by_alias=True), sort_keys=True, indent=2, ensure_ascii=False) + "\n"
    )


def write(report: AuditReport, folder: Path) -> Path:
    """Write audit.json atomically; the folder is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "audit.json"
    handle, temporary = tempfile.mkstemp(prefix=".audit-", suffix=".json", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as stream:
            stream.write(dumps(report))
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return target
