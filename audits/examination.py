"""One audit from files to report: read, run every check, correct for all of them together, give the verdict.

The verdict is: any fail -> fail; else any required check that did not pass -> inconclusive; else pass. A check that
crashed, was skipped or lacked power can never make it greener. It knows no particular check.
"""

import hashlib
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from audits.canaries.envelope import Opened, open_envelope
from audits.errors import BadInputError
from audits.evidence import Evidence, Settings
from audits.features.embedding import Encoder, require_encoder
from audits.findings import AuditReport, Finding, Inputs, Levels, Power, SideCount, Verdict
from audits.inputs.claims import ReadClaim, read_claim
from audits.inputs.files import Table, read_table
from audits.inputs.units import Source, Synthetic, make_source, make_synthetic, normalise
from audits.registry import Check, Outcome, load
from audits.split import read_split_key, sides_hmac, verify_split
from audits.statistics.holm import holm

__all__ = ["Request", "examine", "findings", "read"]

_LIBRARIES = ("dp-accounting", "numpy", "pyarrow", "pydantic", "rapidfuzz", "scipy")
_SHARED = 0.01


@dataclass(frozen=True, slots=True)
class Request:
    """What to audit: files, columns, levels. The fields are the flags of `python -m audits`."""

    synthetic: Path
    source: Path
    holdout: Path | None = None
    claim: Path | None = None
    reference: Path | None = None
    split_key: Path | None = None
    canaries: Path | None = None
    encoder: Path | None = None
    text_column: str = "text"
    label_column: str | None = None
    unit_column: str | None = None
    require: tuple[str, ...] | None = None
    include: tuple[str, ...] = ()
    seed: int = 0
    settings: Settings = field(default_factory=Settings)
    max_bytes: int = 512 * 2**20
    plug_ins: bool = True


