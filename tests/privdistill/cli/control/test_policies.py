"""`policy list|show|explain|test|doc`."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from privdistill.policy import shipped_policies
from privdistill.policy.load import load_policy
from tests.conftest import ROOT
from tests.privdistill.cli.control.runs import build_run

CASES = ROOT / "policies" / "cases"


@pytest.mark.parametrize("name", shipped_policies())
def test_explain_gives_every_rule_with_its_reason(cli: Callable, in_folder: Path, name: str) -> None:
    text = cli("policy", "explain", name).out
    for rule in load_policy(name).policy.rules:
        assert f"  {rule.id} (" in text
        one = cli("policy", "explain", name, rule.id).out
        assert one.startswith(f"{rule.id} (")
        assert " ".join(rule.why.split()) in " ".join(one.split())
    assert "under every policy" in cli("policy", "explain", name, "audit-verdict").out


def test_explain_of_an_unknown_rule_or_policy(cli: Callable, in_folder: Path) -> None:
    for arguments in (("public", "absent"), ("absent",)):
        ended = cli("policy", "explain", *arguments)
        assert (ended.code, ended.out) == (2, "")


def test_the_shipped_cases_pass(cli: Callable, in_folder: Path) -> None:
    ended = cli("policy", "test", "--json")
    document = json.loads(ended.out)
    assert ended.code == 0
    assert document["failed"] == 0
    assert {case["policy"] for case in document["cases"]} == set(shipped_policies())


def test_a_softened_policy_fails_its_cases(cli: Callable, in_folder: Path) -> None:
    text = (ROOT / "policies" / "public.yaml").read_text().replace("epsilon: 3\n", "epsilon: 30\n")
    (in_folder / "public.yaml").write_text(text.replace("true_positive_rate: 0.06", "true_positive_rate: 1"))
    ended = cli("policy", "test", CASES, "--policy", "./public.yaml")
    assert ended.code == 10
    assert "FAIL" in ended.out
    assert "as expected" in ended.out.splitlines()[-1]
    assert cli("policy", "test", CASES, "--policy", "./public.yaml", "-q").out.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "code", "said"),
    [
        ("{}", 2, "not a file of policy cases"),
        ("{policies: [nobody], expect: allow, name: x}", 2, "no policy 'nobody'"),
        ("{policies: [public], expect: allow, name: x, change: {claim: {epsilon: much}}}", 10, "not valid"),
        ("{policies: [public], expect: allow, name: x, because: [delta]}", 10, "expected delta"),
        ("{policies: [public], expect: deny, name: x}", 10, "expected deny, found allow"),
    ],
)
def test_cases_that_are_wrong(cli: Callable, in_folder: Path, text: str, code: int, said: str) -> None:
    (in_folder / "base.json").write_bytes((CASES / "base" / "epsilon-3.json").read_bytes())
    head = "schema: privdistill.policy-cases/v1\nbase: base.json\n"
    (in_folder / "cases.yaml").write_text(text if text == "{}" else f"{head}cases: [{text}]\n")
    ended = cli("policy", "test", "cases.yaml")
    assert ended.code == code
    assert said in ended.out + ended.err


def test_testing_nothing_is_no_success(cli: Callable, in_folder: Path) -> None:
    (in_folder / "empty").mkdir()
    assert cli("policy", "test", "empty").code == 2
    assert cli("policy", "test", "absent").code == 2


def test_the_name_of_a_policy_is_no_file_of_cases(cli: Callable, in_folder: Path) -> None:
    ended = cli("policy", "test", "public")
    assert (ended.code, ended.out) == (2, "")
    assert "expected a file of cases or a folder of them, found the name of a policy, 'public'" in ended.err


def test_a_wildcard_is_said_in_words(cli: Callable, in_folder: Path) -> None:
    assert "one of *" not in cli("policy", "explain", "public").out
    assert "not single records" in cli("policy", "explain", "public").out
    run = build_run(in_folder / "run")
    for form in ("text", "markdown"):
        text = cli("gate", run, "--format", form).out
        assert "one of *" not in text.replace("\\", "")
        assert "not single records" in text


def test_the_reference_is_made_from_the_code(cli: Callable, in_folder: Path) -> None:
    text = cli("policy", "doc").out
    assert text == (ROOT / "docs" / "policies.md").read_text(encoding="utf-8"), "run: privdistill policy doc --output"
    for name in shipped_policies():
        for rule in load_policy(name).policy.rules:
            assert f"### `{rule.kind}`" in text
    cli("policy", "doc", "--output", "policies.md")
    assert Path("policies.md").read_text(encoding="utf-8") == text
