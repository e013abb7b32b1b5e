"""From outcomes to verdict: what cannot make it greener, and what a plug-in may do."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import audits.examination as examination
from audits import registry
from audits.findings import Estimate, Power
from audits.registry import Check, Outcome
from tests.audits.conftest import Audit, finding

SECRET = "a private sentence"


def power(alpha: float) -> Power:
    return Power(probability=0.8, detectable=0.01, unit="u", method="m", sentence=f"at {alpha:g}")


def explode(*arguments: object) -> Any:
    raise ValueError(SECRET)


@pytest.fixture
def verdict_of(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Audit with made-up checks only."""

    def run(outcomes: dict[str, Any], **options: object) -> Any:
        checks = tuple(
            Check(id, id.lower(), "?", "T0", "core", result if callable(result) else lambda e, r, o=result: o, "tests")
            for id, result in outcomes.items()
        )
        monkeypatch.setattr(examination, "load", lambda *, plug_ins: (checks, ()))
        return audit(**options)

    return run


GOOD = Outcome("fine", p_value=0.8, power=power)


def test_all_good_is_a_pass(verdict_of: Any) -> None:
    report = verdict_of({"X1": GOOD, "X2": Outcome("fine", status="pass")})
    assert report.verdict == "pass"
    assert finding(report, "X1").power.sentence == "at 0.05", "one tested family, the whole level"


@pytest.mark.parametrize(
    ("bad", "status"),
    [
        (explode, "error"),
        (Outcome("no", status="skipped"), "skipped"),
        (Outcome("no", status="inconclusive"), "inconclusive"),
        (Outcome("no idea"), "error"),
        (Outcome("no power", p_value=0.9), "inconclusive"),
        (Outcome("weak", p_value=0.9, power=lambda a: power(a).model_copy(update={"detectable": 0.5})), "inconclusive"),
        (
            Outcome("blind", p_value=0.9, power=lambda a: power(a).model_copy(update={"detectable": None})),
            "inconclusive",
        ),
        (Outcome("doubt", p_value=0.9, power=power, doubt="it is odd"), "inconclusive"),
        (Outcome("boom", p_value=0.9, power=explode), "error"),
    ],
)
def test_nothing_but_a_pass_counts_as_one(verdict_of: Any, bad: Any, status: str) -> None:
    report = verdict_of({"X1": GOOD, "X2": bad})
    assert finding(report, "X2").status == status
    assert report.verdict == "inconclusive"
    assert SECRET not in report.model_dump_json()
    assert verdict_of({"X1": GOOD, "X2": bad}, require=("X1",)).verdict == "pass"


def test_a_fail_fails_even_where_it_is_not_required(verdict_of: Any) -> None:
    assert verdict_of({"X1": GOOD, "X2": Outcome("bad", status="fail")}, require=("X1",)).verdict == "fail"
    assert verdict_of({"X1": GOOD, "X2": Outcome("x", alarm="bad", p_value=0.001, power=power)}).verdict == "fail"


def test_holm_is_over_all_tested_checks(verdict_of: Any) -> None:
    report = verdict_of({f"X{i}": Outcome("x", p_value=0.03, power=power) for i in range(3)})
    assert report.verdict == "pass", "0.03 three times is no alarm at 0.05"
    assert finding(report, "X0").corrected_p_value == pytest.approx(0.09)
    assert finding(report, "X0").correction == "Holm over 3 checks"


def test_a_check_that_settles_itself_stands_under_the_same_correction(verdict_of: Any) -> None:
    """A claim check that would pass by its own bound takes part in Holm; only what is left after it makes a fail."""
    own = Outcome("bound below the claim", alarm="claim contradicted", status="inconclusive", p_value=0.03)
    report = verdict_of({"X1": GOOD, "X2": own})
    assert finding(report, "X2").status == "inconclusive"
    assert finding(report, "X2").corrected_p_value == pytest.approx(0.06)
    report = verdict_of({"X1": GOOD, "X2": Outcome("x", alarm="claim contradicted", status="pass", p_value=0.02)})
    assert finding(report, "X2").status == "fail"
    assert finding(report, "X2").summary == "claim contradicted"


def test_significant_but_small_is_no_fail(verdict_of: Any) -> None:
    assert verdict_of({"X1": Outcome("x", p_value=1e-9, harmful=False, power=power)}).verdict == "pass"


def test_a_check_registers_once_under_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTER", {})

    def mine(evidence: Any, rng: np.random.Generator) -> Outcome:
        return Outcome("fine", status="pass")

    register = registry.check(id="ACME1", name="mine", title="?", threat_model="T0", tier="core")
    assert register(mine) is mine
    register(mine)
    mine.__module__ = "elsewhere"
    with pytest.raises(ValueError, match="registered twice"):
        register(mine)


def test_every_shipped_check_has_a_page_and_obeys_the_house_rules() -> None:
    import ast
    import inspect
    import sys
    from pathlib import Path

    pages = Path(__file__).resolve().parent.parent.parent / "docs" / "checks"
    checks, _ = registry.load(plug_ins=False)
    assert [check.id for check in checks] == sorted({check.id for check in checks})
    for check in checks:
        module = sys.modules[check.origin]
        assert check.id in (module.__doc__ or "").split(",")[0]
        assert "Threat model" in (module.__doc__ or "").split("\n\n")[0]
        assert list(inspect.signature(check.run).parameters) == ["evidence", "rng"]
        assert all(p.default is p.empty for p in inspect.signature(check.run).parameters.values())
        tree = ast.parse(inspect.getsource(module))
        imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not any(name.startswith("audits.checks") for name in imported)
        page = (pages / f"{check.id}.md").read_text()
        for heading in ("## What", "## Why", "## How it can be wrong", "## What to do"):
            assert heading in page, (check.id, heading)


def test_an_estimate_cannot_be_made_without_its_interval() -> None:
    with pytest.raises(ValueError, match="low"):
        Estimate(value=1.0, n=1, method="m")
