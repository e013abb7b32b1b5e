"""Who a corpus belongs to: a later export joins its source, an unlinked overlap is refused before anything is spent."""

import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from privdistill.accounting.ledger import Ledger, Source
from privdistill.corpus.fingerprints import fingerprints
from privdistill.corpus.reader import Records
from privdistill.corpus.units import split
from privdistill.errors import BudgetError, ConfigError, MechanismError
from privdistill.mechanisms.release import MechanismRecord
from tests.privdistill.accounting.ledger.conftest import BUDGET, PLAN, record

Corpus = Callable[[bytes], frozenset[bytes]]


def records(*texts: str) -> Corpus:
    return partial(
        fingerprints, split(Records(texts, None, None), key=b"k", unit="record", contribution_bound=1, holdout=0.3)
    )


def people(**texts: str) -> Corpus:
    found = Records(tuple(texts.values()), None, tuple(texts))
    return partial(fingerprints, split(found, key=b"k", unit="who", contribution_bound=1, holdout=0.3))


def run(ledger: Ledger, source: Source, corpus: Corpus, run_id: str) -> None:
    """What the pipeline does with one corpus."""
    with ledger.attempt(source, PLAN, BUDGET, corpus).charging(run_id) as charge:
        charge(record())


def draw_twice(charge: Callable[[MechanismRecord], None]) -> None:
    charge(record())
    charge(record())


JANUARY, FEBRUARY, ELSEWHERE = ("one text", "two texts"), ("two  texts", "three texts"), ("four texts", "five texts")


def test_the_next_export_joins_its_source_and_adds_its_units(ledger: Ledger, source: Source) -> None:
    run(ledger, source, records(*JANUARY), "run-1")
    run(ledger, source, records(*FEBRUARY), "run-2")
    assert ledger.total(source.id).attempts == 2
    other = ledger.open_source("other", unit="record", holdout=0.3)
    for text in (*JANUARY, *FEBRUARY):
        with pytest.raises(BudgetError, match="shares units with the source 'clinic'"):
            ledger.attempt(other, PLAN, BUDGET, records(text, "something new"))
    run(ledger, other, records(*ELSEWHERE), "run-3")
    assert ledger.verify()[0] == len(ledger.entries())


def test_a_refused_overlap_spends_and_records_nothing(ledger: Ledger, source: Source) -> None:
    run(ledger, source, records(*JANUARY), "run-1")
    other = ledger.open_source("other", unit="record", holdout=0.3)
    before = ledger.entries()
    with pytest.raises(BudgetError) as refused:
        ledger.attempt(other, PLAN, BUDGET, records(*FEBRUARY))
    assert refused.value.exit_code == 10
    assert ledger.entries() == before
    assert not any(character.isdigit() for character in str(refused.value)), "no count of an overlap is said"
    assert "text" not in str(refused.value)


def test_linked_sources_may_share_units(ledger: Ledger, source: Source) -> None:
    run(ledger, source, records(*JANUARY), "run-1")
    other = ledger.open_source("other", unit="record", holdout=0.3)
    with pytest.raises(BudgetError, match="ledger link"):
        ledger.attempt(other, PLAN, BUDGET, records(*FEBRUARY))
    ledger.link("clinic", "other", by="Dr Who", reason="the same people")
    run(ledger, other, records(*FEBRUARY), "run-2")
    assert ledger.total(other.id).attempts == ledger.total(source.id).attempts == 2


def test_people_are_recognised_by_id_and_fresh_pseudonyms_by_their_texts(ledger: Ledger) -> None:
    first = ledger.open_source("first", unit="who", holdout=0.3)
    run(ledger, first, people(ann="one text", bob="two texts"), "run-1")
    second = ledger.open_source("second", unit="who", holdout=0.3)
    for corpus in (people(ann="a new text", eve="another"), people(p7="one text", p8="another")):
        with pytest.raises(BudgetError, match="shares units"):
            ledger.attempt(second, PLAN, BUDGET, corpus)
    run(ledger, second, people(eve="a new text", sam="another"), "run-2")


def test_records_and_people_of_the_same_texts_meet(ledger: Ledger, source: Source) -> None:
    run(ledger, source, records(*JANUARY), "run-1")
    by_person = ledger.open_source("people", unit="who", holdout=0.3)
    with pytest.raises(BudgetError, match="shares units"):
        ledger.attempt(by_person, PLAN, BUDGET, people(ann="one text", bob="another"))


def test_two_overlapping_corpora_at_once_cannot_both_be_charged(ledger: Ledger, source: Source) -> None:
    """Both pass the check while neither is charged; the second to be charged is refused."""
    other = ledger.open_source("other", unit="record", holdout=0.3)
    first = ledger.attempt(source, PLAN, BUDGET, records(*JANUARY))
    second = ledger.attempt(other, PLAN, BUDGET, records(*FEBRUARY))
    with first.charging("run-1") as charge:
        charge(record())
    with pytest.raises(BudgetError, match="shares units"), second.charging("run-2") as charge:
        charge(record())
    assert ledger.total(other.id).attempts == 0


