"""A run directory made of the base documents of the policy cases, with secrets planted in its private places."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audits.findings import AuditReport, Claim, Mechanism
from privdistill.bundle import Candidate, load_or_create_salt
from privdistill.policy import Digests, LedgerFacts, LoadedPolicy, decide, load_policy

BASE = Path(__file__).parents[3] / "policies" / "cases" / "base"
SECRETS = {
    "worst case": "unit-7f3a9e-secret",
    "summary": "SUMMARY-SECRET-4711",
    "note": "NOTE-SECRET-0815",
    "power": "POWER-SECRET-2342",
    "salt": "SALT-SECRET-".ljust(32, "x"),
    "split": "SPLIT-KEY-SECRET",
    "canary": "CANARY-SECRET",
    "teacher": "TEACHER-NOT-DECLARED",
    "train count": "7013",
    "holdout count": "2987",
}


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@dataclass(frozen=True)
class Run:
    """Paths of a run, and how to decide about it."""

    folder: Path
    policy: LoadedPolicy

    @property
    def data(self) -> Path:
        return self.folder / "candidate" / "data.parquet"

    @property
    def claim(self) -> Path:
        return self.folder / "candidate" / "claim.json"

    @property
    def audit(self) -> Path:
        return self.folder / "audit" / "audit.json"

    def candidate(self, **changes: Any) -> Candidate:
        claim = Claim.model_validate_json(self.claim.read_bytes())
        audit = AuditReport.model_validate_json(self.audit.read_bytes())
        files = (digest(path.read_bytes()) for path in (self.data, self.claim, self.audit))
        ledger = LedgerFacts(
            source_id=claim.source_id,
            unit=claim.privacy_unit,
            run_charges=tuple(Mechanism.model_validate(m.model_dump()) for m in claim.mechanisms),
            claim_sha256=digest(self.claim.read_bytes()),
            cumulative_epsilon=claim.epsilon,
            cumulative_delta=claim.delta,
            attempts=1,
        )
        decision = decide(
            self.policy.policy,
            claim,
            audit,
            ledger,
            Digests(*files, self.policy.sha256),
            decided_at="2026-01-01T00:00:00+00:00",
            tool_version="0.1.0",
        )
        salt = load_or_create_salt(self.folder / "private" / "audit-salt")
        packages = {"pyarrow": "1", "opendp": "2"}
        candidate = Candidate(self.data, self.claim, self.audit, self.policy, decision, salt, packages)
        return replace(candidate, **changes)


def build_run(folder: Path, *, base: str = "epsilon-8", policy: LoadedPolicy | None = None, rows: int = 150) -> Run:
    for name in ("candidate", "audit", "private"):
        (folder / name).mkdir(parents=True)
    soft = pa.struct([("fresh", pa.float32()), ("rotten", pa.float32())])
    table = pa.table(
        {
            "text": [f"A synthetic review, number {i}, with \x1b[31mcolour\x00 and \u202e." for i in range(rows)],
            "label": ["fresh" if i % 2 else "rotten" for i in range(rows)],
            "soft_label": pa.array([{"fresh": 0.25, "rotten": 0.75}] * rows, soft),
        }
    )
    run = Run(folder, policy or load_policy("internal"))
    pq.write_table(table, run.data)
    documents = json.loads((BASE / f"{base}.json").read_text())
    claim, audit = documents["claim"], documents["audit"]
    claim |= {"data_sha256": digest(run.data.read_bytes()), "rows": rows}
    run.claim.write_text(json.dumps(claim))
    audit["inputs"] |= {"synthetic_sha256": claim["data_sha256"], "claim_sha256": digest(run.claim.read_bytes())}
    audit["inputs"]["train"] |= {"units_used": 7013, "units_available": 7013}
    audit["inputs"]["holdout"] |= {"units_used": 2987, "units_available": 2987}
    for finding in audit["findings"]:
        finding |= {"summary": SECRETS["summary"], "notes": [SECRETS["note"]]}
        finding["worst_cases"] = [
            {"unit": SECRETS["worst case"], "side": "train", "synthetic_row": 7, "score": 0.123456789}
        ]
        if finding.get("power"):
            finding["power"]["sentence"] = SECRETS["power"]
    run.audit.write_text(json.dumps(audit))
    (folder / "private" / "audit-salt").write_bytes(SECRETS["salt"].encode())
    (folder / "private" / "split").write_text(SECRETS["split"])
    (folder / "private" / "canaries").write_text(SECRETS["canary"])
    (folder / "teacher.safetensors").write_text(SECRETS["teacher"])
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """An honest, audited run."""
    return build_run(tmp_path / "run")
