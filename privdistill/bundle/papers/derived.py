"""Every file of a bundle that follows from others: made by `assemble`, made again by `verify` and compared.

    derived_files(claim, decision, audit, policy, table, ...) -> {name: content}

It does not know how rows, claim, audit view and decision came about.
"""

from audits.findings import Claim
from privdistill.bundle import layout
from privdistill.bundle.papers.attestations import audit_statement, decision_statement
from privdistill.bundle.papers.audit_view import AuditView
from privdistill.bundle.papers.croissant import croissant
from privdistill.bundle.rows import Table
from privdistill.policy.decision import Decision
from privdistill.policy.model import Policy
from privdistill.report.card import render_card, render_citation, render_licence
from privdistill.report.page import render_page
from privdistill.report.privacy import render_privacy
from privdistill.report.statement import privacy_statement

__all__ = ["derived_files"]


def derived_files(
    claim: Claim, decision: Decision, audit: AuditView, policy: Policy, table: Table, *, data: str, claim_sha256: str
) -> dict[str, bytes]:
    """Render them.

    Args:
        claim: what is claimed.
        decision: public view.
        audit: public view.
        policy: that was applied.
        table: the rows.
        data: sha256 of the parquet file.
        claim_sha256: of claim.json.

    Raises:
        RefusedError: the claim has no epsilon; there is nothing to state.
    """
    statement = privacy_statement(claim, decision, policy)
    privacy = render_privacy(statement, decision)
    jsonl = layout.sha256(table.jsonl)
    texts = {
        layout.CARD: render_card(statement, data_file=layout.DATA, columns=table.columns),
        layout.PRIVACY: privacy,
        layout.PRIVACY_JSON: statement.to_json(),
        layout.CITATION: render_citation(statement),
        layout.LICENSE: render_licence(),
        layout.REPORT: render_page(privacy),
        layout.CROISSANT: croissant(statement, columns=table.columns, data_sha256=data, jsonl_sha256=jsonl),
        layout.AUDIT_STATEMENT: audit_statement(audit, data, claim_sha256).to_line(),
        layout.DECISION_STATEMENT: decision_statement(decision, data, claim_sha256).to_line(),
    }
    return {name: text.encode() for name, text in texts.items()} | {layout.JSONL: table.jsonl}