def test_two_runs_of_one_source_at_once_keep_both_sets(ledger: Ledger, source: Source) -> None:
    attempts = [ledger.attempt(source, PLAN, BUDGET, records(*texts)) for texts in (JANUARY, ELSEWHERE)]
    for number, attempt in enumerate(attempts):
        with attempt.charging(f"run-{number}") as charge:
            charge(record())
    other = ledger.open_source("other", unit="record", holdout=0.3)
    for text in (*JANUARY, *ELSEWHERE):
        with pytest.raises(BudgetError):
            ledger.attempt(other, PLAN, BUDGET, records(text, "new"))


def test_a_cap_that_is_spent_is_said_before_anything_is_read_twice(ledger: Ledger) -> None:
    source = ledger.open_source("small", unit="record", holdout=0.3, cap=(2.7, 1e-5))
    run(ledger, source, records(*JANUARY), "run-1")
    with pytest.raises(BudgetError, match="does not fit"):
        ledger.attempt(source, PLAN, BUDGET, records(*JANUARY))


def test_a_run_that_fails_before_its_first_draw_leaves_no_trace_and_a_later_one_is_abandoned(
    ledger: Ledger, source: Source
) -> None:
    attempt = ledger.attempt(source, PLAN, BUDGET, records(*JANUARY))
    with pytest.raises(ZeroDivisionError), attempt.charging("run-1"):
        raise ZeroDivisionError
    assert ledger.entries() == ()
    with pytest.raises(MechanismError), attempt.charging("run-2") as charge:
        draw_twice(charge)
    assert [entry.kind for entry in ledger.entries()] == ["opened", "joined", "reserved", "drawn", "abandoned"]
    assert ledger.total(source.id).epsilon > 1.9


@pytest.mark.parametrize("loss", ["key", "units", "foreign key"])
def test_without_keys_and_sets_an_overlap_cannot_be_told_and_nothing_is_charged(
    ledger: Ledger, source: Source, loss: str
) -> None:
    run(ledger, source, records(*JANUARY), "run-1")
    other = ledger.open_source("other", unit="record", holdout=0.3)
    folder = ledger.private / source.id
    if loss == "key":
        (folder / "key").unlink()
    elif loss == "units":
        (file,) = folder.glob("units-*")
        file.write_bytes(file.read_bytes()[:-16])
    else:
        (folder / "key").write_bytes((ledger.private / other.id / "key").read_bytes())
    with pytest.raises(ConfigError, match=r"an overlap|not the key"):
        ledger.attempt(other, PLAN, BUDGET, records(*ELSEWHERE))


def test_the_database_tells_nothing_of_the_units(ledger: Ledger, source: Source) -> None:
    """What is stored is as long, and as fresh, whether the corpus is the same, another, or many times as large."""
    told = []
    for number, corpus in enumerate((JANUARY, JANUARY, tuple(f"text {i}" for i in range(500)))):
        run(ledger, source, records(*corpus), f"run-{number}")
        told.append([entry for entry in ledger.entries() if entry.kind == "joined"][-1].body)
    assert {frozenset((name, len(value)) for name, value in body.items()) for body in told} == {
        frozenset({("units", 16), ("seal", 64)})
    }
    assert len({body["seal"] for body in told}) == 3
    stored = "".join(ledger.export())
    known = records(*JANUARY)(source.key)
    assert not [unit for unit in known if unit.hex() in stored]
    assert source.key.hex() not in stored


def test_the_private_set_is_kept_once_and_for_the_owner_only(ledger: Ledger, source: Source) -> None:
    for number in range(3):
        run(ledger, source, records(*JANUARY), f"run-{number}")
    (file,) = (ledger.private / source.id).glob("units-*")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    content = file.read_bytes()
    assert len(content) == 2 * 16
    assert b"one text" not in content


def test_fingerprints_are_functions_of_one_unit_under_a_key() -> None:
    """Nothing couples units: adding one adds its own values and changes no other."""
    one, two = records("one text", "two texts"), records("one text", "two texts", "three texts")
    assert one(b"key") < two(b"key")
    assert len(two(b"key") - one(b"key")) == 1
    assert not one(b"key") & one(b"other key")
    assert records("one  text", "two\ttexts")(b"key") == one(b"key")


def test_a_source_is_found_again_from_another_process(tmp_path: Path) -> None:
    book = Ledger(tmp_path / "ledger.sqlite3")
    source = book.open_source("clinic", unit="record", holdout=0.3)
    run(book, source, records(*JANUARY), "run-1")
    again = Ledger(tmp_path / "ledger.sqlite3")
    other = again.open_source("other", unit="record", holdout=0.3)
    with pytest.raises(BudgetError):
        again.attempt(other, PLAN, BUDGET, records(*JANUARY))
