"""Renderings: the verdict first, then what makes a pass meaningless; numbers as stated; hostile labels stay text."""

from dataclasses import replace

import pytest
import yaml

from audits.findings import Claim
from privdistill.errors import RefusedError
from privdistill.policy import Decision
from privdistill.report import (
    PrivacyStatement,
    privacy_statement,
    render_audit,
    render_card,
    render_claim,
    render_decision,
    render_policy,
    render_privacy,
    render_report,
    verdict_line,
)
from privdistill.report.decision import asked
from tests.privdistill.policy.conftest import Change, ask, honest, shipped

HOSTILE = "\x1b[2J\n# ALLOWED <script>alert(1)</script> | x | \u202e---\n"


def statement(claim: Claim | None, decision: Decision, policy: str = "internal") -> PrivacyStatement:
    assert claim is not None
    return privacy_statement(claim, decision, shipped(policy).policy)


def hostile_claim() -> Claim:
    claim = honest("epsilon-8").claim
    assert claim is not None
    declarations = claim.declarations.model_copy(
        update={
            "describe": HOSTILE,
            "labels": (HOSTILE,),
            "label_descriptions": {HOSTILE: HOSTILE},
            "statement": HOSTILE,
        }
    )
    models = tuple(model.model_copy(update={"id": HOSTILE}) for model in claim.models)
    mechanisms = tuple(mechanism.model_copy(update={"name": HOSTILE}) for mechanism in claim.mechanisms)
    changes = {"declarations": declarations, "models": models, "mechanisms": mechanisms, "not_protected": (HOSTILE,)}
    names = ("run_id", "recipe", "noise_source", "code_version", "privacy_unit", "created_at")
    return claim.model_copy(update=changes | dict.fromkeys(names, HOSTILE))


# -- decision


def test_allowed_in_two_lines() -> None:
    decision = ask(honest("epsilon-8"))
    text = render_decision(decision, report="runs/x/report")
    first, *_, last = text.splitlines()
    assert first == f"ALLOWED  policy internal@{decision.policy.sha256[:8]}  run 20260101T000000Z-0a1b2c"
    assert last.startswith("19 required rules: 19 satisfied, 0 violated, 0 not run, 0 waived")
    assert last.endswith("report: runs/x/report")
    assert len(text.splitlines()) == 2


def test_denied_names_each_rule_with_what_was_found_and_asked() -> None:
    lines = render_decision(ask(Change(honest("epsilon-8")).claim(delta=1e-4, rows=5))).splitlines()
    assert lines[0].startswith("DENIED  policy internal@")
    line = next(line for line in lines if " delta " in line)
    assert line.startswith("  fail")
    assert "delta 0.0001" in line
    assert "delta at most 1e-05" in line
    assert next(line for line in lines if "enough-rows" in line).startswith("  note")


def test_not_decided_says_what_was_not_run() -> None:
    text = render_decision(ask(replace(honest("epsilon-8"), audit=None)))
    assert text.startswith("NOT DECIDED  ")
    assert "–     power" in text
    assert "not run: there is no audit" in text


def test_violations_come_before_what_was_not_run() -> None:
    decision = ask(replace(Change(honest("epsilon-8")).claim(epsilon=20.0), audit=None))
    marks = [line.split()[0] for line in render_decision(decision).splitlines()[1:-1]]
    assert marks == sorted(marks, key=["fail", "–", "note"].index)


@pytest.mark.parametrize("name", ["finance", "health", "internal", "public", "research"])
def test_a_policy_is_explained_rule_by_rule(name: str) -> None:
    loaded = shipped(name)
    text = render_policy(loaded.policy, loaded.sha256)
    assert text.startswith(f"POLICY {name}@{loaded.sha256[:8]}")
    for rule in loaded.policy.rules:
        assert f"  {rule.id} (" in text
        assert asked(rule.requirement) in text
    assert "claim-coherent: " in text
    assert max(map(len, text.splitlines())) < 160


# -- audit


def test_what_makes_a_pass_meaningless_comes_first() -> None:
    facts = honest("epsilon-8")
    facts = Change(facts).finding("PD301", status="skipped")
    found = Change(facts).found("PD201")
    assert found is not None
    assert found.power is not None
    facts = Change(facts).finding("PD201", power=found.power.model_copy(update={"detectable": None}))
    assert facts.audit is not None
    inputs = facts.audit.inputs.model_copy(update={"holdout": None})
    audit = facts.audit.model_copy(update={"inputs": inputs, "required": (*facts.audit.required, "PD999")})
    head = render_audit(audit).partition("mark  check")[0]
    assert "AUDIT PASS" in head
    assert "PD301 is skipped" in head
    assert "a pass of PD201 means little" in head
    assert "PD999 did not run" in head
    assert "without a holdout" in head


def test_truncated_inputs_are_said() -> None:
    audit = honest("epsilon-8").audit
    assert audit is not None
    train = audit.inputs.train.model_copy(update={"records_used": 10})
    text = render_audit(audit.model_copy(update={"inputs": audit.inputs.model_copy(update={"train": train})}))
    assert "only 10 of 7,012 records (trained on) were used" in text


