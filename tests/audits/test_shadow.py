"""The shadow-run attack on generators that leak and that do not, and its bounds against simulation."""

import json
from pathlib import Path

import numpy as np
import pytest

from audits.commands import shadow
from audits.errors import BadInputError
from audits.shadow.runs import parse_template
from audits.shadow.verdict import Claimed, judge_runs
from audits.statistics.distinguishing import (
    distinguishing_ceiling,
    distinguishing_epsilon,
    distinguishing_mu,
    distinguishing_p_value,
    fisher_p_value,
)
from audits.statistics.intervals import clopper_pearson
from tests.leaky_generators import sentences, write_jsonl

RUNS = 24


@pytest.fixture
def given(tmp_path: Path) -> list[str]:
    texts = sentences(60, seed=401)
    write_jsonl(tmp_path / "fixed.jsonl", sentences(40, seed=402))
    source, target = write_jsonl(tmp_path / "t.jsonl", texts[:-1]), write_jsonl(tmp_path / "one.jsonl", texts[-1:])
    return ["--source", str(source), "--target", str(target), "--runs", str(RUNS), "--out", str(tmp_path / "out")]


def attack(tmp_path: Path, *arguments: str) -> tuple[int, dict]:
    code = shadow.main(arguments)
    return code, json.loads((tmp_path / "out" / "shadow.json").read_text())["finding"]


def test_a_generator_that_copies_is_caught(given: list[str], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    code, found = attack(tmp_path, "--command", "cp {input} {output}", *given, "--epsilon", "0.5")
    assert (code, found["status"]) == (10, "fail"), found["summary"]
    bound = found["estimates"]["epsilon_lower_bound"]
    assert bound["value"] == found["estimates"]["largest_contradictable_epsilon"]["value"] > 1
    assert found["threat_model"] == "T3"
    printed = capsys.readouterr().out
    assert "PD601" in printed
    for text in sentences(60, seed=401):
        assert text not in printed + json.dumps(found)


def test_a_generator_that_reads_nothing_is_not(given: list[str], tmp_path: Path) -> None:
    wrapper = tmp_path / "clean.sh"
    wrapper.write_text(f'#!/bin/sh\ntest -f "$1" && cp {tmp_path / "fixed.jsonl"} "$2"\n')
    wrapper.chmod(0o700)
    code, found = attack(tmp_path, "--command", f"{wrapper} {{input}} {{output}}", *given, "--epsilon", "0.5")
    assert (code, found["status"]) == (0, "pass"), found["summary"]
    assert found["estimates"]["epsilon_lower_bound"]["value"] == 0.0
    assert found["power"]["detectable"] < 0.6


def test_a_claim_out_of_reach_is_inconclusive() -> None:
    rng = np.random.default_rng(0)
    scores, included = rng.normal(size=48), rng.permutation(np.arange(48) < 24)
    found = judge_runs(scores, included, 0, Claimed(8.0), 0.05)
    assert found.status == "inconclusive"
    assert found.estimates["largest_contradictable_epsilon"].value < 8
    assert judge_runs(scores, included, 1, Claimed(0.5), 0.05).status == "inconclusive", "a failed run is not repeated"
    assert judge_runs(scores[:9], included[:9], 0, Claimed(0.5), 0.05).status == "inconclusive"


def test_without_a_claim_a_plain_leak_still_fails() -> None:
    rng = np.random.default_rng(0)
    included = rng.permutation(np.arange(60) < 30)
    assert judge_runs(included.astype(float), included, 0, Claimed(), 0.05).status == "fail"
    assert judge_runs(rng.normal(size=60), included, 0, Claimed(), 0.05).status != "fail"


def test_failed_runs_leave_it_open(given: list[str], tmp_path: Path) -> None:
    code, found = attack(tmp_path, "--command", "test {input} = {output}", *given)
    assert (code, found["status"]) == (3, "inconclusive")
    assert "48 runs gave no output" in found["summary"]


def test_what_cannot_be_a_bound_is_refused(given: list[str], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"no \{output\}"):
        parse_template("cat {input}")
    several = write_jsonl(tmp_path / "two.jsonl", ["one text here", "another text here"])
    line = ["--command", "cp {input} {output}", *given]
    with pytest.raises(BadInputError, match="speaks of one unit"):
        shadow.main([*line, "--target", str(several)])
    inside = write_jsonl(tmp_path / "inside.jsonl", sentences(60, seed=401)[:1])
    with pytest.raises(BadInputError, match="is in the source already"):
        shadow.main([*line, "--target", str(inside)])
    with pytest.raises(BadInputError, match="there is no program"):
        shadow.main(["--command", "no-such-program-here {input} {output}", *given])


def test_the_bound_holds_for_a_gaussian_mechanism() -> None:
    """Runs that show a coin under noise of known epsilon: at most 5 % of the bounds exceed it, few are vacuous."""
    rng = np.random.default_rng(5)
    mu, runs, above, bounds = 2.0, 60, 0, []
    for _ in range(200):
        true = int((rng.normal(mu, 1, runs) > 1.0).sum())
        false = int((rng.normal(0, 1, runs) > 1.0).sum())
        bounds.append(distinguishing_mu(true, runs, false, runs, 0.05))
        above += bounds[-1] > mu
        epsilon = distinguishing_epsilon(true, runs, false, runs, 0.05, delta=1e-6)
        assert epsilon < 8.8, "the true epsilon at delta 1e-6"
    assert clopper_pearson(above, 200)[0] <= 0.05
    assert np.median(bounds) > 1.0


def test_the_p_value_is_the_level_at_which_the_bound_rejects() -> None:
    given = (30, 32, 3, 32)
    p_value = distinguishing_p_value(lambda level: distinguishing_epsilon(*given, level) > 1.0)
    assert distinguishing_epsilon(*given, p_value * 1.01) > 1.0 > distinguishing_epsilon(*given, p_value * 0.99)
    assert distinguishing_p_value(lambda level: distinguishing_epsilon(5, 32, 6, 32, level) > 1.0) > 0.5
    assert fisher_p_value(30, 32, 3, 32) < 1e-9 < fisher_p_value(6, 32, 6, 32)
    assert distinguishing_ceiling(1_000, 1_000, 0.05) == pytest.approx(5.60, abs=0.01)


def test_the_bound_is_that_of_two_clopper_pearson_intervals() -> None:
    low, high = clopper_pearson(27, 32, 0.95)[0], clopper_pearson(2, 32, 0.95)[1]
    expected = max(np.log((low - 1e-6) / high), np.log((1 - high - 1e-6) / (1 - low)))
    assert distinguishing_epsilon(27, 32, 2, 32, 0.05, 1e-6) == pytest.approx(float(expected))
