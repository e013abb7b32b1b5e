"""PRIVACY.md: the epsilon report in words, for the person who has to answer for the release.

It does not know files. Everything declared is shown as text that cannot act.
"""

from audits.findings import Declarations
from privdistill.policy.decision import Decision
from privdistill.report.plain import markdown
from privdistill.report.statement import PrivacyStatement

__all__ = ["render_privacy"]


def render_privacy(statement: PrivacyStatement, decision: Decision) -> str:
    """Render the statement of a release, in its public view."""
    parts = (
        _verdict(statement, decision),
        _guarantee(statement),
        _attackers(statement),
        _limits(statement),
        _accounting(statement),
        _trust(statement),
        _rules(decision),
        _verify(),
    )
    return "\n".join(line for part in parts for line in (*part, "")).rstrip() + "\n"


def _verdict(statement: PrivacyStatement, decision: Decision) -> list[str]:
    policy = decision.policy
    words = {"allow": "Allowed", "deny": "Denied", "indeterminate": "Not decided"}[decision.verdict]
    return [
        "# Privacy statement",
        "",
        f"**{words}** under policy {markdown(policy.name)}, version {markdown(policy.version)} (sha256 "
        f"{markdown(policy.sha256)}), run {markdown(statement.run_id)}, {markdown(decision.decided_at)}.",
    ]


def _guarantee(statement: PrivacyStatement) -> list[str]:
    g, size = statement.guarantee, statement.declarations.size
    bound = "no bound" if g.contribution_bound is None else f"at most {g.contribution_bound}"
    lines = [
        "## What is guaranteed",
        "",
        markdown(g.sentence),
        "",
        "| quantity | value |",
        "| --- | --- |",
        f"| epsilon | {g.epsilon:.6g} |",
        f"| delta | {g.delta:.3g} |",
    ]
    if g.delta_times_declared_size is not None:
        lines.append(f"| delta times the declared size ({size}) | {g.delta_times_declared_size:.3g} |")
    if g.mu is not None:
        lines.append(f"| mu (Gaussian differential privacy) | {g.mu:.6g} |")
    lines += [
        f"| neighbouring relation | {g.adjacency} |",
        f"| privacy unit | {markdown(g.privacy_unit)} |",
        f"| records read of one unit | {bound} |",
        f"| excess records | {g.excess_contributions} |",
        "",
        "For a group of units that are in the source together (a family, or one person who wrote several records):",
        "",
        "| units | epsilon | delta |",
        "| --- | --- | --- |",
    ]
    for group in g.groups:
        known = group.epsilon is not None and group.delta is not None
        lines.append(
            f"| {group.size} | {group.epsilon:.4g} | {group.delta:.3g} |"
            if known
            else f"| {group.size} | no useful bound | |"
        )
    return lines


def _attackers(statement: PrivacyStatement) -> list[str]:
    lines = [
        "## What an attacker can do",
        "",
        "Largest share of true members that *any* membership attack can name, whatever it knows and computes:",
        "",
        "| false accusations | by epsilon and delta alone | by this release's mechanisms |",
        "| --- | --- | --- |",
    ]
    for attack in statement.guarantee.attacks:
        lines.append(f"| {attack.false_positive_rate:.1%} | {attack.any_mechanism:.2%} | {attack.this_mechanism:.2%} |")
    lines += ["", "Guessing at random names as many true members as it accuses falsely."]
    if statement.guarantee.privacy_profile:
        lines += [
            "",
            "Privacy profile (the release is (epsilon, delta)-private for every line):",
            "",
            "| epsilon | delta |",
        ]
        lines += ["| --- | --- |", *(f"| {p.epsilon:g} | {p.delta:.3g} |" for p in statement.guarantee.privacy_profile)]
    return lines


def _limits(statement: PrivacyStatement) -> list[str]:
    d = statement.declarations
    labels = "not declared" if d.labels is None else ", ".join(markdown(label) for label in d.labels)
    lines = ["## What is not protected", "", *(f"- {markdown(item)}" for item in statement.guarantee.not_protected)]
    lines += [
        "",
        "Taken as public, as its owner wrote it down: " + markdown(d.statement),
        "",
        f"- description: {markdown(d.describe) if d.describe else 'none'}",
        f"- labels: {labels}",
        *(f"- label {markdown(k)}: {markdown(v)}" for k, v in sorted(d.label_descriptions.items())),
        f"- size: {d.size if d.size is not None else 'not declared'}",
        f"- columns: text {_text_of(d)}, label {markdown(d.label_column or 'none')}, "
        f"unit {markdown(d.unit_column or 'none')}",
    ]
    return lines


def _text_of(declared: Declarations) -> str:
    """Which columns are the text."""
    if declared.fields:
        return "made of " + " and ".join(markdown(name) for name in declared.fields) + ", in this order"
    return markdown(declared.text_column or "none")


def _accounting(statement: PrivacyStatement) -> list[str]:
    a = statement.accounting
    lines = [
        "## Accounting",
        "",
        "| mechanism | noise multiplier | sampler | steps | sensitivity | cells | noise |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for m in a.mechanisms:
        numbers = ["–" if value is None else f"{value:.6g}" for value in (m.noise_multiplier, m.sensitivity)]
        lines.append(
            f"| {markdown(m.name)} ({m.kind}) | {numbers[0]} | {m.sampler}, rate {m.sample_rate:g} | {m.steps} "
            f"| {numbers[1]} | {m.dimension} | {m.noise} |"
        )
    parts = a.delta_parts
    lines += ["", f"Delta: composition {parts.composition:.6g}, discretisation {parts.discretisation:.3g}, "]
    lines[-1] += f"thresholds {parts.thresholds:.3g}."
    for name, accountant in (("Accountant", a.accountant), ("Second accountant", a.second_accountant)):
        if accountant is not None:
            lines.append(
                f"{name}: {markdown(accountant.name)} {markdown(accountant.version)}, epsilon {accountant.epsilon:.6g}."
            )
    if a.source is not None:
        total = (
            "not composed"
            if a.source.epsilon is None or a.source.delta is None
            else (f"epsilon {a.source.epsilon:.4g}, delta {a.source.delta:.3g}")
        )
        lines += ["", f"The source so far, all runs together, released or not: {total}; attempts: {a.source.attempts}."]
    return [*lines, "", markdown(a.tuning), markdown(a.post_processing)]


def _trust(statement: PrivacyStatement) -> list[str]:
    t = statement.trust
    models = [
        f"- {model.role}: {markdown(model.id)}"
        + (f" (sha256 `{markdown(model.sha256)}`)" if model.sha256 else " (not pinned)")
        for model in t.models
    ]
    return [
        "## What has to be trusted",
        "",
        f"- {markdown(t.model)}",
        f"- noise: {markdown(t.noise_source)}",
        *models,
        f"- {markdown(t.pretraining)}",
        f"- {markdown(t.repetition)}",
    ]


def _rules(decision: Decision) -> list[str]:
    lines = ["## Rules", "", "| rule | level | asked | found |", "| --- | --- | --- | --- |"]
    for rule in decision.rules:
        lines.append(
            f"| {rule.id} | {rule.level} | {markdown(rule.requirement)} | {rule.status}: {markdown(rule.finding)} |"
        )
    return lines


def _verify() -> list[str]:
    return [
        "## How to check this",
        "",
        "`privdistill verify .` in this folder derives checksums, epsilon and every rule whose inputs are here again,",
        "offline, and lists what it cannot check. The outcomes of the audit are attested by a salted commitment in",
        "`audit.json`: its holder can open it to a reviewer, who then knows that the report shown is the one meant.",
    ]
