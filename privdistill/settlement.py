"""Gather what a decision needs (claim, audit, ledger rows, digests), have it made, write it down, and pack a bundle.

Whatever cannot be read is handed to the policy as absent, and absent fails closed. It does not know a single rule.
"""

import hashlib
import platform
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from audits.findings import AuditReport, Claim, Mechanism
from privdistill.atomic import write_atomically
from privdistill.bundle import Candidate, Signer, assemble, load_or_create_salt, verify
from privdistill.errors import PrivdistillError
from privdistill.policy import Decision, Digests, Facts, LedgerFacts, LoadedPolicy, Waiver, decide, renewed
from privdistill.runs import RunDirectory, now

__all__ = ["decide_bundle", "decide_run", "pack", "run_facts"]

_Model = TypeVar("_Model", bound=BaseModel)
_PACKAGES = ("privdistill", "torch", "transformers", "opacus", "opendp", "dp-accounting", "numpy", "scipy", "pyarrow")


def decide_run(run: RunDirectory, loaded: LoadedPolicy, waivers: Sequence[Waiver] = ()) -> Decision:
    """Decide about a run and write RUN/decision.json."""
    run.decision.unlink(missing_ok=True)
    facts = run_facts(run, loaded.sha256)
    if facts.audit is not None:
        from privdistill.examination import require_own_sides

        require_own_sides(run, facts.audit)
    decision = decide(
        loaded.policy,
        facts.claim,
        facts.audit,
        facts.ledger,
        facts.digests,
        decided_at=now(),
        tool_version=version("privdistill"),
        waivers=waivers,
    )
    write_atomically(run.decision, decision.to_json().encode())
    return decision


def run_facts(run: RunDirectory, policy_sha256: str) -> Facts:
    """Everything that is known of a run, as the rules are shown it."""
    claim, claim_sha256 = _read(run.claim, Claim)
    audit, audit_sha256 = _read(run.audit, AuditReport)
    digests = Digests(data=_sha256(run.data), claim=claim_sha256, audit=audit_sha256, policy=policy_sha256)
    return Facts(claim, audit, _ledger_facts(run), digests)


def decide_bundle(bundle: Path, loaded: LoadedPolicy, waivers: Sequence[Waiver] = ()) -> Decision:
    """Decide about a bundle: the decision inside when it verifies and was made under this very policy.

    Under another policy the audit's numbers are not in the bundle, so rules that need them are not run. A bundle that
    does not verify is denied, whatever the rules say of the little that is left of it.
    """
    claim, claim_sha256 = _read(bundle / "claim.json", Claim)
    inside, _ = _read(bundle / "decision.json", Decision)
    verification = verify(bundle)
    sound = verification.ok
    if sound and inside is not None and inside.policy.sha256 == loaded.sha256:
        return renewed(inside, waivers, now())
    digests = Digests(
        data=_sha256(next(iter(sorted((bundle / "data").glob("*.parquet"))), bundle / "absent")) if sound else None,
        claim=claim_sha256,
        audit=None,
        policy=loaded.sha256,
    )
    made = decide(
        loaded.policy,
        claim if sound else None,
        None,
        None,
        digests,
        decided_at=now(),
        tool_version=version("privdistill"),
        waivers=waivers,
    )
    failed = ", ".join(sorted({check.name for check in verification.of("failed")}))
    broken = {"verdict": "deny", "reason": f"the bundle does not verify ({failed}); see privdistill verify"}
    return made if sound else made.model_copy(update=broken)


def pack(run: RunDirectory, loaded: LoadedPolicy, decision: Decision, out: Path, sign: Signer | None = None) -> Path:
    """Assemble the bundle of an allowed run at `out`.

    Raises:
        RefusedError: something changed since the decision, a row holds a canary, or the run was released before.
        RunError: `out` exists.
    """
    from privdistill.examination import refuse_canaries

    refuse_canaries(run)
    salt = load_or_create_salt(run.private / "audit-salt")
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return assemble(
        Candidate(
            data=run.data,
            claim=run.claim,
            audit=run.audit,
            policy=loaded,
            decision=decision,
            salt=salt,
            packages=found,
            sign=sign,
            record=run.path / "release.json",
        ),
        out,
    )


def _ledger_facts(run: RunDirectory) -> LedgerFacts | None:
    """What the ledger says; None when it is missing, moved, broken, or does not know the source."""
    from privdistill.accounting.ledger import Ledger  # a bundle is decided about without one, and without its database

    manifest = run.manifest()
    try:
        book = Ledger(manifest.ledger, create=False)
        book.verify()
        unit = next((unit for id_, _, unit in book.sources() if id_ == manifest.source_id), None)
        total = book.total(manifest.source_id)
        charges = tuple(Mechanism.model_validate(mechanism) for mechanism in book.mechanisms(manifest.run_id))
        claim_sha256 = book.claim_sha256(manifest.run_id)
    except (PrivdistillError, ValidationError):
        return None
    if unit is None:
        return None
    return LedgerFacts(
        source_id=manifest.source_id,
        unit=unit,
        run_charges=charges,
        claim_sha256=claim_sha256,
        cumulative_epsilon=total.epsilon,
        cumulative_delta=total.delta,
        attempts=total.attempts,
        reviewed_attempts=total.reviewed,
        unprotected=total.unprotected,
    )


def _read(path: Path, kind: type[_Model]) -> tuple[_Model | None, str | None]:
    try:
        content = path.read_bytes()
    except OSError:
        return None, None
    try:
        return kind.model_validate_json(content), hashlib.sha256(content).hexdigest()
    except ValidationError:
        return None, hashlib.sha256(content).hexdigest()


def _sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None
