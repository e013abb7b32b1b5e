"""The conformance suite: shipped checks stand it, and every rule catches a check that breaks it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from audits import registry
from audits.conformance import RULES, NonConformanceError, verify
from audits.evidence import Evidence
from audits.findings import Power
from audits.registry import Check, Outcome
from tests import leaky_generators as leaky

STATIC = ("identity", "explained", "signature")
SHIPPED = registry.load(plug_ins=False)[0]


@pytest.mark.parametrize("check", SHIPPED, ids=lambda check: check.id)
def test_shipped_checks_are_who_they_say(check: Check) -> None:
    for rule in STATIC:
        verify(check, rule)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule not in (*STATIC, "level")])
def test_the_verbatim_check_conforms(rule: str) -> None:
    (check,) = (check for check in SHIPPED if check.id == "PD201")
    verify(check, rule, leak=leaky.verbatim)


def _power(alpha: float) -> Power:
    return Power(probability=0.8, detectable=0.01, unit="u", method="m", sentence="s")


def _good(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    hits = set(evidence.source.texts) & set(evidence.synthetic.texts)
    if not evidence.has_control or evidence.source.units < 50:
        return Outcome("Nothing to compare.", status="inconclusive")
    return Outcome(
        "fine", alarm="not fine", p_value=1e-6 if len(hits) > 20 else float(rng.random()) / 2 + 0.5, power=_power
    )


def _copies(train: list[str], rows: list[str], rng: np.random.Generator) -> list[str]:
    return rows + train[:40]


def _mutates(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    evidence.source.train[:] = True
    return _good(evidence, rng)


def _quotes(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    return replace(_good(evidence, rng), notes=(evidence.source.texts[0],))


def _seeds(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    return _good(evidence, np.random.default_rng())


def _optimist(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    return Outcome("fine", status="pass")


def _panics(evidence: Evidence, rng: np.random.Generator) -> Outcome:
    return Outcome("x", alarm="x", p_value=float(rng.random()) ** 4, power=_power)


def _defaults(evidence: Evidence, rng: Any = None) -> Outcome:
    return Outcome("fine", status="pass")


GOOD = Check("ACME1", "mine", "Is it so?", "T0", "core", _good, __name__, "The threat model is T0. " + "word " * 40)
BROKEN: dict[str, tuple[str, Check]] = {
    "a shipped id": ("identity", replace(GOOD, id="PD999")),
    "no explanation": ("explained", replace(GOOD, page="T0")),
    "a default seed": ("signature", replace(GOOD, run=_defaults)),
    "a seed of its own": ("reproducible", replace(GOOD, run=_seeds)),
    "a quoted record": ("silent", replace(GOOD, run=_quotes)),
    "changed evidence": ("pure", replace(GOOD, run=_mutates)),
    "a pass without control": ("controlled", replace(GOOD, run=_optimist)),
    "a pass on nothing": ("humble", replace(GOOD, run=_optimist)),
    "an invalid p-value": ("level", replace(GOOD, run=_panics)),
    "a blind check": ("catches", replace(GOOD, run=_optimist)),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_sound_check_stands_every_rule(rule: str) -> None:
    verify(GOOD, rule, leak=_copies)


@pytest.mark.parametrize("case", BROKEN)
def test_every_rule_catches_a_check_that_breaks_it(case: str) -> None:
    rule, check = BROKEN[case]
    with pytest.raises(NonConformanceError, match=check.id):
        verify(check, rule, leak=_copies)


def test_an_alarm_on_clean_rows_and_a_pass_without_power_are_caught() -> None:
    def cries(evidence: Evidence, rng: np.random.Generator) -> Outcome:
        return Outcome("x", status="fail")

    def weak(evidence: Evidence, rng: np.random.Generator) -> Outcome:
        return Outcome("x", status="pass", p_value=0.9)

    rules: list[tuple[str, Callable[..., Outcome]]] = [("spares", cries), ("powerful", weak)]
    for rule, run in rules:
        with pytest.raises(NonConformanceError):
            verify(replace(GOOD, run=run), rule, leak=_copies)
