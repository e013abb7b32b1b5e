"""From a decided candidate to a bundle.

    assemble(candidate, out) -> Path

Reads the candidate once, holds it to the decision by digest, re-derives every rule it can, renders the public files,
refuses any trace of the machine, and publishes the folder only after `verify` has accepted it. It does not know how
the decision was made, and changes nothing in the run.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from audits.findings import AuditReport, Claim
from privdistill.bundle import layout
from privdistill.bundle.once import recorded, refuse_released
from privdistill.bundle.papers.audit_view import audit_view, commitment
from privdistill.bundle.papers.derived import derived_files
from privdistill.bundle.papers.provenance import provenance
from privdistill.bundle.publish import publish, refuse_occupied
from privdistill.bundle.rederive import disagreements
from privdistill.bundle.rows import Table, read_rows
from privdistill.bundle.signature import Signer
from privdistill.bundle.strict_json import read_document
from privdistill.bundle.traces import local_trace
from privdistill.bundle.verify import verify
from privdistill.errors import IndeterminateError, RefusedError, RunError
from privdistill.policy.decision import Decision
from privdistill.policy.facts import Digests, Facts
from privdistill.policy.load import LoadedPolicy

__all__ = ["Candidate", "assemble"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """Everything a bundle is made from.

    Attributes:
        data: candidate/data.parquet of the run.
        claim: candidate/claim.json.
        audit: audit/audit.json.
        policy: the policy that was applied.
        decision: what was decided under it.
        salt: hides the audit behind its commitment; see `load_or_create_salt`. Stays in the run.
        packages: package name -> version, published in provenance.json.
        sign: SHA256SUMS -> its signature file; None leaves the bundle unsigned. See `signature.signer`.
        record: where it is written down that this run was released; None keeps no record.
    """

    data: Path
    claim: Path
    audit: Path
    policy: LoadedPolicy
    decision: Decision
    salt: bytes
    packages: Mapping[str, str]
    sign: Signer | None = None
    record: Path | None = None


def assemble(candidate: Candidate, out: Path) -> Path:
    """Write the bundle of an allowed candidate.

    Raises:
        RefusedError: the decision is deny, something changed after it, the run was released before, or the bundle
            would not verify.
        IndeterminateError: the decision is indeterminate.
        RunError: a file of the run is missing, `out` exists, or the disk does not take the bundle.
    """
    _refuse_undecided(candidate.decision)
    refuse_occupied(out)
    if candidate.record is not None:
        refuse_released(candidate.record)
    data, claim_bytes, audit_bytes = (_read(path) for path in (candidate.data, candidate.claim, candidate.audit))
    claim, audit = (
        read_document(Claim, claim_bytes, "claim.json"),
        read_document(AuditReport, audit_bytes, "audit.json"),
    )
    policy, decision = candidate.policy, candidate.decision
    policy_bytes = policy.text.encode()
    digests = Digests(*(layout.sha256(content) for content in (data, claim_bytes, audit_bytes, policy_bytes)))
    _refuse_changed(digests, policy, decision)
    differing = disagreements(policy.policy, Facts(claim, audit, None, digests), decision)
    if differing:
        raise RefusedError(f"the decision does not follow from its inputs ({', '.join(differing)}); run the gate again")
    table = read_rows(data, claim.declarations.fields)
    committed = commitment(candidate.salt, audit_bytes)
    publish_metrics = policy.policy.publish_metrics
    public = decision.public(publish_metrics=publish_metrics, audit_commitment=committed)
    view = audit_view(audit, committed, publish_metrics=publish_metrics)
    origin = provenance(
        claim,
        released_by=decision.tool_version,
        examiner_version=audit.examiner_version,
        packages=candidate.packages,
        claim_sha256=layout.sha256(claim_bytes),
        policy_sha256=policy.sha256,
        audit_commitment=committed,
    )
    follow = derived_files(
        claim, public, view, policy.policy, table, data=layout.sha256(data), claim_sha256=layout.sha256(claim_bytes)
    )
    texts = {
        layout.AUDIT: view.to_json(),
        layout.DECISION: public.to_json(),
        layout.PROVENANCE: origin.to_json(),
    }
    files = follow | {name: text.encode() for name, text in texts.items()}
    files |= {layout.DATA: data, layout.CLAIM: claim_bytes, layout.POLICY: policy_bytes}
    _refuse_traces(files, table)
    files[layout.SUMS] = layout.sums_text(files).encode()
    if candidate.sign is not None:
        files[layout.SIGNATURE] = candidate.sign(files[layout.SUMS])
    if candidate.record is None:
        return publish(files, out, _inspect)
    with recorded(candidate.record, layout.sha256(files[layout.SUMS]), decision):
        return publish(files, out, _inspect)


def _refuse_undecided(decision: Decision) -> None:
    if decision.view != "internal":
        raise RefusedError("expected the run's own decision, found the public view of one")
    if decision.verdict == "deny":
        raise RefusedError(f"the policy {decision.policy.name} denies this release; {decision.reason}")
    if decision.verdict == "indeterminate":
        raise IndeterminateError(f"the policy {decision.policy.name} could not be decided; {decision.reason}")


def _refuse_changed(digests: Digests, policy: LoadedPolicy, decision: Decision) -> None:
    decided = decision.digests
    pairs = (
        ("the rows", digests.data, decided.data),
        ("the claim", digests.claim, decided.claim),
        ("the audit", digests.audit, decided.audit),
        ("the policy", digests.policy, decided.policy),
        ("the policy", policy.sha256, decision.policy.sha256),
        ("the policy", digests.policy, policy.sha256),
    )
    changed = sorted({name for name, now, then in pairs if now != then})
    if changed:
        raise RefusedError(f"{' and '.join(changed)} changed after the decision; run audit and gate again")


def _refuse_traces(files: Mapping[str, bytes], table: Table) -> None:
    for name, content in sorted(files.items()):
        if name in (layout.DATA, layout.JSONL):
            continue
        if local_trace(content.decode("utf-8", "replace")):
            raise RefusedError(f"{name} would publish a path of this machine; use a name instead (for a model: its id)")
    if local_trace(table.metadata):
        raise RefusedError("the metadata of the parquet file would publish a path of this machine")


def _inspect(folder: Path) -> None:
    found = verify(folder).of("failed")
    if found:
        raise RefusedError(
            "the bundle would not verify: " + "; ".join(f"{item.name}: {item.sentence}" for item in found)
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RunError(
            f"expected {path.name} in the run, found none ({error.strerror}); run the earlier stages"
        ) from None
