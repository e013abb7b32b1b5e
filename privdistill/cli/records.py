"""What is recorded about a run or a bundle, read back into its types, if it holds together.

A bundle is verified first. Of a run, claim, rows, audit and ledger are held to one another by the rules that apply
under every policy; a decision about other papers counts as none, and one about these is made again. Where that fails,
nothing is handed on. Reads only the named files of the two layouts and policies, never `private/`. It does not know how
a record is rendered.
"""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from audits.findings import AuditReport, Claim
from privdistill.errors import RunError
from privdistill.policy.decision import Decision
from privdistill.policy.rules import Status
from privdistill.report.verification import VerifiedItem
from privdistill.runs import RunDirectory

if TYPE_CHECKING:
    from privdistill.policy.decide import Held
    from privdistill.policy.facts import Facts

__all__ = ["Records", "read_records"]

_Model = TypeVar("_Model", bound=BaseModel)
_STATUSES: dict[Status, Literal["verified", "failed", "not-checked"]] = {
    "satisfied": "verified",
    "violated": "failed",
    "not-run": "not-checked",
}
_HELD: dict[str, Literal["verified", "failed", "not-checked"]] = {
    "holds": "verified",
    "contradicted": "failed",
    "unchecked": "not-checked",
}
_AUDIT_SAYS = "audit-verdict"
"""The one standing rule that is about what was found, not about whether the papers belong together."""


@dataclass(frozen=True, slots=True)
class Records:
    """Claim, decision and audit; the last two may not exist yet, and a bundle holds no numbers of the audit.

    Attributes:
        claim: None exactly if a check failed; then the others are None too.
        decision: the last one, if it is about these very papers; `checks` say how far it was made again.
        audit: the examiner's report.
        checks: what was held to what.
        outdated: whether a decision is recorded that is about other papers, or that the ledger has overtaken.
        is_bundle: whether it is a bundle.
    """

    claim: Claim | None
    decision: Decision | None
    audit: AuditReport | None
    checks: tuple[VerifiedItem, ...]
    outdated: bool
    is_bundle: bool

    @property
    def unchecked(self) -> bool:
        """Whether papers of a run may not belong together; what no bundle can show by itself is no such case."""
        return not self.is_bundle and any(check.status == "not-checked" for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """One JSON document."""
        found = {"claim": self.claim, "decision": self.decision, "audit": self.audit}
        shown = {name: model.model_dump(mode="json", by_alias=True) if model else None for name, model in found.items()}
        return {**shown, "checks": [check.model_dump(mode="json") for check in self.checks]}


def read_records(target: Path) -> Records:
    """Read the records of a run or a bundle.

    Raises:
        RunError: it is neither, or a record of a run is absent or does not follow its schema.
    """
    from privdistill.bundle import is_bundle

    return _of_bundle(target) if is_bundle(target) else _of_run(RunDirectory.open(target))


def _of_bundle(bundle: Path) -> Records:
    from privdistill.bundle import verify

    verification = verify(bundle)
    if not verification.ok:
        return Records(None, None, None, verification.checks, outdated=False, is_bundle=True)
    claim, decision = _read(bundle / "claim.json", Claim), _read(bundle / "decision.json", Decision)
    return Records(claim, decision, None, verification.checks, outdated=False, is_bundle=True)


def _of_run(run: RunDirectory) -> Records:
    from privdistill.policy.decide import standing
    from privdistill.settlement import run_facts

    claim, decision, audit = _read(run.claim, Claim), _read(run.decision, Decision), _read(run.audit, AuditReport)
    if claim is None:
        raise RunError(f"{run.path} holds no claim.json; name a directory made by generate or release")
    facts = run_facts(run, "")
    checks = tuple(
        VerifiedItem(name=result.id, status=_STATUSES[result.status], sentence=result.finding)
        for result in standing(facts)
        if result.id != _AUDIT_SAYS and (audit is not None or "audit" not in result.evidence)
    )
    then, now = decision.digests if decision else None, facts.digests
    outdated = then is not None and (then.data, then.claim, then.audit) != (now.data, now.claim, now.audit)
    if decision is not None and not outdated:
        state, sentence = _held(decision, facts)
        outdated = state == "outdated"
        if not outdated:
            checks = (*checks, VerifiedItem(name="decision", status=_HELD[state], sentence=sentence))
    if any(check.status == "failed" for check in checks):
        return Records(None, None, None, checks, outdated=False, is_bundle=False)
    return Records(claim, None if outdated else decision, audit, checks, outdated=outdated, is_bundle=False)


def _held(decision: Decision, facts: "Facts") -> "Held":
    from privdistill.policy.decide import held
    from privdistill.policy.load import policy_of

    loaded = policy_of(decision.policy.sha256)
    return held(decision, facts, loaded.policy if loaded else None, version("privdistill"))


def _read(file: Path, kind: type[_Model]) -> _Model | None:
    try:
        return kind.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError:
        raise RunError(f"{file} does not follow its schema; it was edited or written by another version") from None
