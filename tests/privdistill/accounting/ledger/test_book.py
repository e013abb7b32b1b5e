"""Charged before noise, drawn once, never refunded, composed over runs."""

import os
import sqlite3
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from privdistill.accounting.accountant import Event, total_epsilon
from privdistill.accounting.budget import calibrate
from privdistill.accounting.ledger import BrokenLedgerError, Ledger, Source, default_ledger
from privdistill.accounting.ledger.attempt import Charging
from privdistill.errors import BudgetError, ConfigError, IndeterminateError, MechanismError, RunError
from privdistill.mechanisms.release import Reservation
from tests.privdistill.accounting.ledger.conftest import BUDGET, PLAN, record, reserve


def test_a_source_keeps_its_key_across_runs_and_processes(ledger: Ledger, source: Source) -> None:
    assert Ledger(ledger.address).open_source("clinic", unit="record", holdout=0.3) == source
    assert ledger.open_source("bank", unit="record", holdout=0.3).key != source.key
    assert len(source.key) == 32


def test_a_reservation_counts_before_and_without_any_draw(ledger: Ledger, source: Source) -> None:
    assert ledger.total(source.id).epsilon == 0.0
    reserve(ledger, source, "run-1")
    total = ledger.total(source.id)
    assert total.epsilon == pytest.approx(BUDGET.epsilon, rel=1e-6)
    assert (total.attempts, total.delta) == (1, 1e-6)
    assert ledger.mechanisms("run-1") == ()


def test_a_mechanism_is_drawn_once(ledger: Ledger, source: Source) -> None:
    reserve(ledger, source, "run-1")
    ledger.draw("run-1", record())
    with pytest.raises(MechanismError, match="drawn before"):
        ledger.draw("run-1", record())
    assert [m["name"] for m in ledger.mechanisms("run-1")] == ["statistic"]


@pytest.mark.parametrize(
    "changed",
    [
        {"noise_multiplier": BUDGET.noise_multipliers["statistic"] / 2},
        {"name": "another"},
        {"sample_rate": 0.5},
        {"steps": 2},
    ],
)
def test_what_was_not_reserved_exactly_so_is_refused(
    ledger: Ledger, source: Source, changed: dict[str, object]
) -> None:
    reserve(ledger, source, "run-1")
    with pytest.raises(MechanismError):
        ledger.draw("run-1", replace(record(), **changed))  # type: ignore[arg-type]


def test_runs_on_one_source_compose(ledger: Ledger, source: Source) -> None:
    for run in ("run-1", "run-2", "run-3"):
        reserve(ledger, source, run)
    sigma = BUDGET.noise_multipliers["statistic"]
    total = ledger.total(source.id)
    assert total.epsilon == pytest.approx(total_epsilon([Event(sigma, steps=3)], 3 * BUDGET.delta_composition))
    assert total.attempts == 3
    assert total.epsilon > BUDGET.epsilon


def test_reserving_twice_in_one_run_charges_once(ledger: Ledger, source: Source) -> None:
    reserve(ledger, source, "run-1")
    reserve(ledger, source, "run-1")
    assert ledger.total(source.id).attempts == 1


def test_unprotected_runs_are_counted_apart(ledger: Ledger, source: Source) -> None:
    ledger.reserve_once(source, "run-1", [Reservation("disclosure", "none", None)], None)
    total = ledger.total(source.id)
    assert (total.unprotected, total.epsilon, total.attempts) == (1, 0.0, 1)


def test_parallel_charges_are_all_counted(ledger: Ledger, source: Source) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: reserve(Ledger(ledger.address), source, f"run-{i}"), range(24)))
    assert ledger.total(source.id).attempts == 24


