"""The reference of the policy language, as Markdown, made from the rules themselves.

`docs/policies.md` is this text, and a test holds it to the code. It does not know any policy.
"""

import inspect
from typing import Any, get_args

from privdistill.policy.model import POLICY_SCHEMA, standard_bounds
from privdistill.policy.rules import STANDING, AnyRule, Rule
from privdistill.policy.waivers import WAIVERS_SCHEMA
from privdistill.report.plain import markdown

__all__ = ["render_language"]

_OPENING = f"""# The policy language

A policy is a YAML file of schema `{POLICY_SCHEMA}`: `name`, `version`, `description`, `rules`, and `publish_metrics`
(default `false`: whether a bundle may show the audit's numbers, which are computed on private records). The JSON Schema
is `policies/policy.schema.json`. YAML is read strictly: a misspelt or repeated key, a tag, an alias, a NaN or an
infinity is refused, and `1e-5` is a number.

Every rule has an `id`, a `kind`, a `why` (required: a limit without a reason cannot be discussed), and a `level`:

| level | counts | can be waived |
| --- | --- | --- |
| `hard` | yes | never |
| `soft` | yes | for one candidate, by a named person, until a day |
| `advisory` | no: it is printed, and `gate --fail-on warn` heeds it | |

A rule is *satisfied*, *violated* or *not run*. What is absent, skipped, errored, inconclusive or not a finite number
was not run. The answer is no (exit code 10) if a rule that counts is violated, undecided (3) if one was not run, and
yes (0) only if all hold. Numbers of the audit are compared through their confidence bounds; there is no rule on a point
estimate. Without a rule of kind `claim-made` and level `hard` a policy is refused.

`privdistill policy explain NAME` says what a policy asks, `policy test` decides the cases under `policies/cases/`.

## Waivers

`gate` and `release` take `--waivers FILE`, a file of schema `{WAIVERS_SCHEMA}`:

```yaml
schema: {WAIVERS_SCHEMA}
waivers:
  - rule: source-total
    fingerprint: 0123456789abcdef0123456789abcdef   # as the gate prints it for this candidate
    reason: The board agreed to one more release of this source on 3 May.
    approved_by: Name of the data protection officer
    expires: 2026-12-31                              # last day on which it counts, UTC
```

The fingerprint binds a waiver to this rule, this policy, these rows, this claim and this audit. Waivers that were used
are counted, printed, and published in the bundle with reason and name. One that has expired, or that names a hard rule,
turns the answer to no until somebody removes it; one that fits nothing is printed as unused.
"""


def render_language() -> str:
    """Render the reference."""
    parts = [_OPENING, "## Rules that apply under every policy\n"]
    parts += [f"* `{rule.id}`: {markdown(rule.requirement)}. {markdown(rule.why)}\n" for rule in STANDING]
    parts.append("\n## Kinds of rules\n")
    parts += [_kind(kind) for kind in sorted(_kinds(), key=lambda kind: _name(kind))]
    return "\n".join(parts).replace("\n\n\n", "\n\n").replace(".\n\n* `", ".\n* `")


def _kinds() -> tuple[type[Rule], ...]:
    return tuple(get_args(get_args(AnyRule)[0]))


def _name(kind: type[Rule]) -> str:
    return str(get_args(kind.model_fields["kind"].annotation)[0])


def _kind(kind: type[Rule]) -> str:
    own = {name: field for name, field in kind.model_fields.items() if name not in ("id", "kind", "level", "why")}
    lines = [f"### `{_name(kind)}`", "", inspect.getdoc(kind) or "", ""]
    lines.append(f"Reads the {', the '.join(sorted(kind.evidence))}.")
    schema = standard_bounds(kind.model_json_schema())["properties"]
    if own:
        lines += ["", "| parameter | value | default |", "| --- | --- | --- |"]
        for name, field in own.items():
            default = "required" if field.is_required() else f"`{_default(field.default)}`"
            lines.append(f"| `{name}` | {_type(schema[name])} | {default} |")
    return "\n".join([*lines, ""])


def _default(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "none", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)


def _type(schema: dict[str, Any]) -> str:
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"] if each.get("type") != "null")
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if schema.get("type") == "array":
        return f"list of {_type(schema['items'])}"
    words = {"number": "number", "integer": "whole number", "boolean": "`true` or `false`", "string": "text"}
    limits = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in limits.items() if key in schema]
    bounds = [each for each in bounds if each[0] != "≥" or f">{each[1:]}" not in bounds]
    return words[schema["type"]] + (f", {', '.join(bounds)}" if bounds else "")
