"""A short plain-text summary for a terminal: verdict, inputs, one line per check, what a pass would have caught.

It shows counts, so it belongs to the internal view. It computes nothing.
"""

from audits.findings import AuditReport, Finding, SideCount

__all__ = ["render"]

_MARK = {"pass": "pass", "fail": "FAIL", "inconclusive": "open", "error": "ERROR", "skipped": "skip"}
_SENTENCE = {
    "pass": "PASS: every required check passed, each with the power that was asked",
    "fail": "FAIL: at least one check failed",
    "inconclusive": "INCONCLUSIVE: nothing failed, but a required check could not decide",
}


def render(report: AuditReport) -> str:
    """Return the summary, ending with a newline."""
    inputs = report.inputs
    lines = [
        _SENTENCE[report.verdict],
        "",
        f"synthetic  {inputs.synthetic.records_used} of {inputs.synthetic.records_available} rows used, "
        f"{inputs.synthetic.units_used} distinct",
        f"train      {_side(inputs.train)}",
        f"holdout    {_side(inputs.holdout) if inputs.holdout is not None else 'none given'}",
        f"unit       {inputs.privacy_unit}; split: {inputs.split}",
        "",
    ]
    for finding in report.findings:
        lines += _finding(finding, finding.id in report.required)
    return "\n".join(lines) + "\n"


def _side(side: SideCount) -> str:
    records = f"{side.records_used} of {side.records_available} records"
    return f"{side.units_used} of {side.units_available} units, {records} used"


def _finding(finding: Finding, required: bool) -> list[str]:
    p_value = f"  p={finding.corrected_p_value:.3g} after Holm" if finding.corrected_p_value is not None else ""
    optional = "" if required else "  (not required)"
    lines = [f"{_MARK[finding.status]:5}  {finding.id}  {finding.name}{p_value}{optional}", f"       {finding.summary}"]
    if finding.power is not None and finding.status in ("pass", "inconclusive"):
        lines.append(f"       {finding.power.sentence}")
    return lines
