"""Check a bundle with nothing but the bundle: offline, without torch, without the run.

    verify(bundle, key_id=None) -> Verification
    is_bundle(path) -> bool                     whether that is a bundle, whole or damaged, and not a run

Checksums over a closed layout, schemas, rows against the claim, epsilon against the mechanisms, every rule whose
inputs are here, and documents that follow from others rendered again. What a reader still has to take on trust is
listed as not-checked. It proves that the papers fit one another; only a signature by a known key proves who made them.
"""

import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from audits.findings import Claim
from privdistill.bundle import layout
from privdistill.bundle.papers.attestations import Statement, audit_statement, decision_statement
from privdistill.bundle.papers.audit_view import AuditView
from privdistill.bundle.papers.derived import derived_files
from privdistill.bundle.papers.provenance import Provenance, provenance
from privdistill.bundle.reading import read_bundle
from privdistill.bundle.rederive import derivable, disagreements, epsilon_problems
from privdistill.bundle.rows import Table, read_rows
from privdistill.bundle.signature import read_signature
from privdistill.bundle.strict_json import read_document
from privdistill.bundle.traces import local_trace
from privdistill.errors import PrivdistillError, RefusedError, RunError
from privdistill.policy.decide import evaluate
from privdistill.policy.decision import Decision
from privdistill.policy.facts import Digests, Facts
from privdistill.policy.load import LoadedPolicy, parse_policy
from privdistill.report.statement import PrivacyStatement, privacy_statement
from privdistill.report.verification import Verification, VerifiedItem

__all__ = ["is_bundle", "verify"]

_NOT_CHECKED = (
    ("audit outcomes", "attested by a salted commitment; the holder of the internal report can open it to a reviewer"),
    ("ledger", "totals and attempts are as the ledger stated them when the decision was made"),
    ("mechanisms", "that this noise was drawn and these sensitivities hold is a property of the code version named"),
)
_UNSIGNED = "the bundle carries no signature: who assembled it is not shown"


@dataclass(frozen=True, slots=True)
class _Papers:
    """The parsed documents of a bundle."""

    files: dict[str, bytes]
    claim: Claim
    audit: AuditView
    decision: Decision
    origin: Provenance
    statement: PrivacyStatement
    policy: LoadedPolicy
    table: Table

    @property
    def facts(self) -> Facts:
        data, claim = layout.sha256(self.files[layout.DATA]), layout.sha256(self.files[layout.CLAIM])
        digests = Digests(data, claim, None, self.policy.sha256)
        return Facts(self.claim, None, None, digests)


def verify(bundle: Path, key_id: str | None = None) -> Verification:
    """Check a bundle.

    Args:
        bundle: its folder, or a zip of it; nothing is unpacked.
        key_id: id of the key that must have signed it; see `signature.key_id_of`.

    Raises:
        RunError: there is nothing of that name, or a folder that is something else.
    """
    bundle = Path(bundle)
    if not bundle.is_dir() and not (bundle.is_file() and zipfile.is_zipfile(bundle)):
        raise RunError(f"expected the folder of a bundle, or a zip of one, found none at {bundle.name!r}")
    _refuse_other_folder(bundle)
    name = bundle.resolve().name
    files, problems = read_bundle(bundle)
    items = [_item("layout", problems, f"{len(files)} files, and no other")]
    if not problems:
        problems = _damage(files)
        items.append(_item("checksums", problems, "every byte as listed"))
        if not problems:
            items += [*_documents(files), *_signature(files, key_id)]
    return Verification(bundle=name, checks=tuple(items))


def is_bundle(path: Path) -> bool:
    """Tell a bundle, however damaged, from a run or a mistyped path, for whoever takes either."""
    return os.path.lexists(path / layout.SUMS) or (_made_as_bundle(path) and not os.path.lexists(path / "run.json"))


def _made_as_bundle(folder: Path) -> bool:
    return any(os.path.lexists(folder / name) for name in (layout.SUMS, layout.CLAIM))


def _refuse_other_folder(folder: Path) -> None:
    """Tell a mistyped path from a bundle that is damaged: neither sums nor claim, so nobody made it to be one."""
    if not folder.is_dir() or _made_as_bundle(folder):
        return
    found = "a run, not a bundle" if (folder / "run.json").is_file() else "a folder without a bundle in it"
    raise RunError(f"expected a bundle, found {found} at {folder.resolve().name!r}; privdistill release makes one")


