"""Every case under policies/cases, each under every policy that it names."""

from pathlib import Path

import pytest

from privdistill.errors import ConfigError
from privdistill.policy import shipped_policies
from privdistill.policy.cases import Base, Case, load_cases, run_case
from tests.conftest import ROOT
from tests.privdistill.policy.conftest import shipped

FOLDER = ROOT / "policies" / "cases"
ALL = [
    pytest.param(base, case, policy, id=f"{path.stem}: {case.name} [{policy}]")
    for path in sorted(FOLDER.glob("*.yaml"))
    for base, cases in [load_cases(path)]
    for case in cases
    for policy in case.policies
]


@pytest.mark.parametrize(("base", "case", "policy"), ALL)
def test_case(base: Base, case: Case, policy: str) -> None:
    decision = run_case(case, base, shipped(policy))
    assert decision.verdict == case.expect, decision.reason
    assert set(case.because) <= {rule.id for rule in decision.unmet()}


def test_base_runs_from_before_the_ledger_knew_the_claim_still_serve() -> None:
    base, cases = load_cases(FOLDER / "shipped-epsilon-8.yaml")
    ledger = {name: value for name, value in base.documents["ledger"].items() if name != "claim_sha256"}
    older = Base({**base.documents, "ledger": ledger})
    for case in cases:
        for policy in case.policies:
            assert run_case(case, older, shipped(policy)).verdict == case.expect


def test_every_required_rule_of_a_shipped_policy_stops_some_case() -> None:
    stopping: dict[str, set[str]] = {name: set() for name in shipped_policies()}
    for parameters in ALL:
        base, case, policy = parameters.values
        decision = run_case(case, base, shipped(policy))
        stopping[policy] |= {rule.id for rule in decision.unmet() if rule.required}
    for name in shipped_policies():
        required = {rule.id for rule in shipped(name).policy.rules if rule.level != "advisory"}
        assert required <= stopping[name], f"{name}: no case is stopped by {sorted(required - stopping[name])}"


@pytest.mark.parametrize(
    "text", ["schema: x\n", "", "schema: privdistill.policy-cases/v1\nbase: absent.json\ncases: []\n"]
)
def test_a_malformed_file_of_cases_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"c\.yaml"):
        load_cases(tmp_path / "c.yaml")
