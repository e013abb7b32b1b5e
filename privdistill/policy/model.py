"""The policy language, version 1: a named list of typed rules.

The shape is a model, so a misspelt key, an unknown kind, a NaN or an infinity is refused when the file is read, long
before it could be compared with anything. It does not know files or YAML.
"""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from privdistill.policy.rules import STANDING, AnyRule

__all__ = ["POLICY_SCHEMA", "Policy", "policy_json_schema", "standard_bounds"]

POLICY_SCHEMA = "privdistill.policy/v1"
_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


class Policy(BaseModel):
    """A written policy.

    Attributes:
        name: short name, printed in every verdict.
        version: the owner's version of this policy, a string.
        description: who it is for.
        rules: what must hold; see `privdistill.policy.rules`.
        publish_metrics: whether the bundle may show the audit's numbers. They are computed on private records and are
        not
            differentially private, so the default is no.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )

    schema_: Annotated[Literal["privdistill.policy/v1"], Field(alias="schema")]
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
    version: Annotated[str, Field(min_length=1, max_length=32)]
    description: Annotated[str, Field(min_length=1, max_length=2000)]
    rules: Annotated[tuple[AnyRule, ...], Field(min_length=1)]
    publish_metrics: Annotated[bool, Field(strict=True)] = False

    @model_validator(mode="after")
    def _sound(self) -> Self:
        ids = [rule.id for rule in self.rules]
        if len(set(ids)) != len(ids):
            raise ValueError("two rules have the same id; give each its own")
        reserved = sorted({rule.id for rule in STANDING} & set(ids))
        if reserved:
            raise ValueError(f"the id {reserved[0]!r} belongs to a rule that always applies; choose another")
        if not any(rule.kind == "claim-made" and rule.level == "hard" for rule in self.rules):
            raise ValueError(
                "expected a hard rule of kind claim-made: without it rows that claim nothing could be released"
            )
        return self


def policy_json_schema() -> str:
    """JSON Schema of a policy file, as published in `policies/policy.schema.json`."""
    schema = standard_bounds(Policy.model_json_schema(by_alias=True))
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = POLICY_SCHEMA
    return json.dumps(schema, indent=2, sort_keys=True) + "\n"


def standard_bounds(schema: Any) -> Any:
    """The same schema with bounds under their JSON Schema names: pydantic leaves those of a checked type as `ge`."""
    if isinstance(schema, list):
        return [standard_bounds(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    numeric = schema.get("type") in ("number", "integer")
    return {_BOUNDS.get(key, key) if numeric else key: standard_bounds(value) for key, value in schema.items()}
