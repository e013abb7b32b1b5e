"""Renderings of decision, claim, audit and verification: str out, nothing printed, nothing read.

    render_decision(decision, *, report=None)        render_audit(audit, *, unit=None)
    render_report(claim, decision, audit, ...)       render_release(claim, decision, checks)
    render_privacy(statement, decision)              render_card(statement, *, data_file, columns)
    render_policy(policy, sha256)                    render_verification(verification), render_broken(what, checks)
    render_evaluation(evaluation)                    privacy_statement(claim, decision, policy) -> PrivacyStatement

It does not know runs, bundles or terminals.
"""

from privdistill.report.audit import render_audit
from privdistill.report.card import render_card
from privdistill.report.decision import render_decision, verdict_line
from privdistill.report.evaluation import render_evaluation
from privdistill.report.plain import markdown, plain
from privdistill.report.policy import render_policy
from privdistill.report.privacy import render_privacy
from privdistill.report.run import render_claim, render_release, render_report
from privdistill.report.statement import PrivacyStatement, privacy_statement
from privdistill.report.verification import Verification, VerifiedItem, render_broken, render_verification

__all__ = [
    "PrivacyStatement",
    "Verification",
    "VerifiedItem",
    "markdown",
    "plain",
    "privacy_statement",
    "render_audit",
    "render_broken",
    "render_card",
    "render_claim",
    "render_decision",
    "render_evaluation",
    "render_policy",
    "render_privacy",
    "render_release",
    "render_report",
    "render_verification",
    "verdict_line",
]
