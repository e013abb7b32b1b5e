"""Tampering is evident: every single change of a stored value is found, and the first broken entry is named."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from privdistill.accounting.ledger import BrokenLedgerError, Ledger, verify_export
from privdistill.accounting.ledger.chain import _canonical, _digest
from privdistill.errors import ConfigError
from tests.privdistill.accounting.ledger.conftest import opened, record, reserve

COLUMNS = ("at", "kind", "source_id", "run_id", "name", "body", "previous", "digest")


@pytest.fixture
def book(tmp_path: Path) -> Ledger:
    """One entry of every kind."""
    ledger = Ledger(tmp_path / "ledger.sqlite3")
    source = opened(ledger, "clinic")
    opened(ledger, "ward")
    for run in ("run-1", "run-2"):
        reserve(ledger, source, run)
        ledger.draw(run, record())
    ledger.commit("run-1", "c" * 64)
    ledger.abandon("run-2")
    ledger.link("clinic", "ward", by="Dr Who", reason="one house")
    ledger.review("clinic", by="Dr Who", reason="read")
    return ledger


def change(ledger: Ledger, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(ledger.address)) as db, db:
        db.execute(statement, values)


def rewrite(ledger: Ledger, number: int, **columns: object) -> None:
    """What a forger with the algorithm does: change an entry and compute every later digest again."""
    with closing(sqlite3.connect(ledger.address)) as db, db:
        db.row_factory = sqlite3.Row
        previous = None
        for row in db.execute("SELECT * FROM entries WHERE number >= ? ORDER BY number", (number,)).fetchall():
            new = dict(row) | (columns if row["number"] == number else {})
            new["previous"] = previous or new["previous"]
            fields = [new[name] for name in ("number", "at", "kind", "source_id", "run_id", "name")]
            new["digest"] = previous = _digest(*fields, _canonical(json.loads(new["body"])), new["previous"])
            db.execute("DELETE FROM entries WHERE number = ?", (row["number"],))
            db.execute(f"INSERT INTO entries VALUES ({', '.join(':' + name for name in new)})", new)


def test_an_honest_ledger_verifies(book: Ledger) -> None:
    number, digest = book.verify()
    assert (number, digest) == (10, book.entries()[-1].digest)


def test_every_changed_value_is_found_at_its_entry(book: Ledger) -> None:
    honest = {entry.number: entry for entry in book.entries()}
    for number in honest:
        for column in COLUMNS:
            with closing(sqlite3.connect(book.address)) as db:
                (old,) = db.execute(f"SELECT {column} FROM entries WHERE number = ?", (number,)).fetchone()
            forged = old + "x" if column != "body" else json.dumps(json.loads(old) | {"forged": 1})
            change(book, f"UPDATE entries SET {column} = ? WHERE number = ?", forged, number)
            with pytest.raises(BrokenLedgerError) as broken:
                book.verify()
            assert broken.value.number == number, column
            change(book, f"UPDATE entries SET {column} = ? WHERE number = ?", old, number)
    assert book.verify()[0] == len(honest)


@pytest.mark.parametrize("number", [1, 4, 9])
def test_a_removed_entry_is_named(book: Ledger, number: int) -> None:
    change(book, "DELETE FROM entries WHERE number = ?", number)
    with pytest.raises(BrokenLedgerError, match=f"entry {number}: it is missing"):
        book.verify()


def test_a_cut_off_end_is_found_by_the_machine_that_wrote_it(book: Ledger) -> None:
    change(book, "DELETE FROM entries WHERE number > 6")
    with pytest.raises(BrokenLedgerError, match="cut off"):
        book.verify()


def test_a_chain_that_was_made_again_is_found_by_the_machine_that_wrote_it(book: Ledger) -> None:
    rewrite(book, 10, body=json.dumps(dict(book.entries()[9].body) | {"by": "somebody else"}))
    with pytest.raises(BrokenLedgerError, match="entry 10: this machine wrote it otherwise"):
        book.verify()


@pytest.mark.parametrize(
    ("number", "changes", "reason"),
    [
        (
            3,
            lambda body: body | {"charge": body["total"]["loss"] | {"mu_squared": "1"}},
            "not what its mechanisms cost",
        ),
        (3, lambda body: body | {"charge": None, "budget": None}, "total is not the sum"),
        (5, lambda body: body | {"total": body["total"] | {"attempts": 1}}, "total is not the sum"),
        (5, lambda body: body | {"mechanisms": []}, "not what its mechanisms cost"),
        (4, lambda body: body | {"noise_multiplier": 9.0}, "was not reserved"),
        (10, lambda body: body | {"attempts": {}}, None),
        (10, lambda body: body | {"attempts": dict.fromkeys(body["attempts"], 9)}, "another number of attempts"),
        (7, lambda body: body | {"claim_sha256": "rows of mine"}, "names no claim"),
        (7, lambda body: {"total": body["total"]}, None),
        (9, lambda body: body | {"with": "nobody"}, "cannot be linked"),
        (1, lambda body: body | {"cap": {"epsilon": -1, "delta": 1}}, "not that of such an entry"),
        (1, lambda body: body | {"cap": {"epsilon": 1.0, "delta": 1e-6}}, "passes the cap"),
        (3, lambda body: {}, "not that of such an entry"),
    ],
)
def test_a_forger_who_makes_the_chain_again_still_has_to_tell_a_true_story(
    book: Ledger, number: int, changes, reason: str | None
) -> None:
    body = changes(dict(book.entries()[number - 1].body))
    rewrite(book, number, body=json.dumps(body))
    (book.private / "head").unlink()  # another machine, which wrote nothing
    if reason is None:
        assert book.verify()[0] == 10
        return
    with pytest.raises(BrokenLedgerError, match=reason):
        book.verify()


def test_an_export_can_be_checked_without_the_database(book: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "export.jsonl"
    lines = list(book.export())
    file.write_text("\n".join(lines) + "\n")
    assert verify_export(file) == book.verify()
    key = (book.private / book.sources()[0][0] / "key").read_text().strip()
    assert key not in file.read_text()
    file.write_text("\n".join(line.replace("Dr Who", "Dr Now") for line in lines))
    with pytest.raises(BrokenLedgerError, match="entry 9"):
        verify_export(file)
    for text in ("", "{}", "[]", '{"schema_version": 9, "ledger_id": "x"}'):
        file.write_text(text)
        with pytest.raises(ConfigError, match="not an export"):
            verify_export(file)
    file.write_text(lines[0] + "\nnot json\n")
    with pytest.raises(BrokenLedgerError, match="entry 1: it is not an entry"):
        verify_export(file)


@pytest.mark.parametrize(("run", "reason"), [("run-1", "not open"), ("run-9", "not open"), ("run-2", None)])
def test_only_an_open_run_is_resumed(book: Ledger, run: str, reason: str | None) -> None:
    rewrite(book, 8, kind="resumed", run_id=run, name="1")
    (book.private / "head").unlink()
    if reason is None:
        assert book.verify()[0] == 10
        return
    with pytest.raises(BrokenLedgerError, match=f"entry 8: it resumes a run that is {reason}"):
        book.verify()


def test_only_what_was_drawn_is_kept(book: Ledger) -> None:
    rewrite(book, 8, kind="kept", run_id="run-2", name="never drawn")
    (book.private / "head").unlink()
    with pytest.raises(BrokenLedgerError, match="entry 8: it keeps what was not drawn"):
        book.verify()