def _signature(files: dict[str, bytes], key_id: str | None) -> list[VerifiedItem]:
    if layout.SIGNATURE not in files:
        if key_id is not None:
            return [_item("signature", ["the bundle is not signed"], "")]
        return [VerifiedItem(name="author", status="not-checked", sentence=_UNSIGNED)]
    try:
        found = read_signature(files[layout.SIGNATURE], files[layout.SUMS])
    except RefusedError as error:
        return [_item("signature", [str(error)], "")]
    if key_id is None:
        sentence = f"signed by the key {found.key_id}, which is the author's only if the author says so; see --key"
        return [VerifiedItem(name="author", status="not-checked", sentence=sentence)]
    wrong = [] if found.key_id == key_id else [f"signed by the key {found.key_id}, not by the one that was named"]
    return [_item("signature", wrong, f"by the key {key_id}")]


def _damage(files: dict[str, bytes]) -> list[str]:
    expected = layout.sums_text(files)
    if files[layout.SUMS] == expected.encode():
        return []
    listed = set(files[layout.SUMS].decode("utf-8", "replace").splitlines())
    names = [line.partition("  ")[2] for line in expected.splitlines() if line not in listed]
    return [f"{', '.join(names) or layout.SUMS} is not as listed"]


def _documents(files: dict[str, bytes]) -> list[VerifiedItem]:
    try:
        claim = read_document(Claim, files[layout.CLAIM], layout.CLAIM)
        papers = _Papers(
            files,
            claim,
            read_document(AuditView, files[layout.AUDIT], layout.AUDIT),
            read_document(Decision, files[layout.DECISION], layout.DECISION),
            read_document(Provenance, files[layout.PROVENANCE], layout.PROVENANCE),
            read_document(PrivacyStatement, files[layout.PRIVACY_JSON], layout.PRIVACY_JSON),
            parse_policy(files[layout.POLICY].decode("utf-8"), layout.POLICY),
            read_rows(files[layout.DATA], claim.declarations.fields),
        )
    except PrivdistillError as error:
        return [_item("documents", [str(error)], "")]
    except UnicodeDecodeError:
        return [_item("documents", [f"{layout.POLICY} is not UTF-8 text"], "")]
    steps: tuple[tuple[str, Callable[[_Papers], list[str]], str], ...] = (
        ("rows", _rows, f"{claim.rows} rows, the ones of the claim"),
        ("decision", _decision, f"allow, under policy {papers.policy.policy.name}"),
        (
            "epsilon",
            lambda p: list(epsilon_problems(p.claim)),
            "follows from the mechanisms, with the profile and its delta",
        ),
        (
            "audit view",
            _audit,
            "of these rows and this claim; its outcomes carry the decision; no number shown without leave",
        ),
        ("documents", _rendered, "statement, card, provenance and JSON lines follow from claim, decision and rows"),
        ("traces", _traces, "no path of a machine in any document"),
    )
    items = [_item(name, _attempt(step, papers), sentence) for name, step, sentence in steps]
    own = evaluate(papers.policy.policy, papers.facts)
    inside = [result.id for result in own if derivable(result, papers.facts)]
    outside = [result.id for result in own if not derivable(result, papers.facts)]
    items.append(_item("rules", [], f"{len(inside)} of {len(own)} results derived again: {', '.join(inside)}"))
    items.append(VerifiedItem(name="rules", status="not-checked", sentence=f"inputs not here: {', '.join(outside)}"))
    if claim.delta_parts is not None and claim.delta_parts.thresholds > 0:
        items.append(VerifiedItem(name="thresholds", status="not-checked", sentence="their part of delta is as stated"))
    if papers.decision.tool_version != _own_version():
        sentence = (
            f"written by version {papers.decision.tool_version}: the wording of cards and findings was not compared"
        )
        items.append(VerifiedItem(name="documents", status="not-checked", sentence=sentence))
    items += [VerifiedItem(name=name, status="not-checked", sentence=sentence) for name, sentence in _NOT_CHECKED]
    return items


def _attempt(step: Callable[[_Papers], list[str]], papers: _Papers) -> list[str]:
    try:
        return step(papers)
    except Exception as error:
        return [f"could not be checked ({type(error).__name__})"]


def _rows(papers: _Papers) -> list[str]:
    found = []
    if layout.sha256(papers.files[layout.DATA]) != papers.claim.data_sha256:
        found.append("the rows are not the ones of the claim")
    if papers.table.rows != papers.claim.rows:
        found.append(f"expected {papers.claim.rows} rows, found {papers.table.rows}")
    return found


