"""An audit as text, for the people who may see it: first what makes a pass meaningless, then the table of checks.

This is the internal view: it has exact counts and numbers computed on private records. It does not know the policy.
"""

from audits.findings import AuditReport, Finding
from privdistill.report.plain import plain

__all__ = ["render_audit"]

_MARKS = {"pass": "0", "fail": "fail", "inconclusive": "?", "error": "–", "skipped": "–"}


def render_audit(audit: AuditReport, *, unit: str | None = None) -> str:
    """Render an audit for a terminal, with the legend of its marks.

    Args:
        audit: what the examiner found.
        unit: what the claim protects; the examiner is handed units under a column name of its own.
    """
    inputs = audit.inputs
    control = f"{inputs.holdout.units_used:,} held out ({inputs.split})" if inputs.holdout else "no control"
    lines = [
        f"AUDIT {audit.verdict.upper()}  {inputs.synthetic.records_used:,} rows against {inputs.train.units_used:,} "
        f"units trained on, {control}; unit {plain(_unit(inputs.privacy_unit, unit))}",
        *_warnings(audit),
        "",
        "  mark  check   threat  finding",
    ]
    for finding in audit.findings:
        row = f"{_MARKS[finding.status]:<4}  {plain(finding.id):<6}  {finding.threat_model:<6}"
        lines.append(f"  {row}  {plain(finding.summary)}")
        lines += [f"{'':24}{line}" for line in _numbers(finding)]
    lines += ["", "  0 clean   fail found   ? inconclusive   – not run"]
    return "\n".join(lines) + "\n"


def _unit(audited: str, claimed: str | None) -> str:
    """The claim's word for the unit, unless records and people were mixed up."""
    return audited if claimed is None or "record" in (audited, claimed) else claimed


def _warnings(audit: AuditReport) -> list[str]:
    found = []
    if audit.inputs.holdout is None:
        found.append("  without a holdout nothing distinguishes memory from coincidence")
    for finding in audit.findings:
        required = finding.id in audit.required
        if finding.status in ("inconclusive", "error", "skipped") and required:
            found.append(f"  required check {plain(finding.id)} is {finding.status}: it shows nothing")
        if finding.status == "pass" and finding.power is not None and finding.power.detectable is None:
            found.append(f"  a pass of {plain(finding.id)} means little: even a total leak may be missed")
    present = {finding.id for finding in audit.findings}
    found += [f"  required check {plain(check)} did not run" for check in audit.required if check not in present]
    sides = (
        ("synthetic", audit.inputs.synthetic),
        ("trained on", audit.inputs.train),
        ("held out", audit.inputs.holdout),
    )
    for name, side in sides:
        if side is not None and side.records_used < side.records_available:
            found.append(f"  only {side.records_used:,} of {side.records_available:,} records ({name}) were used")
    return found


def _numbers(finding: Finding) -> list[str]:
    lines = [
        f"{plain(name)} {e.value:.4g} ({e.low:.4g} to {e.high:.4g}, n = {e.n:,}, {plain(e.method)})"
        for name, e in finding.estimates.items()
    ]
    if finding.corrected_p_value is not None:
        lines.append(f"p = {finding.corrected_p_value:.3g} after {plain(finding.correction or 'correction')}")
    if finding.power is not None:
        lines.append(plain(finding.power.sentence))
    return lines
