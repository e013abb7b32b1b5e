"""Canaries: the seal, the coins, what the two checks find, and what they must not rely on."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest

from audits.canaries.envelope import Envelope, commitment, is_inserted, open_envelope
from audits.canaries.issuing import Opening, compose, inserted_rows, seal, vocabulary
from audits.errors import BadInputError
from audits.inputs.units import normalise
from audits.statistics.intervals import clopper_pearson
from tests.audits.conftest import Audit, Corpora, command, finding, write_claim
from tests.leaky_generators import claim_for, planted_records, sentences, write_jsonl

ISSUED = 400
BOTH = ("PD501", "PD502")


@pytest.fixture(scope="module")
def envelope() -> Envelope:
    public = sentences(300, seed=101)
    return seal(compose(ISSUED, [Opening(text) for text in public], vocabulary(sentences(2_000, seed=102))))


@pytest.fixture
def sealed(envelope: Envelope, tmp_path: Path) -> Path:
    path = tmp_path / "envelope.json"
    path.write_text(envelope.model_dump_json(by_alias=True))
    return path


def planted(envelope: Envelope) -> list[str]:
    return [text for text, _, _ in inserted_rows(envelope)]


def withheld(envelope: Envelope) -> list[str]:
    inside = set(planted(envelope))
    return [canary.text for canary in envelope.canaries if canary.text not in inside]


def claimed(data: Path, rows: int, envelope: Envelope | None, **changes: object) -> dict[str, object]:
    stated = {"issued": len(envelope.canaries), "commitment": envelope.commitment} if envelope else None
    return claim_for(data, rows, canaries=stated, **changes)


def test_coins_are_fair_and_a_function_of_key_and_text(envelope: Envelope) -> None:
    key = bytes.fromhex(envelope.key)
    texts = [canary.text for canary in envelope.canaries]
    assert len(set(texts)) == ISSUED
    heads = sum(is_inserted(key, text) for text in texts)
    assert clopper_pearson(heads, ISSUED, 0.9999)[0] < 0.5 < clopper_pearson(heads, ISSUED, 0.9999)[1]
    assert {is_inserted(key, texts[0]) for _ in range(3)} == {is_inserted(key, texts[0])}
    other = [is_inserted(bytes(32), text) for text in texts]
    agree = sum(mine == is_inserted(key, text) for mine, text in zip(other, texts, strict=True))
    assert 0.35 < agree / ISSUED < 0.65, "coins of another key are other coins"


def test_a_canary_begins_like_a_public_text_and_goes_on_like_none(envelope: Envelope) -> None:
    openings = {" ".join(text.split()[:6]) for text in sentences(300, seed=101)}
    assert all(" ".join(canary.text.split()[:6]) in openings for canary in envelope.canaries)
    assert len({tuple(canary.text.split()[-12:]) for canary in envelope.canaries}) == ISSUED


def test_words_of_few_texts_are_not_used() -> None:
    names = [f"{text} says mister uniquename{chr(97 + i % 26)}" for i, text in enumerate(sentences(2_000, seed=102))]
    assert not any(word.startswith("uniquename") for word in vocabulary([*sentences(2_000, seed=1), *names[:26]]))
    with pytest.raises(BadInputError, match="expected at least 200"):
        vocabulary(["a few words only"])


def test_the_same_text_twice_is_refused(envelope: Envelope) -> None:
    with pytest.raises(BadInputError, match="same text"):
        seal([envelope.canaries[0], envelope.canaries[0]])


def test_nothing_in_a_sealed_envelope_can_be_changed(envelope: Envelope, tmp_path: Path) -> None:
    path = tmp_path / "e.json"
    for change in ({"key": "ab" * 32}, {"canaries": envelope.canaries[1:]}):
        path.write_text(envelope.model_copy(update=change).model_dump_json(by_alias=True))
        opened = open_envelope(path, None, [])
        assert opened.broken
        assert "changed after it was sealed" in opened.problem
    key = bytes.fromhex(envelope.key)
    assert commitment(key, envelope.canaries) == envelope.commitment != commitment(bytes(32), envelope.canaries)
    path.write_text('{"canaries": "secretword"}')
    with pytest.raises(BadInputError) as refused:
        open_envelope(path, None, [])
    assert "secretword" not in str(refused.value)


def test_a_generator_that_copies_planted_records_fails(
    audit_only: Audit, corpora: Corpora, envelope: Envelope, sealed: Path
) -> None:
    rows = planted_records(planted(envelope), corpora.rows, np.random.default_rng(1), 15)
    report = audit_only((*BOTH, "PD201"), rows, canaries=sealed)
    found = finding(report, "PD501")
    assert found.status == "fail", found.summary
    assert found.estimates["planted_rate"].value > 0.05 > found.estimates["withheld_rate"].high
    assert report.verdict == "fail", "a fail fails even where it is not required"
    assert finding(report, "PD201").status == "pass", "the canaries are no units of the source"
    assert not [text for text in planted(envelope) if text in report.model_dump_json()]


def test_a_clean_generator_passes_and_says_what_it_would_have_caught(
    audit_only: Audit, corpora: Corpora, sealed: Path
) -> None:
    report = audit_only(BOTH, canaries=sealed)
    assert report.required == ()
    found = finding(report, "PD501")
    assert found.status == "pass", found.summary
    assert found.power is not None
    assert 0 < (found.power.detectable or 1) <= 0.1
    assert 0.3 < found.estimates["exposure"].value < 2.5, "about one bit by chance"


def test_copies_of_withheld_canaries_are_no_finding(
    audit_only: Audit, corpora: Corpora, envelope: Envelope, sealed: Path
) -> None:
    rows = planted_records(withheld(envelope), corpora.rows, np.random.default_rng(1), 15)
    assert finding(audit_only(BOTH, rows, canaries=sealed), "PD501").status != "fail"


def test_without_an_envelope_both_are_skipped(audit_only: Audit) -> None:
    report = audit_only(BOTH)
    assert {finding(report, id).status for id in ("PD501", "PD502")} == {"skipped"}
    assert audit_only(BOTH, require=("PD501",)).verdict == "inconclusive"


def test_planted_rows_in_the_source_file_are_no_units(
    audit_only: Audit, corpora: Corpora, envelope: Envelope, sealed: Path, tmp_path: Path
) -> None:
    mixed = write_jsonl(tmp_path / "mixed.jsonl", [*corpora.train, *planted(envelope)])
    report = audit_only(BOTH, canaries=sealed, source=mixed)
    assert report.inputs.train.units_used == len(corpora.train)
    assert report.inputs.train.records_available == len(corpora.train) + len(planted(envelope))
    assert finding(report, "PD501").status == "pass"
    wrong = write_jsonl(tmp_path / "wrong.jsonl", [*corpora.train, *withheld(envelope)])
    report = audit_only(BOTH, canaries=sealed, source=wrong)
    assert finding(report, "PD501").status == "inconclusive"
    assert "their coins left out" in finding(report, "PD502").summary


def test_a_claim_is_contradicted_by_canaries(
    audit_only: Audit, corpora: Corpora, envelope: Envelope, sealed: Path, tmp_path: Path
) -> None:
    rows = corpora.rows + planted(envelope)
    data = write_jsonl(tmp_path / "given.jsonl", rows)

    def found(stated: Envelope | None, **changes: object) -> object:
        claim = write_claim(tmp_path / "c.json", claimed(data, len(rows), stated, **changes))
        return finding(audit_only(BOTH, rows, claim=claim, canaries=sealed), "PD502")

    tight = found(envelope, sigma=8.0)
    assert tight.status == "fail", tight.summary
    assert tight.estimates["epsilon_lower_bound"].value > 1
    assert tight.estimates["mu_lower_bound"].value > tight.estimates["claimed_mu"].value
    assert "assuming the claimed curve" in tight.estimates["mu_lower_bound"].method
    wide = found(envelope, sigma=1.1)
    assert wide.estimates["epsilon_lower_bound"].value < wide.estimates["claimed_epsilon"].value
    assert wide.status == "fail", "assuming the claimed curve, canaries reach further"
    assert "at least mu" in wide.summary
    assert found(envelope, sigma=1.1, mu=None).status == "inconclusive", "without a curve that epsilon is out of reach"
    assert found(None, sigma=8.0).status == "inconclusive", "the claim must say that canaries were planted"
    other = seal(envelope.canaries)
    assert found(other, sigma=8.0).status == "fail", "it commits to other coins"


def test_an_honest_claim_is_not_contradicted_by_canaries(
    audit_only: Audit, corpora: Corpora, envelope: Envelope, sealed: Path, files: dict[str, Path], tmp_path: Path
) -> None:
    claim = write_claim(tmp_path / "c.json", claimed(files["synthetic"], len(corpora.rows), envelope))
    found = finding(audit_only(BOTH, claim=claim, canaries=sealed), "PD502")
    assert found.status == "pass", found.summary
    assert found.estimates["largest_contradictable_mu"].value > found.estimates["claimed_mu"].value
    assert found.estimates["mu_lower_bound"].value == 0.0


def test_probes_enter_no_bound(audit_only: Audit, corpora: Corpora, tmp_path: Path) -> None:
    """A generator that copies only what it reads sixteen times: the probes say so, test and bound do not use them."""
    openings, words = [Opening(t) for t in sentences(300, seed=101)], vocabulary(sentences(2_000, seed=102))
    envelope = seal(compose(100, openings, words) + compose(40, openings, words, repeats=16))
    path = tmp_path / "envelope.json"
    path.write_text(envelope.model_dump_json(by_alias=True))
    often = {canary.text for canary in envelope.canaries if canary.repeats == 16}
    rows = corpora.rows + sorted(often & set(planted(envelope)))
    found = finding(audit_only(BOTH, rows, canaries=path), "PD501")
    assert found.status != "fail"
    assert found.estimates["planted_rate_16_copies"].value == 1.0
    assert finding(audit_only(BOTH, rows, canaries=path), "PD502").estimates["epsilon_lower_bound"].value == 0.0
    assert len(planted(envelope)) == len(set(planted(envelope)) - often) + 16 * len(often & set(planted(envelope)))


def test_both_bounds_share_one_level(audit_only: Audit, corpora: Corpora, sealed: Path, tmp_path: Path) -> None:
    from audits.evidence import Evidence, Settings
    from audits.inputs.units import make_synthetic
    from audits.split import SplitEvidence

    def alpha(kind: str, canaries: object) -> float:
        return Evidence(
            source=None,
            synthetic=make_synthetic(["a", "b"]),
            synthetic_sha256="",
            read_claim=None,
            split=SplitEvidence(kind),
            settings=Settings(),
            key=b"",
            canaries=canaries,
        ).bound_alpha

    opened = open_envelope(sealed, None, [])
    assert [alpha("own", None), alpha("external", opened), alpha("own", opened)] == [0.05, 0.05, 0.025]


def test_issuing_from_the_command_line(tmp_path: Path) -> None:
    public = write_jsonl(tmp_path / "public.jsonl", sentences(2_000, seed=101), tone=["good", "bad"] * 1_000)
    out = tmp_path / "sealed"
    issue = ("canaries", "--count", 60, "--public", public, "--label-column", "tone", "--probes", 5, "--out", out)
    done = command(*issue)
    assert done.returncode == 0, done.stderr
    envelope = Envelope.model_validate_json((out / "envelope.json").read_bytes())
    assert done.stdout == envelope.commitment + "\n"
    assert {stat.S_IMODE(os.stat(out / name).st_mode) for name in ("envelope.json", "inserted.jsonl")} == {0o600}
    rows = [json.loads(line) for line in (out / "inserted.jsonl").read_text().splitlines()]
    expected = {c.text: c.repeats for c in envelope.canaries if is_inserted(bytes.fromhex(envelope.key), c.text)}
    assert {row["text"] for row in rows} == set(expected)
    assert len(rows) == sum(expected.values())
    assert len({row["unit"] for row in rows}) == len(rows), "every copy is a unit of its own"
    assert {row["label"] for row in rows} <= {"good", "bad"}
    assert all(normalise(c.text) == c.text for c in envelope.canaries)
    again = command(*issue)
    assert again.returncode == 2
    assert "must not be drawn twice" in again.stderr
    assert command("canaries", "--help").returncode == 0
    few = command("canaries", "--count", 9, "--candidates", write_jsonl(tmp_path / "few.jsonl", ["x"]), "--out", out)
    assert few.returncode == 2
