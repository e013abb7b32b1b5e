"""What every check owes to its users, one function per rule.

Static: an id, a question, an explanation, the two arguments. In the run: the same bytes for the same seed, no text of a
record, evidence left as it was, no pass without a control, no pass on next to nothing, alarms that keep their level on
re-drawn sides, a fail on its own leak and none on clean rows.
"""

import hashlib
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache

import numpy as np
from scipy import special

from audits.conformance.evidence import evidence
from audits.conformance.texts import sentences
from audits.evidence import Evidence
from audits.examination import findings
from audits.findings import Finding
from audits.registry import Check

__all__ = ["RULES", "Leak", "NonConformanceError", "verify"]

Leak = Callable[[list[str], list[str], np.random.Generator], list[str]]
"""(train texts, clean rows, random generator) -> rows that give train texts away."""

_TRAIN, _HOLDOUT, _ROWS = 360, 240, 160
_REDRAWS, _LEVEL, _BEYOND = 60, 0.05, 1e-4
_LONG = 7


class NonConformanceError(AssertionError):
    """A check breaks a rule of the suite."""


def verify(check: Check, rule: str, leak: Leak | None = None) -> None:
    """Hold a check to one rule.

    Args:
        check: as registered.
        rule: a name out of `RULES`.
        leak: needed by the rules about leaks, except for checks that look for none (threat model `none`).

    Raises:
        NonConformanceError: the rule is broken; the message says how.
    """
    RULES[rule](check, leak)


def _expect(met: bool, check: Check, sentence: str) -> None:
    if not met:
        raise NonConformanceError(f"{check.id}: {sentence}")


def _identity(check: Check, leak: Leak | None) -> None:
    shipped = check.origin.split(".")[0] == "audits"
    pattern = r"PD\d{3}" if shipped else r"(?!PD\d)[A-Z][A-Z0-9]{2,15}"
    _expect(bool(re.fullmatch(pattern, check.id)), check, "ids are capitals and digits; PD and digits are taken")
    _expect(bool(re.fullmatch(r"[a-z][a-z0-9-]+", check.name)), check, "names are short, lower case and hyphenated")
    _expect(check.title.endswith("?"), check, "the title is the question that the check answers")


def _explained(check: Check, leak: Leak | None) -> None:
    text = check.page or sys.modules[check.origin].__doc__ or ""
    _expect("threat model" in text.casefold(), check, "its page or its module's docstring names the threat model")
    _expect(len(text.split()) >= 40, check, "its page or docstring says what it finds and what it misses")


def _signature(check: Check, leak: Leak | None) -> None:
    parameters = list(inspect.signature(check.run).parameters.values())
    _expect([p.name for p in parameters] == ["evidence", "rng"], check, "a check takes (evidence, rng)")
    _expect(all(p.default is p.empty for p in parameters), check, "neither argument has a default: no hidden seed")


def _reproducible(check: Check, leak: Leak | None) -> None:
    first, second = (_run(check, _clean()).model_dump_json() for _ in range(2))
    _expect(first == second, check, "the same evidence and seed give the same bytes")


def _silent(check: Check, leak: Leak | None) -> None:
    for given in (_clean(), _leaky(check, leak)):
        shown = _run(check, given).model_dump_json()
        words = {word for text in given.source.texts + given.synthetic.texts for word in re.findall(r"\w+", text)}
        allowed = set(re.findall(r"\w+", inspect.getsource(sys.modules[check.origin])))
        leaked = [word for word in words - allowed if len(word) >= _LONG and word in shown]
        _expect(not leaked, check, f"a finding holds no text of a record; {len(leaked)} words of records stand in it")


def _pure(check: Check, leak: Leak | None) -> None:
    given = _leaky(check, leak)
    before = _print_of(given)
    _run(check, given)
    _expect(_print_of(given) == before, check, "a check leaves the evidence as it was")