def examine(request: Request, progress: Callable[[str, float], None] = lambda step, share: None) -> AuditReport:
    """Run an audit.

    Args:
        request: what to audit.
        progress: told the current step and the share that is done.

    Raises:
        BadInputError: an input cannot be audited as given.
    """
    progress("reading", 0.0)
    checks, plug_ins = load(plug_ins=request.plug_ins)
    known = {check.id for check in checks}
    asked = {*(request.require or ()), *request.include}
    if unknown := sorted(asked - known):
        raise BadInputError(
            f"--require or --include names unknown checks: {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        )
    evidence, inputs = read(request)
    checks = tuple(_deferred(check) if check.on_request and check.id not in asked else check for check in checks)
    found = findings(checks, evidence, request.seed, progress)
    required = _required(checks, request, evidence)
    progress("done", 1.0)
    return AuditReport(
        examiner_version=_version(),
        seed=request.seed,
        inputs=inputs,
        levels=Levels(**asdict(request.settings)),
        required=required,
        findings=found,
        verdict=_verdict(found, required),
        plug_ins=plug_ins,
        libraries={name: metadata.version(name) for name in _LIBRARIES},
    )


def findings(
    checks: tuple[Check, ...],
    evidence: Evidence,
    seed: int,
    progress: Callable[[str, float], None] = lambda step, share: None,
) -> tuple[Finding, ...]:
    """Run checks on the same evidence and correct for all of them together."""
    outcomes: dict[str, Outcome | str] = {}
    for number, check in enumerate(checks):
        progress(f"{check.id} {check.name}", (number + 1) / (len(checks) + 2))
        outcomes[check.id] = _run(check, evidence, seed)
    progress("correcting", (len(checks) + 1) / (len(checks) + 2))
    return _findings(checks, outcomes, evidence)


def _deferred(check: Check) -> Check:
    """A check that nobody asked for: it says so, and nothing else."""
    said = Outcome(f"It runs on request only: --include {check.id}.", status="skipped")
    return replace(check, run=lambda evidence, rng: said)


def _version() -> str:
    try:
        return metadata.version("privdistill")
    except metadata.PackageNotFoundError:
        return "0+unknown"


def read(request: Request) -> tuple[Evidence, Inputs]:
    """Read the files of a request.

    Raises:
        BadInputError: an input cannot be audited as given.
    """
    if request.encoder is not None:
        require_encoder(request.encoder)
    unit = [request.unit_column] if request.unit_column else []
    label = [request.label_column] if request.label_column else []
    source_columns = [request.text_column, *unit, *label]
    train = read_table(request.source, source_columns, role="source", max_bytes=request.max_bytes)
    holdout = None
    if request.holdout is not None:
        holdout = read_table(request.holdout, source_columns, role="holdout", max_bytes=request.max_bytes)
    synthetic, column = _synthetic(request, label)
    claim = read_claim(request.claim) if request.claim is not None else None
    stated = claim.claim.privacy_unit if claim is not None and claim.claim is not None else "record"
    if stated != "record" and request.unit_column is None:
        raise BadInputError(
            f"the claim protects units of column {stated!r}; give --unit-column, so that units are compared"
        )
    key = read_split_key(request.split_key) if request.split_key is not None else None
    _distinct(synthetic, train, holdout)
    rows = make_synthetic(synthetic.columns[column])
    if rows.rows_used < 2:
        raise BadInputError(f"the synthetic file {synthetic.name} has fewer than two rows with text")
    opened = _canaries(request, claim, train)
    if opened is not None:
        train = _without(train, opened, request.text_column)
        holdout = _without(holdout, opened, request.text_column) if holdout is not None else None
    source = make_source(train, holdout, request.text_column, request.unit_column, by_content=key is not None)
    for side, name in ((True, "source"), (False, "holdout")):
        if (side or holdout is not None) and int((source.train == side).sum()) < 2:
            raise BadInputError(f"the {name} file has fewer than two units with text; nothing can be compared")
    if request.unit_column and source.both_sides:
        raise BadInputError(
            f"{source.both_sides} units of column {request.unit_column!r} are in source and holdout; split by unit"
        )
    evidence = Evidence(
        source=source,
        synthetic=rows,
        synthetic_sha256=synthetic.sha256,
        read_claim=claim,
        split=verify_split(source, claim.claim if claim else None, key),
        settings=request.settings,
        key=_key(request.seed, synthetic, train, holdout),
        reference=_reference(request, source, rows) if request.reference is not None else None,
        canaries=opened,
        encoder=Encoder(request.encoder) if request.encoder is not None else None,
    )
    return evidence, _inputs(evidence, train, holdout, claim, key)


def _synthetic(request: Request, label: list[str]) -> tuple[Table, str]:
    """The synthetic file has the source's text column, or `text`."""
    arguments = {"role": "synthetic", "max_bytes": request.max_bytes}
    try:
        return read_table(request.synthetic, [request.text_column], **arguments), request.text_column  # type: ignore[arg-type]
    except BadInputError as error:
        if request.text_column == "text" or "has no column" not in str(error):
            raise
        return read_table(request.synthetic, ["text"], **arguments), "text"  # type: ignore[arg-type]


def _reference(request: Request, source: Source, rows: Synthetic) -> list[str]:
    """Public texts. What they say counts as public, so they must not hold what is being examined."""
    assert request.reference is not None  # noqa: S101
    table = read_table(request.reference, [request.text_column], role="reference", max_bytes=request.max_bytes)
    public = {text for text in map(normalise, table.columns[request.text_column]) if text}
    for texts, name in ((set(source.texts), "source or holdout"), (set(rows.texts), "synthetic")):
        shared = public & texts
        if len(shared) > _SHARED * len(texts):
            raise BadInputError(
                f"{len(shared)} texts of the reference file are {name} texts; give independent public texts"
            )
        public -= shared
    return sorted(public)


def _canaries(request: Request, claim: ReadClaim | None, train: Table) -> Opened | None:
    if request.canaries is None:
        return None
    stated = claim.claim if claim is not None else None
    return open_envelope(request.canaries, stated, [normalise(text) for text in train.columns[request.text_column]])


def _without(table: Table, opened: Opened, text: str) -> Table:
    """Leave out canaries, planted or not, by their text alone: they are no units of the source."""
    issued = set(opened.texts)
    kept = [place for place, value in enumerate(table.columns[text]) if normalise(value) not in issued]
    columns = {name: [values[place] for place in kept] for name, values in table.columns.items()}
    return replace(table, columns=columns)


def _distinct(synthetic: Table, train: Table, holdout: Table | None) -> None:
    """One file in two roles is a mistake whose audit would mean nothing."""
    if synthetic.sha256 == train.sha256:
        raise BadInputError("the synthetic file is the source file: every record would be released as it is")
    if holdout is not None and holdout.sha256 == train.sha256:
        raise BadInputError("the holdout file is the source file; the holdout must hold records that were never read")
    if holdout is not None and holdout.sha256 == synthetic.sha256:
        raise BadInputError(
            "the holdout file is the synthetic file; the holdout must hold records that were never read"
        )


def _key(seed: int, *tables: Table | None) -> bytes:
    digests = "".join(table.sha256 if table is not None else "-" for table in tables)
    return hashlib.sha256(f"privdistill/redact/v1 {seed} {digests}".encode()).digest()


def _inputs(
    evidence: Evidence, train: Table, holdout: Table | None, claim: ReadClaim | None, key: bytes | None
) -> Inputs:
    source, rows = evidence.source, evidence.synthetic
    return Inputs(
        synthetic_sha256=evidence.synthetic_sha256,
        claim_sha256=claim.sha256 if claim is not None else None,
        synthetic=SideCount(
            units_used=len(rows.texts),
            units_available=rows.rows_available,
            records_used=rows.rows_used,
            records_available=rows.rows_available,
        ),
        train=_side(source, True, train.rows),
        holdout=_side(source, False, holdout.rows) if holdout is not None else None,
        privacy_unit=source.unit,
        split=evidence.split.kind,
        sides_hmac=sides_hmac(key, train.sha256, holdout.sha256) if key is not None and holdout is not None else None,
    )


def _side(source: Source, side: bool, records: int) -> SideCount:
    units = int((source.train == side).sum())
    used = int(source.copies[source.train == side].sum())
    return SideCount(
        units_used=units,
        units_available=source.units_available[0 if side else 1],
        records_used=used,
        records_available=records,
    )


def _run(check: Check, evidence: Evidence, seed: int) -> Outcome | str:
    """Run one check with randomness of its own; a crash becomes a sentence without the exception's text."""
    entropy = hashlib.sha256(f"{seed} {check.id} {evidence.synthetic_sha256}".encode()).digest()
    try:
        return check.run(evidence, np.random.default_rng(int.from_bytes(entropy, "big")))
    except (Exception, RecursionError) as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}:{frame.lineno}"
        return f"The check stopped with {type(error).__name__} at {place}; it says nothing."


