"""What a rendering shows of a report: one model for every format, in two views.

The internal view is for people who may see the records: summaries, counts, estimates, pointers. The public view is for
everybody who can read a CI log: per check `satisfied`, `violated` or `not run`, and no number that was computed from
records. It chooses what is shown, not how.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from audits.findings import (
    AuditReport,
    Finding,
    PublicFinding,
    PublicOutcome,
    PublicReport,
    SideCount,
    ThreatModel,
    Verdict,
    ViewName,
    WorstCase,
)

__all__ = ["Row", "View", "public_report", "view"]

_OUTCOME: dict[str, PublicOutcome] = {"pass": "satisfied", "fail": "violated"}
_PUBLIC = {
    "satisfied": "The check passed.",
    "violated": "The check failed.",
    "not run": "The check was not run, or could not decide.",
}
_HEADLINE = {
    "pass": "PASS: every required check passed, each with the power that was asked",
    "fail": "FAIL: at least one check failed",
    "inconclusive": "INCONCLUSIVE: nothing failed, but a required check could not decide",
}
_CONTROL = ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")
_PUBLIC_NOTE = "Public view: numbers computed from records are left out; they are in audit.json, which is internal."


@dataclass(frozen=True, slots=True)
class Row:
    """One check as it is shown.

    Attributes:
        status: the exact status in the internal view; the outcome in the public one.
        brief: the few sentences that a terminal shows below the summary; none in the public view.
        details: everything else that is known; none in the public view.
        crashed: the check stopped with an error (internal view only).
    """

    id: str
    name: str
    title: str
    tier: str
    threat_model: ThreatModel
    required: bool
    outcome: PublicOutcome
    status: str
    summary: str
    brief: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    crashed: bool = False

    @property
    def blocking(self) -> bool:
        """Whether the verdict is not a pass because of this check."""
        return self.outcome == "violated" or (self.required and self.outcome != "satisfied")


@dataclass(frozen=True, slots=True)
class View:
    """A report as it is shown.

    Attributes:
        name: which view this is.
        facts: (name, value) pairs about what was examined.
        note: what a reader must know about the view itself; may be empty.
    """

    name: ViewName
    verdict: Verdict
    headline: str
    examiner_version: str
    facts: tuple[tuple[str, str], ...]
    rows: tuple[Row, ...]
    note: str


def view(report: AuditReport, name: ViewName) -> View:
    """Return one of the two views of a report."""
    public = name == "public"
    return View(
        name=name,
        verdict=report.verdict,
        headline=_HEADLINE[report.verdict],
        examiner_version=report.examiner_version,
        facts=tuple((name, _plain(value)) for name, value in (_digests(report) if public else _facts(report))),
        rows=tuple(_row(finding, finding.id in report.required, public) for finding in report.findings),
        note=_PUBLIC_NOTE if public else "",
    )


def public_report(report: AuditReport) -> PublicReport:
    """Return what may be published of a report, as a document of its own."""
    return PublicReport(
        examiner_version=report.examiner_version,
        synthetic_sha256=report.inputs.synthetic_sha256,
        claim_sha256=report.inputs.claim_sha256,
        verdict=report.verdict,
        findings=tuple(
            PublicFinding(
                id=finding.id,
                name=finding.name,
                title=finding.title,
                threat_model=finding.threat_model,
                tier=finding.tier,
                required=finding.id in report.required,
                outcome=_outcome(finding),
            )
            for finding in report.findings
        ),
    )


def _outcome(finding: Finding) -> PublicOutcome:
    return _OUTCOME.get(finding.status, "not run")


def _row(finding: Finding, required: bool, public: bool) -> Row:
    outcome = _outcome(finding)
    return Row(
        id=finding.id,
        name=_plain(finding.name),
        title=_plain(finding.title),
        tier=finding.tier,
        threat_model=finding.threat_model,
        required=required,
        outcome=outcome,
        status=outcome if public else finding.status,
        summary=_PUBLIC[outcome] if public else _plain(finding.summary),
        brief=() if public else tuple(map(_plain, _brief(finding))),
        details=() if public else tuple(map(_plain, _details(finding))),
        crashed=not public and finding.status == "error",
    )


def _plain(text: str) -> str:
    """Without control characters: a name in somebody's file must not steer a terminal."""
    return "".join("\ufffd" if unicodedata.category(character) in _CONTROL else character for character in text)


def _brief(finding: Finding) -> Iterator[str]:
    if finding.corrected_p_value is not None and finding.p_value is not None:
        yield f"p = {finding.p_value:.3g}, corrected {finding.corrected_p_value:.3g} ({finding.correction})"
    if finding.power is not None:
        yield finding.power.sentence
    if finding.status == "fail":
        yield from map(_pointer, finding.worst_cases)


def _details(finding: Finding) -> Iterator[str]:
    for name, number in sorted(finding.estimates.items()):
        bounds = f"{number.low:.4g} to {number.high:.4g}"
        yield f"{name} = {number.value:.4g} ({bounds}; n = {number.n}; {number.method})"
    if finding.status != "fail":
        yield from map(_pointer, finding.worst_cases)
    yield from finding.notes


def _pointer(case: WorstCase) -> str:
    row = f"row {case.synthetic_row}" if case.synthetic_row is not None else "no single row"
    words = ""
    if case.offset is not None and case.length is not None:
        words = f", words {case.offset + 1} to {case.offset + case.length}"
    return f"unit {case.unit} ({case.side}): {row}{words}, score {case.score:g}"


def _digests(report: AuditReport) -> Iterator[tuple[str, str]]:
    yield "synthetic sha256", report.inputs.synthetic_sha256
    if report.inputs.claim_sha256 is not None:
        yield "claim sha256", report.inputs.claim_sha256
    yield "examiner", report.examiner_version


def _facts(report: AuditReport) -> Iterator[tuple[str, str]]:
    inputs = report.inputs
    yield (
        "synthetic",
        f"{inputs.synthetic.records_used} of {inputs.synthetic.records_available} rows used, "
        f"{inputs.synthetic.units_used} distinct",
    )
    yield "train", _side(inputs.train)
    yield "holdout", _side(inputs.holdout) if inputs.holdout is not None else "none given"
    yield "unit", f"{inputs.privacy_unit}; split: {inputs.split}"
    yield "seed", str(report.seed)
    if report.plug_ins:
        yield "plug-ins", ", ".join(report.plug_ins)
    yield from _digests(report)


def _side(side: SideCount) -> str:
    records = f"{side.records_used} of {side.records_available} records"
    return f"{side.units_used} of {side.units_available} units, {records} used"
