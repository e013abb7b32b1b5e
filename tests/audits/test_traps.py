"""Traps of false assurance that other audits fell into: one test each, seventeen of them and one more."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from audits.findings import AuditReport
from audits.statistics.intervals import clopper_pearson
from audits.statistics.onerun import epsilon_lower_bound
from audits.statistics.ranking import at_false_positive_rate
from tests.audits.conftest import Audit, Corpora, finding, write_claim
from tests.leaky_generators import KEY, claim_for, sentences, side_of, write_jsonl


def copied(corpora: Corpora, count: int, seed: int = 1) -> list[str]:
    chosen = np.random.default_rng(seed).choice(corpora.train, count, replace=False)
    return corpora.rows + [str(text) for text in chosen]


def failed(report: AuditReport) -> set[str]:
    return {found.id for found in report.findings if found.status == "fail"}


def test_trap_01_distance_averages_pass_what_we_fail(audit: Audit, corpora: Corpora) -> None:
    """A 5 % verbatim leak hardly moves the mean distance; the exact tests fail it."""
    report = audit(copied(corpora, 25))
    assert "PD203" in failed(report)
    gap = finding(report, "PD203").estimates["distance_difference"]
    assert abs(gap.value) < 0.02
    assert "decides nothing" in gap.method


def test_trap_02_a_leak_of_few_units_is_not_averaged_away(audit: Audit, corpora: Corpora) -> None:
    report = audit(copied(corpora, 25))
    assert finding(report, "PD201").corrected_p_value < 0.05
    assert finding(report, "PD201").estimates["excess_rate"].value < 0.02
    assert report.verdict == "fail"


def test_trap_03_a_crashed_check_does_not_drop_out(audit: Audit, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail-open scoring: here a check that raises leaves the verdict inconclusive (more in test_verdict)."""
    from audits.evidence import Evidence

    def broken(self: Evidence, *arguments: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr(Evidence, "membership", broken)
    report = audit()
    assert finding(report, "PD301").status == "error"
    assert report.verdict == "inconclusive"
    assert "secret" not in report.model_dump_json()


def test_trap_04_phantoms_are_not_leaks(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    """Every tenth unit, on either side, quotes a sentence that the generator knows too: matches, no memorisation."""
    famous = sentences(400, seed=61)
    quotes, sides = iter(famous), {}
    for name, texts in (("source", corpora.train), ("holdout", corpora.holdout)):
        rows = [f"{text} {next(quotes)}" if i % 10 == 0 else text for i, text in enumerate(texts)]
        sides[name] = write_jsonl(tmp_path / f"{name}.jsonl", rows)
    report = audit(corpora.rows + famous, **sides)
    runs = finding(report, "PD201")
    assert runs.estimates["train_rate"].value > 0.03, "there are matches"
    assert failed(report) == set()


def test_trap_05_the_best_threshold_is_paid_for(rng: np.random.Generator) -> None:
    """Uncorrected, the best of many guesses shows epsilon > 0 on noise; with Bonferroni at most 5 % of the time."""
    grid, naive, corrected = (16, 64, 256), 0, 0
    for _ in range(300):
        coins = rng.random(1_200) < 0.7
        hits = [int(coins[:d].sum()) for d in grid]
        naive += any(epsilon_lower_bound(d, t, 1_200, 0.05, 0.7) > 0 for d, t in zip(grid, hits, strict=True))
        corrected += any(epsilon_lower_bound(d, t, 1_200, 0.05 / 3, 0.7) > 0 for d, t in zip(grid, hits, strict=True))
    assert corrected < naive
    assert clopper_pearson(corrected, 300)[0] <= 0.05


def test_trap_06_people_are_the_sampling_unit(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    """Three copied people are thirty copied records: significant by record, not by person."""
    texts = sentences(3_000, seed=71)
    people = {f"p{i}": texts[10 * i : 10 * i + 10] for i in range(300)}
    sides: dict[str, Path] = {}
    read: list[str] = []
    for side, held in (("source", False), ("holdout", True)):
        names = [name for name in people if side_of(name, 0.4) == held]
        read = names if not held else read
        owners = [name for name in names for _ in people[name]]
        sides[side] = write_jsonl(tmp_path / f"{side}.jsonl", [t for n in names for t in people[n]], who=owners)
    rows = corpora.rows + [text for name in read[:3] for text in people[name]]
    assert "PD201" in failed(audit(rows, **sides))
    assert "PD201" not in failed(audit(rows, unit_column="who", **sides))


def test_trap_07_an_unfair_holdout_cannot_give_a_pass(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    older = [text.replace("promised", "promisd").replace("little", "litle") for text in corpora.holdout]
    report = audit(holdout=write_jsonl(tmp_path / "older.jsonl", older))
    assert report.verdict == "inconclusive"
    assert finding(report, "PD201").status == "inconclusive"


def test_trap_08_a_tiny_holdout_cannot_give_a_pass(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    report = audit(holdout=write_jsonl(tmp_path / "tiny.jsonl", corpora.holdout[:25]))
    assert report.verdict == "inconclusive"
    for id in ("PD201", "PD202", "PD203", "PD301"):
        assert finding(report, id).status == "inconclusive"
    assert "unresolvable" in " ".join(finding(report, "PD301").notes)


def test_trap_09_ties_report_the_rate_that_was_reached() -> None:
    scores = np.concatenate([np.ones(300), np.zeros(1_700)])
    train = np.arange(2_000) % 2 == 0
    point = at_false_positive_rate(scores, train, 0.01)
    assert point.fpr.value == 0.0
    assert point.tpr.value == 0.0
    assert "asked 0.01" in point.fpr.method


def test_trap_10_canaries_begin_like_real_text(corpora: Corpora) -> None:
    """Canaries that look like nothing in the corpus seem safe whatever the generator does; ours share its openings."""
    from audits.canaries.issuing import Opening, compose, vocabulary

    made = compose(50, [Opening(text) for text in corpora.rows], vocabulary(sentences(2_000, seed=102)))
    openings = {tuple(text.split()[:5]) for text in corpora.rows}
    assert all(tuple(canary.text.split()[:5]) in openings for canary in made)
    words = {word.strip(",;!") for text in corpora.train for word in text.split()}
    known = [word.strip(",;!") in words for canary in made for word in canary.text.split()]
    assert np.mean(known) > 0.9, "words of the domain, in an order of nobody's"


DISGUISES = {
    "capitals": str.upper,
    "spaces": lambda text: text.replace(" ", "\u00a0 \t"),
    "decomposed": lambda text: unicodedata.normalize("NFKD", text),
    "full-width": lambda text: "".join(chr(ord(c) + 0xFEE0) if "a" <= c <= "z" else c for c in text),
    "zero-width": "\u200b".join,
    "embedded": lambda text: f"Well, somebody said: “{text}” – and left.",
}


@pytest.mark.parametrize("disguise", DISGUISES)
def test_trap_11_a_disguised_copy_is_a_copy(corpora: Corpora, disguise: str) -> None:
    """Capitals, Unicode, spacing, and a record inside a longer cell: whole-cell comparison would miss them all."""
    from audits.features.runs import shared_runs
    from audits.features.tokens import Vocabulary

    vocabulary = Vocabulary()
    originals = vocabulary.encode([text.replace("o", "é") for text in corpora.train[:30]])
    shown = vocabulary.encode([DISGUISES[disguise](text.replace("o", "é")) for text in corpora.train[:30]])
    found = shared_runs(originals, shown, np.full(len(originals.ids), 5.0))
    assert found.equal.all() or disguise == "embedded"
    assert (found.bits >= 40).all()


def test_trap_12_a_scrubbed_source_is_noticed(audit: Audit, corpora: Corpora, files: dict[str, Path]) -> None:
    """Auditing against a copy from which names were taken: its records no longer stand where the key puts them."""
    claim = write_claim(files["synthetic"].parent / "c.json", claim_for(files["synthetic"], len(corpora.rows)))
    key = files["synthetic"].parent / "k"
    key.write_text(KEY.hex())
    options = {"claim": claim, "split_key": key}
    assert finding(audit(**options), "PD103").status == "pass"
    scrubbed = [text.replace("the ", "[NAME] ") for text in corpora.train]
    report = audit(source=write_jsonl(files["source"].parent / "scrubbed.jsonl", scrubbed), **options)
    assert finding(report, "PD103").status == "fail"


def test_trap_12_what_was_scrubbed_away_is_counted(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    """A source that was scrubbed to empty texts shows in n used of n available."""
    scrubbed = ["" if i % 2 else text for i, text in enumerate(corpora.train)]
    side = audit(source=write_jsonl(tmp_path / "scrubbed.jsonl", scrubbed)).inputs.train
    assert (side.records_used, side.records_available) == ((len(scrubbed) + 1) // 2, len(scrubbed))
    assert (side.units_used, side.units_available) == ((len(scrubbed) + 1) // 2, len(scrubbed))


def test_trap_13_a_lower_bound_says_what_it_could_have_contradicted(rng: np.random.Generator) -> None:
    from audits.statistics.onerun import ceiling

    assert epsilon_lower_bound(100, 50, 100, 0.05) == 0.0
    assert ceiling(20, 20, 0.05) < 2, "twenty right guesses of twenty contradict no epsilon of 8"
    assert ceiling(10_000, 10_000, 0.05) > 8


def test_trap_14_an_obviously_synthetic_style_is_no_membership(audit: Audit, corpora: Corpora) -> None:
    """Rows that any classifier tells from real text: no member is exposed by that."""
    report = audit([f"As requested, sample {i}: {text}" for i, text in enumerate(corpora.rows)])
    auc = finding(report, "PD301").estimates["auc"]
    assert auc.low < 0.5 < auc.high or abs(auc.value - 0.5) < 0.03
    assert "PD301" not in failed(report)


def test_trap_15_public_text_is_no_private_wording(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    """With `--reference`, runs that everybody can know are no survivors and cost few bits."""
    proverb = "all that glitters is not gold as the old saying has it"
    train = [f"{text}, {proverb}" if i < 30 else text for i, text in enumerate(corpora.train)]
    source = write_jsonl(tmp_path / "t.jsonl", train)
    reference = write_jsonl(tmp_path / "r.jsonl", [f"{proverb} {word}" for word in sentences(200, seed=81)])
    rows = [*corpora.rows, proverb, f"{proverb} indeed"]
    assert "PD201" not in failed(audit(rows, source=source, reference=reference))


def test_trap_15_the_reference_must_not_be_what_is_examined(audit: Audit, files: dict[str, Path]) -> None:
    """Calling the source public would make every copy of it harmless."""
    from audits.errors import BadInputError

    for role in ("source", "holdout", "synthetic"):
        with pytest.raises(BadInputError, match="give independent public texts"):
            audit(reference=files[role])


def test_trap_16_the_report_does_not_leak(audit: Audit, corpora: Corpora) -> None:
    rows = copied(corpora, 60)
    report = audit(rows).model_dump_json()
    assert not [text for text in rows if text in report]
    other = audit(rows, seed=9).model_dump_json()
    pointers = {case["unit"] for case in __import__("json").loads(report)["findings"][5]["worst_cases"]}
    assert pointers
    assert not any(pointer in other for pointer in pointers), "pointers of two seeds cannot be joined"


def test_trap_17_nothing_is_truncated_in_silence(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    rows = [*corpora.rows, "", corpora.rows[0]]
    side = audit(rows).inputs.synthetic
    assert (side.records_available, side.records_used, side.units_used) == (502, 501, 500)


def test_trap_17_people_without_any_text_are_counted_too(audit: Audit, corpora: Corpora, tmp_path: Path) -> None:
    sides = {}
    for name, texts in (("source", corpora.train[:300]), ("holdout", corpora.holdout[:200])):
        owners = [f"{name}{i}" for i in range(len(texts))]
        sides[name] = write_jsonl(tmp_path / f"{name}.jsonl", ["", *texts[1:]], who=owners)
    report = audit(unit_column="who", require=("PD105",), **sides)
    assert report.inputs.holdout is not None
    for side, units in ((report.inputs.train, 300), (report.inputs.holdout, 200)):
        assert (side.units_used, side.units_available) == (units - 1, units)


def test_there_is_a_test_for_each_of_the_seventeen_traps() -> None:
    numbers = {int(name[10:12]) for name in globals() if name.startswith("test_trap_")}
    assert numbers == set(range(1, 18))


def test_dependence_between_records_keeps_the_level() -> None:
    """A synthetic hub matches whole clusters: the binomial over rows alarms far above 5 %, the unit test does not."""
    from audits.statistics.families import concentration

    rng = np.random.default_rng(17)
    cluster = np.repeat(np.arange(40), 10)
    ours = theirs = 0
    for _ in range(400):
        train = rng.random(400) < 0.5
        hub = np.isin(cluster, rng.choice(40, 3, replace=False))
        rows = np.repeat(train[hub], 5)
        theirs += stats.binom.sf(int(rows.sum()) - 1, len(rows), 0.5) <= 0.05
        ours += concentration(hub[:, None], train, rng).p_value <= 0.05
    assert theirs / 400 > 0.1
    assert clopper_pearson(ours, 400)[0] <= 0.05