def test_a_closed_run_draws_nothing_and_refunds_nothing(ledger: Ledger, source: Source) -> None:
    for run, close in (("run-1", partial(ledger.commit, claim_sha256="c" * 64)), ("run-2", ledger.abandon)):
        reserve(ledger, source, run)
        before = ledger.total(source.id)
        close(run)
        close(run)
        assert ledger.total(source.id) == before
        with pytest.raises(MechanismError, match="no open reservation"):
            ledger.draw(run, record())
    kinds = [entry.kind for entry in ledger.entries()]
    assert kinds == ["opened", "reserved", "committed", "reserved", "abandoned"]
    assert (ledger.claim_sha256("run-1"), ledger.claim_sha256("run-2")) == ("c" * 64, None)
    committed = ledger.entries()[2].body["total"]
    assert committed["epsilon"] == pytest.approx(BUDGET.epsilon, rel=1e-6)


def test_closing_a_run_that_never_reserved_is_no_entry(ledger: Ledger, source: Source) -> None:
    ledger.abandon("run-1")
    assert ledger.entries() == ()


def test_a_charge_over_the_cap_is_refused_and_leaves_no_entry(ledger: Ledger) -> None:
    source = ledger.open_source("small", unit="record", holdout=0.3, cap=(2.7, 1e-5))
    reserve(ledger, source, "run-1")
    before = ledger.entries()
    with pytest.raises(BudgetError, match=r"cap of epsilon 2\.7") as refused:
        reserve(ledger, source, "run-2")
    assert refused.value.exit_code == 10
    assert ledger.entries() == before
    # A smaller one may still fit: the filter counts what was charged, not what was asked.
    small = calibrate(0.2, 1e-6, {"statistic": 1.0}, threshold=False)
    ledger.reserve_once(
        source, "run-3", [Reservation("statistic", "gaussian", small.noise_multipliers["statistic"])], small
    )
    assert ledger.total(source.id).attempts == 2


def test_what_remains_can_be_charged_and_not_more(ledger: Ledger) -> None:
    source = ledger.open_source("small", unit="record", holdout=0.3, cap=(6.0, 1e-5))
    reserve(ledger, source, "run-1")
    room = ledger.remaining(source.id, delta=1e-6)
    mu = room.mu
    assert room.cap.epsilon == 6.0
    assert 0 < room.spent < 6.0
    assert 0 < room.left < 6.0 < room.spent + room.left
    with pytest.raises(BudgetError):
        ledger.reserve_once(source, "run-2", [Reservation("statistic", "gaussian", 1 / (mu * (1 + 1e-9)))], BUDGET)
    ledger.reserve_once(source, "run-2", [Reservation("statistic", "gaussian", 1 / (mu * (1 - 1e-9)))], BUDGET)
    assert ledger.remaining(source.id, delta=1e-6).mu < 1e-3
    assert ledger.remaining(source.id, delta=1e-6).spent == pytest.approx(6.0)


def test_noise_without_a_budget_is_refused(ledger: Ledger, source: Source) -> None:
    with pytest.raises(MechanismError, match="without a budget"):
        ledger.reserve_once(source, "run-1", PLAN, None)
    assert ledger.total(source.id).attempts == 0


def test_linked_sources_add_up_under_the_stricter_cap(ledger: Ledger, source: Source) -> None:
    other = ledger.open_source("ward", unit="record", holdout=0.2, cap=(2.7, 1e-5))
    reserve(ledger, source, "run-1")
    reserve(ledger, other, "run-2")
    ledger.link("clinic", "ward", by="Dr Who", reason="the ward is a part of the clinic")
    assert ledger.total(source.id) == ledger.total(other.id)
    assert ledger.total(source.id).attempts == 2
    assert ledger.total(source.id).epsilon > 1.3 * BUDGET.epsilon
    for charged in (source, other):
        with pytest.raises(BudgetError, match=r"2\.7"):
            reserve(ledger, charged, "run-3")
    with pytest.raises(BudgetError, match="already"):
        ledger.link("ward", "clinic", by="Dr Who", reason="again")
    assert ledger.verify()[0] == len(ledger.entries())


def test_records_and_people_are_not_mixed(ledger: Ledger, source: Source) -> None:
    reserve(ledger, source, "run-1")
    ledger.open_source("people", unit="patient", holdout=0.3)
    with pytest.raises(BudgetError, match="does not add up"):
        ledger.link("clinic", "people", by="Dr Who", reason="the same house")
    with pytest.raises(ConfigError, match="no source 'nowhere'"):
        ledger.link("clinic", "nowhere", by="Dr Who", reason="a slip")


