"""Each check fails a generator that leaks in its way and passes one that does not: the negative controls."""

from pathlib import Path

import numpy as np
import pytest

from audits.findings import AuditReport
from tests.audits.conftest import LENIENT, Audit, Corpora, finding, write_claim
from tests.leaky_generators import (
    LEAKS,
    claim_for,
    clean,
    identifier_replay,
    person_level,
    sentences,
    side_of,
    write_jsonl,
)

MEMORISATION = ("PD201", "PD202", "PD203", "PD301", "PD401")
CAUGHT = {
    "passthrough": {"PD201", "PD202", "PD203", "PD301"},
    "verbatim": {"PD201", "PD202", "PD203"},
    "quoted_runs": {"PD201", "PD202"},
    "near_copies": {"PD203"},
}


def failed(report: AuditReport) -> set[str]:
    return {found.id for found in report.findings if found.status == "fail"}


@pytest.fixture(scope="session")
def nothing(corpora: Corpora, rng_clean: np.random.Generator) -> list[str]:
    return clean(corpora.train, corpora.rows, rng_clean)


@pytest.fixture(scope="session")
def rng_clean() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_clean_generator_passes_with_its_power_stated(audit: Audit, nothing: list[str]) -> None:
    report = audit(nothing)
    assert report.verdict == "pass", [(found.id, found.summary) for found in report.findings]
    for id in MEMORISATION:
        found = finding(report, id)
        assert found.status == "pass"
        assert found.power is not None
        assert found.power.detectable is not None
        assert 0 < found.power.detectable <= LENIENT.max_detectable
        assert found.p_value is not None
        assert found.corrected_p_value is not None
        assert found.corrected_p_value >= found.p_value
        assert found.estimates["null_false_alarms"].low <= 0.05


@pytest.mark.parametrize("name", LEAKS)
def test_a_leaky_generator_fails_where_it_leaks(audit: Audit, corpora: Corpora, name: str) -> None:
    report = audit(LEAKS[name](corpora.train, corpora.rows, np.random.default_rng(1)))
    assert report.verdict == "fail"
    assert CAUGHT[name] <= failed(report), [(f.id, f.status, f.corrected_p_value) for f in report.findings]
    assert failed(report) <= set(MEMORISATION)


def test_the_same_leak_of_the_holdout_is_no_memorisation(audit: Audit, corpora: Corpora) -> None:
    """Copies of texts that were never read are phantoms: something to explain, not memorisation."""
    report = audit(LEAKS["verbatim"](corpora.holdout, corpora.rows, np.random.default_rng(1)))
    assert failed(report) == set()


def test_worst_cases_point_at_the_copied_units(audit: Audit, corpora: Corpora) -> None:
    rows = LEAKS["verbatim"](corpora.train, corpora.rows, np.random.default_rng(1))
    cases = finding(audit(rows), "PD201").worst_cases
    assert len(cases) == 5
    for case in cases:
        assert case.side == "train"
        assert case.synthetic_row is not None
        assert case.synthetic_row >= len(corpora.rows)
        assert len(case.unit) == 16


