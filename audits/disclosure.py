"""`--show-private`: the texts behind the pointers of a report, for a person at a terminal who may see the records.

Nothing of it is ever written to a file, and it is refused where output is kept: no terminal, or a CI system. Texts are
stripped of control characters, so that a record cannot steer the terminal. It decides nothing.
"""

import os
import unicodedata
from collections.abc import Iterator
from typing import TextIO

from audits.errors import BadInputError
from audits.evidence import Evidence
from audits.findings import AuditReport, WorstCase

__all__ = ["disclose", "refuse_unless_private"]

_LONGEST = 600


def refuse_unless_private(stream: TextIO) -> None:
    """Raise unless a person, and nobody else, reads the stream.

    Raises:
        BadInputError: the stream is no terminal, or a CI system keeps it.
    """
    if not stream.isatty() or os.environ.get("CI", "").strip().lower() not in ("", "0", "false", "no"):
        raise BadInputError(
            "--show-private prints records, so it works at a terminal only; leave it out, or run it by hand"
        )


def disclose(report: AuditReport, evidence: Evidence) -> str:
    """Return the units and synthetic rows that the findings point at, ending with a newline."""
    names = {evidence.pointer(unit): unit for unit in range(evidence.source.units)}
    lines = ["PRIVATE: records follow; do not copy them anywhere"]
    for finding in report.findings:
        for case in finding.worst_cases:
            lines += ["", f"{finding.id} unit {case.unit} ({case.side}), score {case.score:g}"]
            lines += _case(case, names, evidence)
    if len(lines) == 1:
        lines.append("no finding points at a unit")
    return "\n".join(lines) + "\n"


def _case(case: WorstCase, names: dict[str, int], evidence: Evidence) -> Iterator[str]:
    source = evidence.source
    for record, unit in enumerate(source.unit_of.tolist()):
        if unit == names.get(case.unit):
            yield f"  record     {_shown(source.texts[record])}"
    rows = evidence.synthetic.row.tolist()
    if case.synthetic_row in rows:
        yield f"  row {case.synthetic_row:<6} {_shown(evidence.synthetic.texts[rows.index(case.synthetic_row)])}"


def _shown(text: str) -> str:
    plain = "".join(" " if unicodedata.category(character).startswith("C") else character for character in text)
    return plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]} ..."
