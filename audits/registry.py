"""The register of checks: what a check is, what it hands back, and where checks are found.

A check is one function in one file, registered by `@check(...)`. The checks shipped here are the modules below
`audits.checks`; further ones come from entry points of group `audits.checks` (a module that registers on import). It
knows no statistic, and imports no check until `load` is called.
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from typing import TYPE_CHECKING, Literal, TypeAlias

from audits.findings import Estimate, Power, ThreatModel, WorstCase

if TYPE_CHECKING:
    import numpy as np

    from audits.evidence import Evidence

__all__ = ["Check", "CheckFunction", "Outcome", "Tier", "check", "load"]

Tier: TypeAlias = Literal["claim", "core", "encoder", "canary", "model"]
CheckFunction: TypeAlias = "Callable[[Evidence, np.random.Generator], Outcome]"

_ENTRY_POINTS = "audits.checks"
_REGISTER: dict[str, "Check"] = {}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a check hands back, before the correction for the other checks.

    Attributes:
        summary: one or two sentences for a person, when nothing was found; no record text.
        status: what the check is when no corrected p-value makes it a fail; None when power decides between pass and
            inconclusive.
        alarm: the summary to print when the corrected p-value says fail.
        p_value: valid for the whole check (its own thresholds included).
        harmful: whether the effect is large enough for a significant result to be a fail.
        doubt: why a result that is not a fail cannot be a pass; empty when it can.
        power: for a corrected level, what would have been found; required for a pass by p-value.
        estimates: numbers by name.
        worst_cases: redacted pointers.
        notes: further sentences; no record text.
    """

    summary: str
    status: Literal["pass", "fail", "inconclusive", "skipped"] | None = None
    alarm: str = ""
    p_value: float | None = None
    harmful: bool = True
    doubt: str = ""
    power: Callable[[float], Power] | None = None
    estimates: Mapping[str, Estimate] = field(default_factory=dict)
    worst_cases: tuple[WorstCase, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """One registered check."""

    id: str
    name: str
    title: str
    threat_model: ThreatModel
    tier: Tier
    run: CheckFunction
    origin: str
    page: str = ""
    on_request: bool = False


def check(
    *,
    id: str,
    name: str,
    title: str,
    threat_model: ThreatModel,
    tier: Tier,
    page: str = "",
    on_request: bool = False,
) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check under a stable id.

    Args:
        id: `PD` and three digits for checks shipped here; another prefix for everybody else.
        name: short, hyphenated.
        title: the question that the check answers.
        threat_model: what the attacker has (T0 release only ... T4 a student model; `none` for claim checks).
        tier: what the check needs.
        page: its documentation in Markdown, for `checks explain`; checks shipped here have `docs/checks/ID.md`.
        on_request: whether it runs only when asked for by id, because it takes long or needs an extra.
    """

    def register(function: CheckFunction) -> CheckFunction:
        known = _REGISTER.get(id)
        if known is not None and known.origin != function.__module__:
            raise ValueError(f"check id {id} is registered twice: by {known.origin} and {function.__module__}")
        _REGISTER[id] = Check(id, name, title, threat_model, tier, function, function.__module__, page, on_request)
        return function

    return register


def load(*, plug_ins: bool = True) -> tuple[tuple[Check, ...], tuple[str, ...]]:
    """Import the shipped checks and, if wanted, installed plug-ins; return the checks by id and the plug-ins' names."""
    from audits import checks

    for module in pkgutil.walk_packages(checks.__path__, f"{checks.__name__}."):
        importlib.import_module(module.name)
    names: list[str] = []
    if plug_ins:
        for point in sorted(metadata.entry_points(group=_ENTRY_POINTS), key=lambda point: point.name):
            point.load()
            names.append(f"{point.name} ({point.dist.name} {point.dist.version})" if point.dist else point.name)
    return tuple(_REGISTER[id] for id in sorted(_REGISTER)), tuple(names)