def test_a_review_covers_the_attempts_so_far_and_no_later_one(ledger: Ledger, source: Source) -> None:
    reserve(ledger, source, "run-1")
    reserve(ledger, source, "run-2")
    assert ledger.total(source.id).reviewed == 0
    assert ledger.review("clinic", by="Dr Who", reason="read both reports") == 2
    reserve(ledger, source, "run-3")
    total = ledger.total(source.id)
    assert (total.attempts, total.reviewed) == (3, 2)
    with pytest.raises(ConfigError, match="--reason"):
        ledger.review("clinic", by="Dr Who", reason=" ")
    entry = next(entry for entry in ledger.entries() if entry.kind == "reviewed")
    assert (entry.body["by"], entry.body["reason"]) == ("Dr Who", "read both reports")


def test_a_run_id_belongs_to_one_plan(ledger: Ledger, source: Source) -> None:
    reserve(ledger, source, "run-1")
    with pytest.raises(MechanismError):
        ledger.draw("run-2", record())


def test_only_the_owner_may_read_what_is_on_this_machine(ledger: Ledger, source: Source) -> None:
    if not ledger.address.startswith("postgresql:"):
        assert stat.S_IMODE(os.stat(ledger.address).st_mode) == 0o600
    folder = ledger.private
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.rglob("*") if file.is_file()} == {0o600}