def with_numbers(texts: list[str], seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [
        f"{text}, call +49 {rng.integers(100, 999)} {rng.integers(10**6, 10**7)}" if i % 3 == 0 else text
        for i, text in enumerate(texts)
    ]


def test_replayed_identifiers_fail(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    train, holdout = with_numbers(corpora.train, 1), with_numbers(corpora.holdout, 2)
    sides = {"source": write_jsonl(tmp_path / "t.jsonl", train), "holdout": write_jsonl(tmp_path / "h.jsonl", holdout)}
    rows = with_numbers(corpora.rows, 3)
    assert failed(audit(rows, **sides)) == set()
    leaked = identifier_replay(train, corpora.rows, np.random.default_rng(4))
    assert "PD401" in failed(audit(leaked, **sides))


def test_copied_people_fail_and_their_records_count_once(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    texts = sentences(1_600, seed=41)
    people = {f"p{i}": texts[4 * i : 4 * i + 4] for i in range(400)}
    held = {name for name in people if side_of(name, 0.4)}
    sides = {}
    for side, chosen in (("source", people.keys() - held), ("holdout", held)):
        names = sorted(chosen)
        records = [text for name in names for text in people[name]]
        owners = [name for name in names for _ in people[name]]
        sides[side] = write_jsonl(tmp_path / f"{side}.jsonl", records, who=owners)
    read = {name: people[name] for name in people.keys() - held}
    rows = person_level(read, corpora.rows, np.random.default_rng(5), 15)
    report = audit(rows, unit_column="who", **sides)
    assert {"PD201", "PD202", "PD203"} <= failed(report)
    assert report.inputs.train.units_used == len(read)
    assert report.inputs.train.records_used == 4 * len(read)
    assert finding(report, "PD201").estimates["train_rate"].n == len(read)
    assert finding(report, "PD201").estimates["train_rate"].value == pytest.approx(15 / len(read), abs=0.01)


def test_an_outlandish_holdout_is_no_control(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    other = [text.replace("the ", "das ").replace(" and ", " und ") for text in corpora.holdout]
    report = audit(holdout=write_jsonl(tmp_path / "other.jsonl", other))
    assert finding(report, "PD104").status == "inconclusive"
    assert report.verdict == "inconclusive"
    assert "differ without any generator" in finding(report, "PD201").summary
    copies = audit(corpora.train[:300], holdout=tmp_path / "other.jsonl")
    assert copies.verdict == "fail", "whole records need no control"


def test_a_holdout_that_was_read_is_no_control(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    report = audit(holdout=write_jsonl(tmp_path / "h.jsonl", corpora.train[:400]))
    assert finding(report, "PD104").status == "inconclusive"
    assert "they were read" in finding(report, "PD104").summary
    assert report.verdict == "inconclusive"


def test_another_language_is_never_a_pass(audit: Audit) -> None:
    rows = [f"это совсем другой язык номер {i}" for i in range(300)]
    report = audit(rows)
    assert finding(report, "PD105").status == "inconclusive"
    assert report.verdict == "inconclusive"


def test_without_a_holdout_the_controls_are_inconclusive(audit: Audit, corpora: Corpora) -> None:
    report = audit(holdout=None)
    assert report.verdict == "inconclusive"
    assert {finding(report, id).status for id in (*MEMORISATION, "PD104")} == {"inconclusive"}
    assert audit(corpora.train[:300], holdout=None).verdict == "fail", "a file of whole source records needs no control"


def test_a_claim_is_contradicted_by_copies(
    audit: Audit, corpora: Corpora, files: dict[str, Path], tmp_path: Path
) -> None:
    key = tmp_path / "split.key"
    key.write_text(bytes(range(32)).hex())
    rows = corpora.train[:600]
    data = write_jsonl(tmp_path / "given.jsonl", rows)
    tight = claim_for(data, len(rows), sigma=8.0)
    report = audit(rows, claim=write_claim(tmp_path / "c.json", tight), split_key=key)
    found = finding(report, "PD302")
    assert report.inputs.split == "own"
    assert found.status == "fail", found.summary
    assert found.estimates["epsilon_lower_bound"].value > tight["epsilon"]
    assert found.estimates["largest_contradictable_epsilon"].value >= found.estimates["epsilon_lower_bound"].value
    loose = audit(rows, claim=write_claim(tmp_path / "c.json", claim_for(data, len(rows), sigma=0.3)), split_key=key)
    assert finding(loose, "PD302").status == "inconclusive", "an epsilon above the ceiling cannot be contradicted"
    outside = audit(rows, claim=write_claim(tmp_path / "c.json", tight))
    assert finding(outside, "PD302").status == "inconclusive", "an outsider's holdout gives no epsilon"
    assert "epsilon_lower_bound" not in finding(outside, "PD302").estimates


def test_an_honest_claim_is_not_contradicted(
    audit: Audit, corpora: Corpora, files: dict[str, Path], tmp_path: Path
) -> None:
    key = tmp_path / "split.key"
    key.write_text(bytes(range(32)).hex())
    claim = write_claim(tmp_path / "c.json", claim_for(files["synthetic"], len(corpora.rows), sigma=8.0))
    report = audit(claim=claim, split_key=key)
    assert report.verdict == "pass"
    found = finding(report, "PD302")
    assert found.status == "pass"
    assert found.estimates["epsilon_lower_bound"].value == 0.0
