"""What leaves: a folder that carries its rows, its claim, the decision, and the means to check them.

    assemble(candidate: Candidate, out: Path) -> Path
    verify(bundle: Path, key_id: str | None = None) -> Verification
    is_bundle(path: Path) -> bool
    load_or_create_salt(path: Path) -> bytes
    refuse_edited_policy(decision: Path, loaded: LoadedPolicy) -> None
    key_id_of(public_key_file: Path) -> str

It does not know how rows are made, and never opens the private part of a run except for the salt of the audit's
commitment.
"""

from privdistill.bundle.assemble import Candidate, assemble
from privdistill.bundle.once import refuse_edited_policy
from privdistill.bundle.salt import load_or_create_salt
from privdistill.bundle.signature import Signer, key_id_of
from privdistill.bundle.verify import is_bundle, verify
from privdistill.report.verification import Verification

__all__ = [
    "Candidate",
    "Signer",
    "Verification",
    "assemble",
    "is_bundle",
    "key_id_of",
    "load_or_create_salt",
    "refuse_edited_policy",
    "verify",
]