def test_a_ledger_that_lost_entries_takes_no_charge(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite3"
    book = Ledger(file)
    source = book.open_source("clinic", unit="record", holdout=0.3)
    old = sqlite3.connect(file)
    with sqlite3.connect(tmp_path / "copy") as copy:
        old.backup(copy)
    copy.close()
    old.close()
    reserve(book, source, "run-1")
    (tmp_path / "copy").replace(file)
    Path(f"{file}-wal").unlink(missing_ok=True)
    with pytest.raises(IndeterminateError, match="lost entries"):
        reserve(book, source, "run-2")
    with pytest.raises(BrokenLedgerError, match="cut off"):
        book.verify()


def test_a_ledger_is_not_made_where_one_is_only_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no ledger at"):
        Ledger(tmp_path / "absent.sqlite3", create=False)
    assert not list(tmp_path.glob("absent*"))


def test_a_database_that_is_down_or_empty_is_said_in_a_sentence(postgresql: str) -> None:
    with pytest.raises(ConfigError, match="no ledger at"):
        Ledger(postgresql, create=False)
    with pytest.raises(RunError, match="cannot be reached"):
        Ledger("postgresql://ledger@127.0.0.1:9/none")


def test_another_schema_is_refused(tmp_path: Path) -> None:
    Ledger(tmp_path / "ledger.sqlite3")
    with sqlite3.connect(tmp_path / "ledger.sqlite3") as db:
        db.execute("UPDATE ledger SET schema_version = 2")
    db.close()
    with pytest.raises(ConfigError, match="schema version 2"):
        Ledger(tmp_path / "ledger.sqlite3")
    with sqlite3.connect(tmp_path / "old.sqlite3") as db:
        db.execute("CREATE TABLE charges (run_id TEXT)")
    db.close()
    with pytest.raises(ConfigError, match="do not begin a second ledger"):
        Ledger(tmp_path / "old.sqlite3")


def test_what_is_not_a_ledger_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a database, but long enough to be looked at as one" * 20)
    with pytest.raises(ConfigError, match="not a ledger"):
        Ledger(tmp_path / "notes.txt")
    with pytest.raises(ConfigError, match="not kept in 'mysql'"):
        Ledger("mysql://somewhere/ledger")
    with pytest.raises(ConfigError, match="password"):
        Ledger("postgresql://me:secret@localhost/ledger")
    with pytest.raises(RunError, match="cannot be written"):
        Ledger(tmp_path / "notes.txt" / "ledger.sqlite3")


def test_the_default_ledger_lies_in_the_state_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PRIVDISTILL_STATE_DIR", str(tmp_path))
    assert default_ledger() == tmp_path / "ledger.sqlite3"


def test_in_postgresql_the_right_to_select_and_insert_is_enough(postgresql: str) -> None:
    import psycopg

    Ledger(postgresql)
    server = postgresql.removeprefix("postgresql://ledger@")
    with psycopg.connect(postgresql, autocommit=True) as owner:
        owner.execute("DROP ROLE IF EXISTS clerk")
        owner.execute("CREATE ROLE clerk LOGIN")
        owner.execute("GRANT SELECT, INSERT ON ledger, entries TO clerk")
        clerk = Ledger(f"postgresql://clerk@{server}")
        source = clerk.open_source("clinic", unit="record", holdout=0.3)
        reserve(clerk, source, "run-1")
        clerk.draw("run-1", record())
        clerk.commit("run-1", None)
        assert clerk.verify()[0] == 4
        with (
            psycopg.connect(f"postgresql://clerk@{server}") as forger,
            pytest.raises(psycopg.Error, match="permission"),
        ):
            forger.execute("UPDATE entries SET body = '{}'")
        owner.execute("DROP OWNED BY clerk")
        owner.execute("DROP ROLE clerk")


def test_what_was_kept_is_never_drawn_again(ledger: Ledger, source: Source) -> None:
    def attempt(*says: Callable[[Charging], None], resumed: bool = True) -> None:
        with ledger.attempt(source, PLAN, BUDGET, lambda key: frozenset(), resumed=resumed).charging("run-1") as charge:
            for one in says:
                one(charge)

    def stop(charge: Charging) -> None:
        raise KeyboardInterrupt

    def too_early(charge: Charging) -> None:
        with pytest.raises(MechanismError, match="was not drawn"):
            charge.kept(record())

    def otherwise(charge: Charging) -> None:
        with pytest.raises(MechanismError, match="other parameters"):
            charge.kept(replace(record(), sensitivity=2.0))

    def draw(charge: Charging) -> None:
        charge(record())

    def keep(charge: Charging) -> None:
        charge.kept(record())

    with pytest.raises(KeyboardInterrupt):
        attempt(too_early, draw, keep, stop, resumed=False)
    with pytest.raises(RunError, match="a second draw is not covered"):
        attempt(draw)
    with pytest.raises(KeyboardInterrupt):
        attempt(otherwise, stop)
    attempt(keep)
    assert [entry.kind for entry in ledger.entries(source.id)].count("kept") == 1
    with pytest.raises(MechanismError, match="the run is closed"):
        ledger.keep("run-1", record().name)
    ledger.verify()


def test_a_resumed_run_is_charged_once_and_draws_each_mechanism_once_more_at_most(
    ledger: Ledger, source: Source
) -> None:
    def attempt(run: str = "run-1", *, resumed: bool = True, end: type[BaseException] | None = None, **other: object):
        """Charge once more than is allowed, and end as told."""
        begun = ledger.attempt(source, PLAN, BUDGET, lambda key: frozenset(), resumed=resumed)
        with begun.charging(run) as charge:
            charge(replace(record(), **other))
            with pytest.raises(MechanismError, match="drawn before"):
                charge(record())
            if end is not None:
                raise end

    with pytest.raises(KeyboardInterrupt):
        attempt(resumed=False, end=KeyboardInterrupt)
    before = ledger.total(source.id)
    for error in (KeyboardInterrupt, OSError, RunError):
        with pytest.raises(error):
            attempt(end=error)
    attempt()
    assert ledger.total(source.id) == before
    assert len(ledger.mechanisms("run-1")) == 1
    with pytest.raises(RunError, match="closed in the ledger"):
        attempt()
    with pytest.raises(RunError, match="before it was charged"):
        attempt("run-2")
    with pytest.raises(KeyboardInterrupt):
        attempt("run-3", resumed=False, end=KeyboardInterrupt)
    with pytest.raises(MechanismError, match="other parameters before this run was resumed"):
        attempt("run-3", sensitivity=2.0)
    with pytest.raises(RunError, match="closed in the ledger"):
        attempt("run-3")
    ledger.verify()