def _controlled(check: Check, leak: Leak | None) -> None:
    if check.threat_model == "none":
        return
    train, _, rows = _texts()
    found = _run(check, evidence(train, [], rows))
    _expect(found.status != "pass", check, "without a holdout nothing tells a phantom from a leak: no pass")


def _humble(check: Check, leak: Leak | None) -> None:
    if check.threat_model == "none":
        return
    train, holdout, rows = _texts()
    found = _run(check, evidence(train[:3], holdout[:3], rows[:2]))
    _expect(found.status != "pass", check, "three units a side are no reason to pass")


def _powerful(check: Check, leak: Leak | None) -> None:
    found = _run(check, _clean())
    if found.status != "pass" or found.p_value is None:
        return
    _expect(
        found.power is not None and found.power.detectable is not None,
        check,
        "a pass by p-value says what it would have caught",
    )


def _level(check: Check, leak: Leak | None) -> None:
    """At a nominal 5 %, so many alarms on re-drawn sides as would be a one in 10,000 event are too many."""
    train, holdout, rows = _texts()
    everybody, rng = train + holdout, np.random.default_rng(11)
    alarms = tests = 0
    for redraw in range(_REDRAWS):
        order = [everybody[i] for i in rng.permutation(len(everybody))]
        given = evidence(order[:_TRAIN], order[_TRAIN:], [*rows, *everybody[:_PHANTOMS]])
        p_value = check.run(given, np.random.default_rng(redraw)).p_value
        tests += p_value is not None
        alarms += p_value is not None and p_value <= _LEVEL
    beyond = float(special.betainc(alarms, tests - alarms + 1, _LEVEL)) if alarms else 1.0
    _expect(beyond > _BEYOND, check, f"{alarms} of {tests} re-drawn sides gave p <= 0.05: the p-value is not valid")


def _catches(check: Check, leak: Leak | None) -> None:
    if check.threat_model == "none" and leak is None:
        return
    found = _run(check, _leaky(check, leak))
    _expect(found.status == "fail", check, f"it must fail its own leak, and is {found.status}")


def _spares(check: Check, leak: Leak | None) -> None:
    found = _run(check, _clean())
    _expect(found.status not in ("fail", "error"), check, f"clean rows must not fail, and are {found.status}")


RULES: Mapping[str, Callable[[Check, Leak | None], None]] = {
    "identity": _identity,
    "explained": _explained,
    "signature": _signature,
    "reproducible": _reproducible,
    "silent": _silent,
    "pure": _pure,
    "controlled": _controlled,
    "humble": _humble,
    "powerful": _powerful,
    "level": _level,
    "catches": _catches,
    "spares": _spares,
}
_PHANTOMS = 12


@lru_cache(maxsize=1)
def _all_texts() -> tuple[tuple[str, ...], tuple[str, ...]]:
    return tuple(sentences(_TRAIN + _HOLDOUT, seed=301)), tuple(sentences(_ROWS, seed=302))


def _texts() -> tuple[list[str], list[str], list[str]]:
    private, rows = _all_texts()
    return list(private[:_TRAIN]), list(private[_TRAIN:]), list(rows)


def _clean() -> Evidence:
    return evidence(*_texts())


def _leaky(check: Check, leak: Leak | None) -> Evidence:
    train, holdout, rows = _texts()
    if leak is None:
        _expect(check.threat_model == "none", check, "a check that looks for leaks is verified with a leak")
        return evidence(train, holdout, rows)
    return evidence(train, holdout, leak(list(train), list(rows), np.random.default_rng(5)))


def _run(check: Check, given: Evidence) -> Finding:
    (found,) = findings((check,), given, seed=0)
    return found


def _print_of(given: Evidence) -> str:
    source = given.source
    parts = [source.train.tobytes(), source.unit_of.tobytes(), source.copies.tobytes(), given.synthetic.row.tobytes()]
    texts = "\0".join([*source.texts, *given.synthetic.texts]).encode()
    return hashlib.sha256(b"\0".join([*parts, texts])).hexdigest()
