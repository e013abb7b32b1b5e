"""`privdistill ledger`: what it prints, and its exit codes."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from privdistill.accounting.ledger import Ledger, default_ledger
from privdistill.mechanisms.release import Reservation
from tests.privdistill.accounting.ledger.conftest import BUDGET, opened, record, reserve


@pytest.fixture
def book(in_folder: Path) -> Ledger:
    """Two sources in the user's own ledger; the first has one finished run."""
    ledger = Ledger(default_ledger())
    source = ledger.open_source("clinic", unit="record", holdout=0.3)
    reserve(ledger, source, "run-1")
    ledger.draw("run-1", record())
    ledger.commit("run-1", "c" * 64)
    opened(ledger, "ward", (6.0, 1e-5))
    return ledger


def test_show_says_what_every_source_has_lost(cli: Callable, book: Ledger) -> None:
    ended = cli("ledger", "show")
    assert ended.code == 0
    assert f"5 entries, unbroken; head {book.verify()[1]}" in ended.out
    assert "epsilon 2 at delta 1e-06 over 1 run(s), 0 reviewed" in ended.out
    document = json.loads(cli("ledger", "show", "--json").out)
    assert [source["name"] for source in document["sources"]] == ["clinic", "ward"]
    assert document["sources"][0]["epsilon"] == pytest.approx(BUDGET.epsilon)
    assert (document["sources"][1]["attempts"], document["sources"][1]["linked_with"]) == (0, [])
    one = json.loads(cli("ledger", "show", "ward", "--json").out)
    assert [source["name"] for source in one["sources"]] == ["ward"]


def test_history_lists_every_entry(cli: Callable, book: Ledger) -> None:
    out = cli("ledger", "history", "clinic").out
    assert [line.split()[2] for line in out.splitlines()] == ["opened", "reserved", "drawn", "committed"]
    document = json.loads(cli("ledger", "history", "--json").out)
    assert [entry["number"] for entry in document["entries"]] == [1, 2, 3, 4, 5]


def test_remaining_is_what_one_more_run_may_ask_for(cli: Callable, book: Ledger) -> None:
    document = json.loads(cli("ledger", "remaining", "--json").out)
    clinic, ward = document["sources"]
    assert clinic["cap"] == {"epsilon": 48.0, "delta": 1e-4}
    assert (
        5.9 < ward["remaining_epsilon"] < 7.5
    )  # delta 1e-6 is a tenth of the cap's, so the same mu is a larger epsilon
    assert 1 < clinic["spent_at_cap_delta"] < 2 < 47 < clinic["left_at_cap_delta"] < 48
    assert ward["left_at_cap_delta"] == pytest.approx(6.0)
    said = cli("ledger", "remaining", "ward").out
    assert "epsilon 0 is spent of a cap of 6, and 6 left for one more run, at the cap's delta 1e-05" in said
    assert "at delta 1e-06 that run may ask for up to epsilon 6.44" in said
    assert cli("ledger", "remaining", "--delta", "2").code == 2


def test_remaining_promises_no_more_than_generate_accepts(cli: Callable, book: Ledger) -> None:
    from privdistill.config import Privacy, RunConfig, Source, Synthesis
    from privdistill.planning import make_plan
    from privdistill.recipes.registry import recipe_names

    clinic = json.loads(cli("ledger", "remaining", "clinic", "--json").out)["sources"][0]
    assert 30 < clinic["remaining_epsilon"] < 48
    source = Source(path="x.csv", label_column="label")  # the label list is one mechanism more
    for name in set(recipe_names()) - {"passthrough"}:
        privacy = Privacy(epsilon=clinic["remaining_epsilon"], delta=clinic["at_delta"])
        plan = make_plan(RunConfig(source=source, privacy=privacy, synthesis=Synthesis(recipe=name)))
        assert len(plan.mechanisms) <= 5, name


def test_a_source_whose_records_were_copied_never_reads_as_the_best_one(cli: Callable, book: Ledger) -> None:
    bare = "no protection (epsilon unlimited): 1 run(s) copied records as they are"
    source = book.open_source("copied", unit="record", holdout=0.3)
    book.reserve_once(source, "run-2", [Reservation("disclosure", "none", None)], None)
    shown = cli("ledger", "show", "copied").out
    assert f"unit record): {bare} over 1 run(s)" in shown
    assert "epsilon 0" not in shown
    assert f"{bare}; otherwise epsilon 0 is spent" in cli("ledger", "remaining", "copied").out
    document = json.loads(cli("ledger", "show", "copied", "--json").out)["sources"][0]
    assert (document["epsilon"], document["unprotected_attempts"]) == (None, 1)
    reserve(book, source, "run-3")
    assert f"{bare}, epsilon 2 at delta 1e-06 by the others over 2" in cli("ledger", "show", "copied").out