def _decision(papers: _Papers) -> list[str]:
    decision, policy = papers.decision, papers.policy
    found = [f"result of {name} does not follow" for name in disagreements(policy.policy, papers.facts, decision)]
    if decision.verdict != "allow":
        found.append(f"the verdict is {decision.verdict}")
    if decision.view != "public":
        found.append("this is the internal view of a decision")
    identity = (decision.policy.name, decision.policy.version, decision.policy.sha256)
    if identity != (policy.policy.name, policy.policy.version, policy.sha256):
        found.append("it was made under another policy")
    digests = papers.facts.digests
    if decision.digests != digests:
        found.append("it was made about other rows, another claim or another policy")
    if decision.run_id != papers.claim.run_id:
        found.append("it was made about another run")
    return found


def _audit(papers: _Papers) -> list[str]:
    audit, decision, found = papers.audit, papers.decision, []
    digests = papers.facts.digests
    if (audit.data_sha256, audit.claim_sha256) != (digests.data, digests.claim):
        found.append("it examined other rows or another claim")
    if (audit.privacy_unit == "record") != (papers.claim.privacy_unit == "record"):
        found.append("it counted another unit")
    if not audit.commitment == decision.audit_commitment == papers.origin.audit_commitment:
        found.append("decision and audit commit to different reports")
    outcomes = {check.id: check.outcome for check in audit.checks}
    if "violated" in outcomes.values():
        found.append("a check failed")
    required = {check for rule in papers.policy.policy.rules for check in _required(rule)}
    lacking = sorted(check for check in {*audit.required, *required} if outcomes.get(check) != "satisfied")
    if lacking:
        found.append(f"required checks without a pass: {', '.join(lacking)}")
    if not papers.policy.policy.publish_metrics:
        hidden = [result for result in decision.rules if "audit" in result.evidence and result.value is not None]
        if hidden or any(check.metrics is not None for check in audit.checks):
            found.append("it shows numbers that the policy does not publish")
    return found


def _required(rule: object) -> tuple[str, ...]:
    from privdistill.policy.rules.audit import MinPower, RequiredChecks

    return rule.checks if isinstance(rule, MinPower | RequiredChecks) and rule.level != "advisory" else ()


def _rendered(papers: _Papers) -> list[str]:
    decision, files = papers.decision, papers.files
    found = [] if files[layout.JSONL] == papers.table.jsonl else ["the JSON lines are not the rows of the parquet file"]
    data, claim_sha256 = layout.sha256(files[layout.DATA]), layout.sha256(files[layout.CLAIM])
    origin = provenance(
        papers.claim,
        released_by=decision.tool_version,
        examiner_version=papers.audit.examiner_version,
        packages=papers.origin.packages,
        claim_sha256=claim_sha256,
        policy_sha256=papers.policy.sha256,
        audit_commitment=papers.audit.commitment,
    )
    if origin != papers.origin:
        found.append("the provenance does not follow from the claim")
    statement = privacy_statement(papers.claim, decision, papers.policy.policy)
    core = ("run_id", "code_version", "recipe", "data_sha256", "rows", "accounting", "declarations")
    if any(getattr(statement, name) != getattr(papers.statement, name) for name in core):
        found.append("the privacy statement does not follow from the claim")
    promised, stated = statement.guarantee, papers.statement.guarantee
    if (promised.epsilon, promised.delta) != (stated.epsilon, stated.delta):
        found.append("the privacy statement promises something else than the claim")
    attestations = (
        (layout.AUDIT_STATEMENT, audit_statement(papers.audit, data, claim_sha256)),
        (layout.DECISION_STATEMENT, decision_statement(decision, data, claim_sha256)),
    )
    for name, attested in attestations:
        if read_document(Statement, files[name], name) != attested:
            found.append(f"{name} attests something else than audit and decision say")
    if decision.tool_version == _own_version():
        expected = derived_files(
            papers.claim,
            decision,
            papers.audit,
            papers.policy.policy,
            papers.table,
            data=data,
            claim_sha256=claim_sha256,
        )
        found += [f"{name} was edited" for name, content in sorted(expected.items()) if files[name] != content]
        own = evaluate(papers.policy.policy, papers.facts)
        pairs = zip(own, decision.rules, strict=True)
        found += [f"the finding of {a.id} was edited" for a, b in pairs if derivable(a, papers.facts) and a != b]
    return found


def _own_version() -> str:
    try:
        return version("privdistill")
    except PackageNotFoundError:
        return "unknown"


def _traces(papers: _Papers) -> list[str]:
    documents = (name for name in layout.FILES if name not in (layout.DATA, layout.JSONL))
    return [f"{name} names a path" for name in documents if local_trace(papers.files[name].decode("utf-8", "replace"))]


def _item(name: str, problems: list[str], sentence: str) -> VerifiedItem:
    if problems:
        return VerifiedItem(name=name, status="failed", sentence="; ".join(problems))
    return VerifiedItem(name=name, status="verified", sentence=sentence)
