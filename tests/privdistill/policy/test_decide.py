"""The decision: fails closed, never gets greener by getting worse, and knows the order of its verdicts."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privdistill.policy import Decision, Facts, RuleResult, evaluate, load_policy, parse_policy, verdict_of
from privdistill.policy.rules import STANDING, Outcome, Rule
from tests.privdistill.policy.conftest import Change, ask, honest

POLICIES = ("finance", "health", "internal", "public", "research")
CHECKS = ("PD101", "PD102", "PD103", "PD104", "PD201", "PD203", "PD301")
NAN, INF = float("nan"), float("inf")


def test_an_honest_run_is_allowed_where_it_should_be() -> None:
    assert ask(honest("epsilon-8"), "internal").verdict == "allow"
    assert ask(honest("epsilon-8"), "research").verdict == "allow"
    assert ask(honest("epsilon-8"), "public").verdict == "deny"
    assert ask(honest("epsilon-3"), "public").verdict == "allow"


def test_a_ledger_that_saw_another_claim_denies_and_one_that_saw_none_decides_nothing(facts: Facts) -> None:
    assert ask(Change(facts).ledger(claim_sha256="0" * 64)).verdict == "deny"
    assert ask(Change(facts).ledger(claim_sha256=None)).verdict == "indeterminate"
    assert ask(replace(facts, digests=replace(facts.digests, claim=None))).verdict != "allow"


def test_what_a_rule_asks_keeps_its_words() -> None:
    """`verify` compares words and evidence: others would break bundles that were released under the same policy."""
    rules = {name: ask(honest("epsilon-8"), name).rules for name in POLICIES}
    asked = {name: {one.id: [one.requirement, *one.evidence] for one in own} for name, own in rules.items()}
    assert asked == json.loads(Path(__file__).with_name("requirements.json").read_text())


# -- monotone: worse or missing never turns a no into a yes

Worsening = Callable[[Facts], Facts]


def scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def _estimate(check: str, side: str, value: float) -> Worsening:
    def worsen(facts: Facts) -> Facts:
        finding = Change(facts).found(check)
        estimate = finding.estimates.get("excess_rate") if finding else None
        if finding is None or estimate is None:
            return facts
        worse = estimate.model_copy(update={side: value})
        return Change(facts).finding(check, estimates={**finding.estimates, "excess_rate": worse})

    return worsen


def _power(check: str, value: float | None) -> Worsening:
    def worsen(facts: Facts) -> Facts:
        finding = Change(facts).found(check)
        power = finding.power if finding else None
        if power is None or power.detectable is None:
            return facts
        new = None if value is None else max(value, power.detectable) if value == value else value
        return Change(facts).finding(check, power=power.model_copy(update={"detectable": new}))

    return worsen


def _claim(**changes: object) -> Worsening:
    return lambda facts: Change(facts).claim(**changes)


def _without(check: str) -> Worsening:
    def worsen(facts: Facts) -> Facts:
        findings = facts.audit.findings if facts.audit else ()
        return Change(facts).audit(findings=tuple(f for f in findings if f.id != check))

    return worsen


def _float_noise(facts: Facts) -> Facts:
    mechanisms = facts.claim.mechanisms if facts.claim else ()
    discrete = all(mechanism.noise == "discrete-gaussian" for mechanism in mechanisms)
    return Change(facts).mechanisms(noise="float-gaussian") if discrete else facts  # better than no noise at all


def _larger_epsilon(factor: float) -> Worsening:
    def worsen(facts: Facts) -> Facts:
        claim = facts.claim
        return facts if claim is None else Change(facts).claim(epsilon=scaled(claim.epsilon, factor))

    return worsen


worsenings: st.SearchStrategy[Worsening] = st.one_of(
    st.sampled_from(("claim", "audit", "ledger")).map(lambda name: lambda facts: replace(facts, **{name: None})),
    st.sampled_from(("data", "claim", "audit")).map(
        lambda name: lambda facts: replace(facts, digests=replace(facts.digests, **{name: None}))
    ),
    st.sampled_from(("data", "claim")).map(
        lambda name: lambda facts: replace(facts, digests=replace(facts.digests, **{name: "9" * 64}))
    ),
    st.floats(1, 10).map(_larger_epsilon),
    st.sampled_from(
        [
            {"epsilon": None},
            {"epsilon": NAN},
            {"epsilon": INF},
            {"delta": None},
            {"delta": NAN},
            {"delta": 0.5},
            {"delta_parts": None},
            {"adjacency": None},
            {"accountant": None},
            {"second_accountant": None},
            {"mechanisms": ()},
            {"mu": None, "privacy_profile": ()},
            {"rows": 1},
            {"recipe": "homemade"},
            {"source_id": "f" * 16},
            {"data_sha256": "8" * 64},
        ]
    ).map(lambda changes: _claim(**changes)),
    st.just(_float_noise),
    st.sampled_from([{"noise": "none"}, {"kind": "none"}, {"noise_grid_steps": 8.0}]).map(
        lambda changes: lambda facts: Change(facts).mechanisms(**changes)
    ),
    st.tuples(st.sampled_from(CHECKS), st.sampled_from(("fail", "inconclusive", "error", "skipped"))).map(
        lambda pair: lambda facts: Change(facts).finding(pair[0], status=pair[1])
    ),
    st.sampled_from(CHECKS).map(_without),
    st.sampled_from(("fail", "inconclusive")).map(lambda verdict: lambda facts: Change(facts).audit(verdict=verdict)),
    st.tuples(st.sampled_from(("PD201", "PD203")), st.sampled_from((None, NAN, 0.02, 0.06, 1.0))).map(
        lambda pair: _power(*pair)
    ),
    st.sampled_from(("PD201", "PD203")).map(lambda check: lambda facts: Change(facts).finding(check, power=None)),
    st.tuples(st.sampled_from(("PD201", "PD203")), st.sampled_from(("high", "low", "value")), st.just(NAN)).map(
        lambda triple: _estimate(*triple)
    ),
    st.tuples(st.sampled_from(("PD201", "PD203")), st.just("high"), st.sampled_from((0.5, INF))).map(
        lambda triple: _estimate(*triple)
    ),
    st.sampled_from(("PD201", "PD203")).map(lambda check: lambda facts: Change(facts).finding(check, estimates={})),
    st.sampled_from(
        [
            {"run_charges": ()},
            {"claim_sha256": None},
            {"claim_sha256": "0" * 64},
            {"source_id": "e" * 16},
            {"unit": "author"},
            {"cumulative_epsilon": None},
            {"cumulative_epsilon": NAN},
            {"cumulative_epsilon": INF},
            {"cumulative_epsilon": 100.0},
            {"cumulative_delta": None},
            {"cumulative_delta": 0.1},
            {"attempts": 50},
        ]
    ).map(lambda changes: lambda facts: Change(facts).ledger(**changes)),
)


@settings(max_examples=120)
@given(
    st.sampled_from(POLICIES), st.sampled_from(("epsilon-8", "epsilon-3")), st.lists(worsenings, min_size=1, max_size=5)
)
def test_getting_worse_never_turns_a_no_into_a_yes(policy: str, base: str, steps: list[Worsening]) -> None:
    facts = honest(base)
    allowed = ask(facts, policy).verdict == "allow"
    for worsen in steps:
        facts = worsen(facts)
        verdict = ask(facts, policy).verdict
        assert allowed or verdict != "allow"
        allowed = verdict == "allow"


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("missing", ["claim", "audit", "ledger"])
def test_a_missing_paper_is_never_allowed(policy: str, missing: str) -> None:
    decision = ask(replace(honest("people-epsilon-3"), **{missing: None}), policy)
    assert decision.verdict == "indeterminate"
    assert decision.exit_code == 3


def test_nothing_at_all_is_indeterminate(facts: Facts) -> None:
    nothing = Facts(None, None, None, replace(facts.digests, data=None, claim=None, audit=None))
    assert ask(nothing).verdict == "indeterminate"


# -- verdicts


def result(status: str, level: str = "hard") -> RuleResult:
    return RuleResult(
        id="x", kind="k", level=level, status=status, requirement="", finding="", value=None, limit=None, evidence=()
    )


@given(
    st.lists(
        st.tuples(st.sampled_from(("satisfied", "violated", "not-run")), st.sampled_from(("hard", "soft", "advisory")))
    )
)
def test_priority_is_violated_then_not_run_then_allow(pairs: list[tuple[str, str]]) -> None:
    required = {status for status, level in pairs if level != "advisory"}
    verdict = verdict_of([result(*pair) for pair in pairs])
    if "violated" in required or not required:
        assert verdict == "deny"
    elif "not-run" in required:
        assert verdict == "indeterminate"
    else:
        assert verdict == "allow"


def test_an_advisory_rule_is_printed_and_decides_nothing(facts: Facts) -> None:
    decision = ask(Change(facts).ledger(attempts=40))
    assert decision.verdict == "allow"
    assert [rule.id for rule in decision.unmet()] == ["attempts"]


def test_a_rule_that_raises_was_not_run(facts: Facts, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(self: Rule, facts: Facts) -> Outcome:
        raise ZeroDivisionError("text that must not be seen")

    monkeypatch.setattr("privdistill.policy.rules.claim.MaxEpsilon.check", crash)
    decision = ask(facts)
    assert decision.verdict == "indeterminate"
    assert "must not be seen" not in decision.to_json()


def test_a_violation_beats_what_was_not_run(facts: Facts) -> None:
    assert ask(replace(Change(facts).claim(epsilon=20.0), audit=None)).verdict == "deny"


@pytest.mark.parametrize("value", [NAN, INF])
def test_numbers_that_are_none_are_not_run(facts: Facts, value: float) -> None:
    decision = ask(Change(facts).claim(epsilon=value))
    states = {rule.id: rule.status for rule in decision.rules}
    assert decision.verdict != "allow"
    assert states["epsilon"] == "not-run"
    assert all(rule.value is None or math.isfinite(rule.value) for rule in decision.rules)


def test_standing_rules_come_first_and_cannot_be_named(facts: Facts) -> None:
    loaded = load_policy("research")
    results = evaluate(loaded.policy, facts)
    assert tuple(r.id for r in results[: len(STANDING)]) == tuple(rule.id for rule in STANDING)
    taken = loaded.text.replace("id: epsilon", "id: audit-verdict")
    with pytest.raises(ValueError, match="always applies"):
        parse_policy(taken, "taken")


# -- forged and leaky candidates, by the rule that must stop them


@pytest.mark.parametrize("policy", POLICIES)
def test_an_understated_epsilon_is_denied_even_when_audit_and_ledger_agree(policy: str) -> None:
    facts = Change(honest("epsilon-8")).claim(epsilon=1.0)
    assert facts.claim is not None
    for name in ("accountant", "second_accountant"):
        facts = Change(facts).claim(**{name: getattr(facts.claim, name).model_copy(update={"epsilon": 1.0})})
    decision = ask(facts, policy)
    assert decision.verdict == "deny"
    assert "claim-coherent" in {rule.id for rule in decision.unmet()}


def test_less_noise_than_the_ledger_recorded_is_denied(facts: Facts) -> None:
    assert facts.claim is not None
    forged = tuple(m.model_copy(update={"noise_multiplier": 9.0}) for m in facts.claim.mechanisms)
    decision = ask(Change(facts).claim(mechanisms=forged))
    assert [rule.id for rule in decision.unmet()] == ["ledger-charges"]
    assert decision.exit_code == 10


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "none", "noise": "none", "noise_multiplier": None, "sensitivity": None},
        {"sampler": "poisson"},
        {"sample_rate": 0.01},
        {"noise_multiplier": None},
        {"sensitivity": 0.5},
        {"noise_grid_steps": None},
        {"delta_threshold": 1e-3},
        {"delta_discretisation": 1e-3},
        {"kind": "gaussian-threshold"},
    ],
)
def test_a_mechanism_that_contradicts_itself_is_denied(facts: Facts, change: dict[str, object]) -> None:
    decision = ask(Change(facts).mechanisms(**change))
    assert decision.verdict == "deny"
    assert "claim-coherent" in {rule.id for rule in decision.unmet()}


# -- the document


def test_the_decision_survives_a_round_trip(facts: Facts) -> None:
    decision = ask(facts)
    assert Decision.model_validate_json(decision.to_json()) == decision


def test_the_public_view_shows_no_number_of_the_audit(facts: Facts) -> None:
    public = ask(facts).public(publish_metrics=False, audit_commitment="ab" * 32)
    for rule in public.rules:
        if "audit" in rule.evidence:
            assert rule.value is None
            assert "private" in rule.finding
    assert public.digests.audit is None
    assert public.digests.data == facts.digests.data
    assert ask(facts).public(publish_metrics=True, audit_commitment="ab" * 32).rules == ask(facts).rules
