"""The claim on trial: recomputed epsilon, contradictions, binding, the committed split."""

import copy
import math
from pathlib import Path
from typing import Any

import dp_accounting
import numpy as np
import pytest
from dp_accounting.pld import PLDAccountant

from audits.accounting import gaussian_delta, gaussian_epsilon, recompute
from audits.findings import Mechanism
from tests.audits.conftest import Audit, Corpora, finding, write_claim
from tests.leaky_generators import claim_for, write_jsonl

SAMPLED = {
    "kind": "sampled-gaussian",
    "sampler": "poisson",
    "noise": "float-gaussian",
    "noise_grid_steps": None,
    "delta_discretisation": 0.0,
    "sample_rate": 0.05,
    "noise_multiplier": 1.5,
    "steps": 50,
}


def mechanism(claim: dict[str, Any], **changes: Any) -> dict[str, Any]:
    claim["mechanisms"][0] |= changes
    return claim


@pytest.fixture
def honest(corpora: Corpora, files: dict[str, Path]) -> dict[str, Any]:
    return claim_for(files["synthetic"], len(corpora.rows))


@pytest.fixture
def judge(audit: Audit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Status and summary of a claim check, without the slow checks."""
    import audits.examination as examination

    real = examination.load

    def only_claims(*, plug_ins: bool) -> Any:
        checks, names = real(plug_ins=plug_ins)
        return tuple(check for check in checks if check.id in ("PD101", "PD102", "PD103")), names

    monkeypatch.setattr(examination, "load", only_claims)

    def run(claim: dict[str, Any], id: str = "PD101", **options: object) -> tuple[str, str]:
        report = audit(claim=write_claim(tmp_path / "claim.json", claim), require=("PD101",), **options)
        found = finding(report, id)
        assert report.verdict == ("fail" if any(f.status == "fail" for f in report.findings) else report.verdict)
        return found.status, found.summary

    return run


@pytest.mark.parametrize("mu", [0.1, 0.5, 1.0, 3.0])
def test_closed_form_agrees_with_the_privacy_loss_distribution(mu: float) -> None:
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(dp_accounting.GaussianDpEvent(1 / mu))
    assert gaussian_epsilon(1e-6, mu) == pytest.approx(accountant.get_epsilon(1e-6), rel=2e-3)
    assert gaussian_delta(1.0, mu) == pytest.approx(accountant.get_delta(1.0), rel=2e-3, abs=1e-9)


def test_delta_by_simulation() -> None:
    rng = np.random.default_rng(0)
    loss = rng.normal(0.5, 1.0, 400_000)
    assert gaussian_delta(0.4, 1.0) == pytest.approx(float(np.maximum(0, 1 - np.exp(0.4 - loss)).mean()), abs=3e-3)


def test_composition_of_full_batch_and_sampled(honest: dict[str, Any]) -> None:
    one = Mechanism.model_validate(honest["mechanisms"][0])
    two = Mechanism.model_validate(honest["mechanisms"][0] | SAMPLED | {"name": "sgd"})
    full = recompute((one, one), 1e-6)
    assert full.mu == pytest.approx(math.sqrt(2) / 1.4)
    assert recompute((one, two), 1e-6).epsilon > recompute((one,), 1e-6).epsilon
    accountant = PLDAccountant(dp_accounting.NeighboringRelation.ADD_OR_REMOVE_ONE)
    accountant.compose(dp_accounting.PoissonSampledDpEvent(0.05, dp_accounting.GaussianDpEvent(1.5)), 50)
    assert recompute((two,), 1e-6).epsilon == pytest.approx(accountant.get_epsilon(1e-6))


def test_an_honest_claim_passes(judge: Any, honest: dict[str, Any]) -> None:
    assert judge(honest)[0] == "pass"
    assert judge(honest, "PD102")[0] == "pass"


def test_an_honest_sampled_claim_passes(judge: Any, honest: dict[str, Any]) -> None:
    claim = mechanism(honest, **SAMPLED)
    found = recompute((Mechanism.model_validate(claim["mechanisms"][0]),), claim["delta_parts"]["composition"])
    claim |= {"epsilon": found.epsilon, "accountant": None, "mu": None, "privacy_profile": []}
    claim["delta_parts"]["discretisation"] = 0.0
    assert judge(claim)[0] == "pass"


def understated(claim: dict[str, Any]) -> dict[str, Any]:
    claim["accountant"] = None
    return claim | {"epsilon": claim["epsilon"] * 0.998}


def parts(claim: dict[str, Any], **changes: float) -> dict[str, Any]:
    claim["delta_parts"] |= changes
    return claim


LIES = {
    "lies about sigma": (lambda c: mechanism(c, noise_multiplier=1.3), "compose to epsilon"),
    "hides a step": (lambda c: mechanism(c, steps=2, delta_discretisation=1e-12), "compose|discretisation"),
    "understates epsilon": (understated, "compose to epsilon"),
    "smaller sensitivity than its parts": (lambda c: mechanism(c, sensitivity=1.0), "parts that exceed"),
    "no sensitivity parts": (lambda c: mechanism(c, sensitivity_parts={}), "no parts of its sensitivity"),
    "sampler does not fit": (lambda c: mechanism(c, sampler="poisson"), "was sampled poisson"),
    "full batch with a rate": (lambda c: mechanism(c, sample_rate=0.1), "sample rate below 1"),
    "kind none": (lambda c: mechanism(c, kind="none"), "discloses records"),
    "no noise": (lambda c: mechanism(c, noise="none"), "no noise"),
    "no multiplier": (lambda c: mechanism(c, noise_multiplier=None), "no noise multiplier"),
    "coarse grid": (lambda c: mechanism(c, noise_grid_steps=2.0**20), "fewer than 2"),
    "no grid": (lambda c: mechanism(c, noise_grid_steps=None), "without its grid"),
    "no delta for the grid": (lambda c: mechanism(c, delta_discretisation=0.0), "discretisation and needs"),
    "no cells": (lambda c: mechanism(c, dimension=0), "releases no cell"),
    "free threshold": (lambda c: mechanism(c, kind="gaussian-threshold"), "books no delta"),
    "threshold above its part": (lambda c: mechanism(c, kind="gaussian-threshold", delta_threshold=1e-7), "thresholds"),
    "delta parts above delta": (lambda c: parts(c, thresholds=1e-6), "more than delta"),
    "delta part below its mechanisms": (lambda c: parts(c, discretisation=0.0), "for discretisation than the claim"),
    "no composition delta": (lambda c: parts(c, composition=0.0), "no delta is left"),
    "no delta": (lambda c: c | {"delta": None}, "without delta"),
    "no relation": (lambda c: c | {"adjacency": None}, "without delta"),
    "no mechanism": (lambda c: c | {"mechanisms": []}, "no mechanism is listed"),
    "own accountant disagrees": (
        lambda c: c | {"accountant": {"name": "x", "version": "1", "epsilon": c["epsilon"] * 1.1}},
        "its own accountant",
    ),
    "mu too small": (lambda c: c | {"mu": 0.5}, "mu is stated"),
    "flat profile": (lambda c: c | {"privacy_profile": [{"epsilon": 0.5, "delta": 1e-9}]}, "profile is too small"),
    "same name twice": (lambda c: c | {"mechanisms": c["mechanisms"] * 2}, "same name"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_claim_fails(judge: Any, honest: dict[str, Any], lie: str) -> None:
    change, expected = LIES[lie]
    status, summary = judge(change(copy.deepcopy(honest)))
    assert status == "fail", summary
    assert any(part in summary for part in expected.split("|")), summary


def test_a_claim_of_nothing_is_inconclusive(judge: Any, honest: dict[str, Any]) -> None:
    nothing = {
        "epsilon": None,
        "delta": None,
        "delta_parts": None,
        "adjacency": None,
        "mu": None,
        "privacy_profile": [],
    }
    claim = (
        mechanism(honest, kind="none", noise_multiplier=None, sensitivity=None, noise="none", sampler="none") | nothing
    )
    status, summary = judge(claim)
    assert (status, summary) == ("inconclusive", "No guarantee is claimed: there is nothing to verify.")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"data_sha256": "0" * 64}, "claim of another file"),
        ({"rows": 7}, "states 7 rows"),
        ({"epsilon": -1.0}, "breaks its schema in 1 place(s); first: epsilon: greater_than"),
    ],
)
def test_a_claim_of_another_candidate_fails(judge: Any, honest: dict[str, Any], change: dict, expected: str) -> None:
    status, summary = judge(honest | change, "PD102")
    assert status == "fail"
    assert expected in summary


def test_a_person_level_claim_needs_the_unit_column(judge: Any, honest: dict[str, Any]) -> None:
    from audits.errors import BadInputError

    honest["declarations"]["unit_column"] = "who"
    with pytest.raises(BadInputError, match="give --unit-column"):
        judge(honest | {"privacy_unit": "who"})


@pytest.fixture
def key(tmp_path: Path) -> Path:
    path = tmp_path / "split.key"
    path.write_text(bytes(range(32)).hex() + "\n")
    return path


def test_the_committed_split_verifies(judge: Any, honest: dict[str, Any], key: Path) -> None:
    assert judge(honest, "PD103", split_key=key)[0] == "pass"


def test_without_a_key_nothing_is_verified(judge: Any, honest: dict[str, Any]) -> None:
    assert judge(honest, "PD103")[0] == "skipped"


def test_another_key_fails(judge: Any, honest: dict[str, Any], tmp_path: Path) -> None:
    other = tmp_path / "other.key"
    other.write_text("11" * 32)
    assert judge(honest, "PD103", split_key=other)[0] == "fail"
    assert judge(honest | {"split_commitment": None}, "PD103", split_key=other)[0] == "fail"


def test_one_unit_moved_to_the_other_side_fails(
    judge: Any, honest: dict[str, Any], corpora: Corpora, key: Path, tmp_path: Path
) -> None:
    source = write_jsonl(tmp_path / "moved.jsonl", corpora.train[1:])
    holdout = write_jsonl(tmp_path / "moved-holdout.jsonl", [*corpora.holdout, corpora.train[0]])
    status, summary = judge(honest, "PD103", split_key=key, source=source, holdout=holdout)
    assert status == "fail"
    assert "1 of 3000 units" in summary


def test_another_holdout_probability_fails(judge: Any, honest: dict[str, Any], key: Path) -> None:
    assert judge(honest | {"holdout": 0.5}, "PD103", split_key=key)[0] == "fail"


def test_a_key_without_a_claim_or_holdout_is_inconclusive(
    audit: Audit, judge: Any, honest: dict[str, Any], key: Path
) -> None:
    assert finding(audit(split_key=key), "PD103").status == "inconclusive"
    assert judge(honest, "PD103", split_key=key, holdout=None)[0] == "inconclusive"