# -- claim and report


def test_a_claim_of_nothing_says_so() -> None:
    claim = Change(honest("epsilon-8")).claim(epsilon=None, recipe="passthrough").claim
    assert claim is not None
    assert "guarantees nothing" in render_claim(claim)
    with pytest.raises(RefusedError):
        statement(claim, ask(honest("epsilon-8")))


def test_the_report_starts_with_the_verdict_and_ends_with_how_to_verify() -> None:
    facts = honest("epsilon-8")
    assert facts.claim is not None
    decision = ask(facts)
    text = render_report(facts.claim, decision, facts.audit)
    parts = [text.index(word) for word in ("ALLOWED", "CLAIM", "AUDIT", "LEDGER", "NOT PROTECTED", "VERIFY")]
    assert parts == sorted(parts)
    assert parts[0] == 0
    assert "NOT DECIDED" in render_report(facts.claim, None, None)
    assert "nothing was measured" in render_report(facts.claim, None, None)


# -- statement, PRIVACY.md, card


def test_the_statement_has_the_numbers_of_the_claim() -> None:
    facts = honest("epsilon-8")
    decision = ask(facts)
    made = statement(facts.claim, decision)
    assert facts.claim is not None
    g = made.guarantee
    assert (g.epsilon, g.delta, g.mu) == (facts.claim.epsilon, facts.claim.delta, facts.claim.mu)
    assert g.delta_times_declared_size == pytest.approx(0.01)
    assert g.attacks[0].any_mechanism == pytest.approx(0.9997, abs=1e-4)
    assert g.attacks[0].this_mechanism == pytest.approx(0.2134, abs=1e-3)
    assert [group.size for group in g.groups] == [2, 3, 4, 5]
    assert made.evidence.reason_for_epsilon is not None
    assert made.accounting.source == decision.source
    assert PrivacyStatement.model_validate_json(made.to_json()) == made
    text = render_privacy(made, decision)
    for words in ("e^8", "99.97%", "21.34%", "not protected", "privdistill verify", "short film reviews", "0.652936"):
        assert words in text


def test_an_undeclared_size_is_not_invented() -> None:
    facts = honest("epsilon-8")
    assert facts.claim is not None
    declarations = facts.claim.declarations.model_copy(update={"size": None})
    claim = facts.claim.model_copy(update={"declarations": declarations})
    made = statement(claim, ask(facts))
    assert made.guarantee.delta_times_declared_size is None
    assert "size: not declared" in render_privacy(made, ask(facts))


def test_groups_without_a_bound_are_printed_as_such() -> None:
    facts = honest("epsilon-8")
    claim = Change(facts).claim(mu=None).claim
    assert "| 5 | no useful bound | |" in render_privacy(statement(claim, ask(facts)), ask(facts))


def test_a_person_as_unit_is_explained() -> None:
    claim = Change(honest("epsilon-8")).claim(privacy_unit="author", contribution_bound=5).claim
    made = statement(claim, ask(honest("epsilon-8")))
    assert "'author', at most 5 records each" in made.guarantee.sentence
    assert "dropped" in made.guarantee.excess_contributions


def test_the_card_has_a_header_that_yaml_reads() -> None:
    facts = honest("epsilon-8")
    card = render_card(statement(facts.claim, ask(facts)), data_file="data/x.parquet", columns=("text", "label"))
    _, header, body = card.split("---\n", 2)
    parsed = yaml.safe_load(header)
    assert parsed["configs"][0]["data_files"] == [{"split": "train", "path": "data/x.parquet"}]
    assert parsed["size_categories"] == ["1K<n<10K"]
    assert "soft" not in body
    assert "epsilon 8" in body


def test_hostile_declarations_stay_text_everywhere() -> None:
    facts = honest("epsilon-8")
    claim = hostile_claim()
    decision = ask(replace(facts, claim=claim))
    assert facts.audit is not None
    findings = tuple(f.model_copy(update={"summary": HOSTILE, "id": HOSTILE}) for f in facts.audit.findings)
    audit = facts.audit.model_copy(update={"findings": findings, "required": (HOSTILE,)})
    made = statement(claim, decision)
    card = render_card(made, data_file="data/x.parquet", columns=("text", "label"))
    texts = {
        "decision": render_decision(decision, report=HOSTILE),
        "line": verdict_line(decision),
        "report": render_report(claim, decision, audit),
        "privacy": render_privacy(made, decision),
        "card": card,
    }
    for name, text in texts.items():
        assert "\x1b" not in text, name
        assert "\u202e" not in text, name
        assert "\n# ALLOWED" not in text, name
    texts["card"] = card.split("---\n", 2)[2]
    for name in ("privacy", "card"):
        assert "<script" not in texts[name].replace("\\<", ""), name
    assert yaml.safe_load(card.split("---\n", 2)[1])["configs"][0]["config_name"] == "default"