def test_link_and_review_are_entries_with_a_name_and_a_reason(cli: Callable, book: Ledger) -> None:
    ended = cli("ledger", "link", "clinic", "ward", "--by", "Dr Who", "--reason", "one house")
    assert (ended.code, ended.out) == (0, "clinic and ward are one account: epsilon 2 at delta 1e-06\n")
    assert json.loads(cli("ledger", "show", "--json").out)["sources"][1]["linked_with"] == ["clinic"]
    ended = cli("ledger", "review", "clinic", "--by", "Dr Who", "--reason", "read the report")
    assert (ended.code, ended.out) == (0, "1 attempt(s) on clinic reviewed by Dr Who\n")
    assert "by Dr Who: read the report" in cli("ledger", "history").out
    assert json.loads(cli("ledger", "show", "--json").out)["sources"][0]["reviewed_attempts"] == 1
    assert cli("ledger", "review", "clinic", "--by", "Dr Who").code == 2
    assert cli("ledger", "link", "clinic", "ward", "--by", "x", "--reason", "again").code == 10


def test_there_is_nothing_to_review_before_a_run(cli: Callable, book: Ledger) -> None:
    ended = cli("ledger", "review", "ward", "--by", "Dr Who", "--reason", "read the report")
    assert (ended.code, ended.out) == (2, "")
    assert "nothing to review" in ended.err
    assert "reviewed" not in [entry.kind for entry in book.entries()]


def test_verify_names_the_first_broken_entry_and_says_no(cli: Callable, book: Ledger) -> None:
    assert cli("ledger", "verify").out == f"5 entries, unbroken; head {book.verify()[1]}\n"
    with closing(sqlite3.connect(book.address)) as db, db:
        db.execute("UPDATE entries SET body = replace(body, 'gaussian', 'none') WHERE number = 3")
    ended = cli("ledger", "verify")
    assert (ended.code, ended.out) == (10, "")
    assert "the ledger is broken at entry 3" in ended.err
    ended = cli("ledger", "verify", "--json")
    assert ended.code == 10
    assert json.loads(ended.out) | {"ledger": "", "reason": ""} == {
        "ledger": "",
        "ok": False,
        "broken_entry": 3,
        "reason": "",
    }
    assert cli("ledger", "show").code == 10


def test_an_export_is_verified_elsewhere(cli: Callable, book: Ledger, in_folder: Path) -> None:
    assert cli("ledger", "export", "--out", "kept.jsonl").code == 0
    assert cli("ledger", "verify", "kept.jsonl").out == cli("ledger", "verify").out
    assert cli("ledger", "export").out == Path("kept.jsonl").read_text()
    assert cli("ledger", "export", "--out", "kept.jsonl").code == 2


@pytest.mark.parametrize("command", ["show", "history", "remaining", "export", "verify"])
def test_without_a_ledger_every_command_says_so_and_makes_none(cli: Callable, in_folder: Path, command: str) -> None:
    ended = cli("ledger", command)
    assert (ended.code, ended.out) == (2, "")
    assert "no ledger at" in ended.err
    assert not default_ledger().exists()


@pytest.mark.parametrize("command", [["show"], ["history"], ["remaining"], ["review", "--by", "x", "--reason", "y"]])
def test_an_unknown_source_is_said(cli: Callable, book: Ledger, command: list[str]) -> None:
    ended = cli("ledger", command[0], "nowhere", *command[1:])
    assert ended.code == 2
    assert "no source 'nowhere'" in ended.err


def test_a_postgresql_ledger_is_named_by_its_url(cli: Callable, postgresql: str, in_folder: Path) -> None:
    reserve(Ledger(postgresql), Ledger(postgresql).open_source("clinic", unit="record", holdout=0.3), "run-1")
    ended = cli("ledger", "show", "--ledger", postgresql)
    assert ended.code == 0
    assert "clinic" in ended.out
