"""Tests of policies, written as data: a base run, a change, and the verdict that must follow.

    run_case(case, base, policy) -> Decision
    judge(case, base, policy) -> str | None              what differs from the expected answer
    load_cases(path) -> tuple[Base, tuple[Case, ...]]
    case_files(paths) -> tuple[Path, ...]                the shipped ones when none is named

A change is merged into claim, audit, ledger and digests, key by key; `audit: null` takes the audit away, `epsilon:
null` sets null. Lists whose items have names are changed by name (`mechanisms` and `run_charges` by `name`,
`findings` by `id`), and null removes the item, as it does in `estimates`. It does not know what a good policy is.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audits.findings import AuditReport, Claim, Mechanism
from privdistill.errors import ConfigError
from privdistill.policy.decide import decide
from privdistill.policy.decision import Decision, Verdict
from privdistill.policy.facts import Digests, LedgerFacts
from privdistill.policy.load import LoadedPolicy, roots, shipped_policies
from privdistill.policy.strict_yaml import YamlError, read_yaml

__all__ = ["Base", "Case", "case_files", "judge", "load_cases", "run_case"]

_KEYS = {"mechanisms": "name", "run_charges": "name", "findings": "id"}


class _Frozen(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, populate_by_name=True
    )


class Case(_Frozen):
    """One case.

    Attributes:
        name: what is tried, as a sentence.
        policies: names of the policies that must answer so.
        change: what is merged into the base documents.
        expect: the verdict.
        because: ids of rules that must not be satisfied.
    """

    name: str
    policies: Annotated[tuple[str, ...], Field(min_length=1)]
    change: dict[str, Any] = {}
    expect: Verdict
    because: tuple[str, ...] = ()


class _CaseFile(_Frozen):
    schema_: Annotated[Literal["privdistill.policy-cases/v1"], Field(alias="schema")]
    base: str
    cases: Annotated[tuple[Case, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Base:
    """The documents that cases change: claim, audit, ledger and digests as plain JSON objects."""

    documents: dict[str, Any]


def case_files(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Files of cases, in order; a folder stands for the YAML files in it, nothing for the shipped cases.

    Raises:
        ConfigError: a path does not exist.
    """
    found: list[Path] = []
    for path in paths or (_shipped_folder(),):
        if not path.exists() and str(path) in shipped_policies():
            raise ConfigError(
                f"expected a file of cases or a folder of them, found the name of a policy, {str(path)!r}; its cases "
                "are tried without an argument, and --policy names a policy of your own"
            )
        if not path.exists():
            raise ConfigError(f"no cases at {str(path)!r}; name a file of cases or a folder of them")
        found += sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    return tuple(found)


def _shipped_folder() -> Path:
    return next((root / "cases" for root in roots() if (root / "cases").is_dir()), Path("policies") / "cases")


def judge(case: Case, base: Base, policy: LoadedPolicy) -> str | None:
    """Decide a case; None if the answer is the expected one, else what differs."""
    try:
        decision = run_case(case, base, policy)
    except (ValidationError, TypeError, KeyError) as error:
        return f"the changed documents are not valid ({type(error).__name__}: {_short(error)})"
    if decision.verdict != case.expect:
        return f"expected {case.expect}, found {decision.verdict} ({decision.reason})"
    missing = sorted(set(case.because) - {result.id for result in decision.unmet()})
    return f"expected {', '.join(missing)} not to be satisfied" if missing else None


def load_cases(path: Path) -> tuple[Base, tuple[Case, ...]]:
    """Read a file of cases and its base run.

    Raises:
        ConfigError: either file is missing or malformed.
    """
    try:
        file = _CaseFile.model_validate(read_yaml(path.read_text("utf-8")))
        documents = json.loads((path.parent / file.base).read_text("utf-8"))
    except (OSError, ValidationError, YamlError, json.JSONDecodeError) as error:
        raise ConfigError(
            f"{path.name} is not a file of policy cases ({type(error).__name__}: {_short(error)})"
        ) from None
    return Base(documents), file.cases


def run_case(case: Case, base: Base, policy: LoadedPolicy) -> Decision:
    """Decide the changed base run under a policy."""
    documents = _patch(base.documents, case.change)
    claim, audit, ledger = documents.get("claim"), documents.get("audit"), documents.get("ledger")
    digests = documents.get("digests") or {}
    facts = None
    if ledger is not None:
        charges = tuple(Mechanism.model_validate(charge) for charge in ledger["run_charges"])
        seen = {"claim_sha256": digests.get("claim")}  # of base runs from before the ledger knew the claim
        facts = LedgerFacts(**{**seen, **ledger, "run_charges": charges})
    return decide(
        policy.policy,
        None if claim is None else Claim.model_validate(claim),
        None if audit is None else AuditReport.model_validate(audit),
        facts,
        Digests(digests.get("data"), digests.get("claim"), digests.get("audit"), policy.sha256),
        decided_at="2026-01-01T00:00:00+00:00",
        tool_version="case",
    )


def _patch(base: Any, change: Any, key: str = "") -> Any:
    if isinstance(base, list) and isinstance(change, dict) and key in _KEYS:
        name = _KEYS[key]
        kept = [_patch(item, change[item[name]]) if item[name] in change else item for item in base]
        return [item for item in kept if item is not None]
    if not isinstance(change, dict) or not isinstance(base, dict):
        return change
    merged = {**base, **{name: _patch(base.get(name), value, name) for name, value in change.items()}}
    return {name: value for name, value in merged.items() if not (key == "estimates" and value is None)}


def _short(error: Exception) -> str:
    if isinstance(error, ValidationError):
        problem = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}"
    return str(error).partition("\n")[0]