def _findings(checks: tuple[Check, ...], outcomes: dict[str, Outcome | str], evidence: Evidence) -> tuple[Finding, ...]:
    tested = {
        id: o.p_value
        for id, o in outcomes.items()
        if isinstance(o, Outcome) and o.status != "fail" and o.p_value is not None
    }
    adjusted = holm(tested)
    return tuple(_finding(check, outcomes[check.id], adjusted.get(check.id), len(tested), evidence) for check in checks)


def _finding(
    check: Check, outcome: Outcome | str, adjusted: float | None, families: int, evidence: Evidence
) -> Finding:
    if isinstance(outcome, str):
        return _blank(check, outcome)
    status, summary, power = outcome.status, outcome.summary, None
    settings = evidence.settings
    if status is None and adjusted is None:
        return _blank(check, "The check gave neither a status nor a p-value; it says nothing.")
    if adjusted is not None and adjusted <= settings.alpha and outcome.harmful:
        status, summary = "fail", outcome.alarm or outcome.summary
    elif status is None:
        try:
            power = outcome.power(settings.alpha / max(families, 1)) if outcome.power is not None else None
        except Exception as error:
            return _blank(check, f"The power calculation stopped with {type(error).__name__}; the check says nothing.")
        weakness = outcome.doubt or _weakness(power, settings.max_detectable)
        status = "inconclusive" if weakness else "pass"
        summary = f"{summary} Not a pass: {weakness}." if weakness else summary
    return Finding(
        id=check.id,
        name=check.name,
        title=check.title,
        threat_model=check.threat_model,
        tier=check.tier,
        status=status,
        summary=summary,
        estimates=dict(outcome.estimates),
        p_value=outcome.p_value,
        corrected_p_value=adjusted,
        correction=f"Holm over {families} checks" if adjusted is not None else None,
        power=power,
        worst_cases=outcome.worst_cases,
        notes=outcome.notes,
    )


def _weakness(power: Power | None, limit: float) -> str:
    """Why a result without an alarm is no pass; empty when the asked power was there."""
    if power is None or power.detectable is None:
        return "it could not have been found"
    if power.detectable > limit:
        return (
            f"only {power.detectable:.2%} or more would have been found with {power.probability:.0%} probability, "
            f"{limit:.2%} is asked"
        )
    return ""


def _blank(check: Check, sentence: str) -> Finding:
    return Finding(
        id=check.id,
        name=check.name,
        title=check.title,
        threat_model=check.threat_model,
        tier=check.tier,
        status="error",
        summary=sentence,
    )


def _required(checks: tuple[Check, ...], request: Request, evidence: Evidence) -> tuple[str, ...]:
    """The core tier, the claim checks if there is a claim, the split check if there is a key; or what was asked."""
    if request.require is not None:
        return tuple(sorted(set(request.require)))
    wanted = {check.id for check in checks if check.tier == "core"}
    if evidence.read_claim is not None:
        wanted |= {"PD101", "PD102"}
    if evidence.split.key_given:
        wanted |= {"PD103"}
    return tuple(sorted(wanted))


def _verdict(findings: tuple[Finding, ...], required: tuple[str, ...]) -> Verdict:
    status = {finding.id: finding.status for finding in findings}
    if "fail" in status.values():
        return "fail"
    return "pass" if all(status.get(id) == "pass" for id in required) else "inconclusive"
