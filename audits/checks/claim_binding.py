"""PD102, the claim belongs to this file. Threat model: none; a true claim of another candidate proves nothing here.

Somebody hands over data together with the claim of another run, or a claim that leaves things out. The claim must fit
the schema whole, name the digest of the very bytes that are examined, and their number of rows. It does not judge
epsilon.
"""

import numpy as np

from audits.evidence import Evidence
from audits.registry import Outcome, check

__all__ = ["claim_binding"]


@check(
    id="PD102",
    name="claim-binding",
    title="Is this the claim of this very file, complete and well-formed?",
    threat_model="none",
    tier="claim",
)
def claim_binding(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    """Compare the claim with the file that it came with."""
    del rng
    read = evidence.read_claim
    if read is None:
        return Outcome("No claim was given.", status="skipped")
    claim = read.claim
    if claim is None:
        return Outcome(
            f"The claim breaks its schema in {len(read.problems)} place(s); first: {read.problems[0]}.",
            status="fail",
            notes=read.problems[1:20],
        )
    problems = []
    if claim.data_sha256.lower() != evidence.synthetic_sha256:
        problems.append("it is the claim of another file (the sha256 of the data differs)")
    if claim.rows != evidence.synthetic.rows_available:
        problems.append(f"it states {claim.rows} rows, the file has {evidence.synthetic.rows_available}")
    if (claim.privacy_unit == "record") != (claim.declarations.unit_column is None):
        problems.append("its privacy unit and its declared unit column contradict each other")
    if problems:
        return Outcome(
            f"The claim does not belong to this file: {problems[0]}.", status="fail", notes=tuple(problems[1:])
        )
    notes: tuple[str, ...] = ()
    if claim.privacy_unit != evidence.source.unit:
        notes = (f"the claim protects {claim.privacy_unit!r}, this audit examined {evidence.source.unit!r}",)
    return Outcome("The claim is complete, and names this file's digest and rows.", status="pass", notes=notes)
