"""A policy in words: every rule with its level, what it asks and why; the rules that always apply first.

It does not know any run.
"""

import inspect
import textwrap

from privdistill.policy.model import Policy
from privdistill.policy.rules import STANDING
from privdistill.report.decision import asked
from privdistill.report.plain import plain

__all__ = ["render_policy", "render_rule"]

_LEVELS = {"hard": "must, never waived", "soft": "must", "advisory": "printed only"}


def render_policy(policy: Policy, sha256: str) -> str:
    """Explain a policy for a terminal."""
    lines = [
        f"POLICY {plain(policy.name)}@{plain(sha256[:8])}  version {plain(policy.version)}",
        *_wrapped(policy.description, "  "),
        "  Numbers of the audit are "
        + ("published." if policy.publish_metrics else "not published: they are computed on private records."),
        "",
        "Under every policy:",
    ]
    for rule in STANDING:
        lines += [f"  {rule.id}: {plain(rule.requirement)}", *_wrapped(rule.why, "      ")]
    lines += ["", "Under this policy:"]
    for rule in policy.rules:
        lines += [
            f"  {rule.id} ({_LEVELS[rule.level]}): {plain(asked(rule.requirement))}",
            *_wrapped(rule.why, "      "),
        ]
    return "\n".join(lines) + "\n"


def render_rule(policy: Policy, id_: str) -> str | None:
    """Explain one rule of a policy, or one that always applies; None if there is none of that id."""
    rule = next((rule for rule in (*STANDING, *policy.rules) if rule.id == id_), None)
    if rule is None:
        return None
    standing = id_ in {each.id for each in STANDING}
    doc = "" if standing else (inspect.getdoc(type(rule)) or "")
    level = f"{_LEVELS[rule.level]}{', under every policy' if standing else ''}"
    lines = [
        f"{rule.id} ({level}): {plain(asked(rule.requirement))}",
        *_wrapped(rule.why, "  "),
        *_wrapped(doc, "  "),
        f"  It reads the {', the '.join(sorted(rule.evidence))}; what is not there, or not a number, was not run.",
    ]
    return "\n".join(lines) + "\n"


def _wrapped(text: str, indent: str) -> list[str]:
    return textwrap.wrap(plain(" ".join(text.split())), 110, initial_indent=indent, subsequent_indent=indent)
