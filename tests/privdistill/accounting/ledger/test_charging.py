"""Many processes at once, and processes that die: the total is exact, and never below what was drawn.

The long version (200 kills, and one at every single statement, on both databases) is `make bench-ledger`; its result is
benchmarks/results/ledger.md.
"""

import json
import subprocess
import sys

import pytest

from privdistill.accounting.accountant import mu_for
from privdistill.accounting.ledger import Ledger
from tests.conftest import ROOT
from tests.privdistill.accounting.ledger.charging import NOISE_MULTIPLIER

PROCESSES, CHARGES = 50, 20


def charging(*arguments: object) -> dict[str, int]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.privdistill.accounting.ledger.charging", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_fifty_processes_of_twenty_charges_fill_a_cap_exactly_and_never_pass_it(address: str) -> None:
    """A thousand charges of mu squared 1/64 against a cap; which of them fit is a race, how many is arithmetic."""
    found = charging("crowd", address, PROCESSES, CHARGES)
    book = Ledger(address)
    (source,) = book.sources()
    fitting = int(mu_for(12.0, 0.5e-4) ** 2 * NOISE_MULTIPLIER**2)
    assert 300 < fitting < 700
    assert found["codes"] == [0]
    assert book.total(source[0]).attempts == fitting
    assert found["refused"] == PROCESSES * CHARGES - fitting
    last = [entry for entry in book.entries() if entry.kind == "reserved"][-1]
    assert int(last.body["total"]["loss"]["mu_squared"]) * 64 == fitting * 2**100, "the sum is exact"
    assert book.verify()[0] == 1 + fitting


def test_a_kill_between_two_statements_never_loses_a_draw(address: str) -> None:
    """Before and after statements, commits and file moves of one run; the benchmark takes every one of them."""
    found = charging("statements", address, 8)
    assert found["places"] > 7
    assert found["drawn"] <= found["marked"] < found["reserved"] <= found["places"]


def test_kills_at_random_moments_never_lose_a_draw(address: str) -> None:
    found = charging("kills", address, 6)
    assert found["kills"] == 6
    assert found["drawn"] <= found["marked"] <= found["reserved"]
    assert found["drawn"] > 0


def test_a_charger_that_draws_before_it_charges_would_be_seen(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: a draw that the ledger never heard of makes the check fail."""
    from tests.privdistill.accounting.ledger.charging import charge_once, check, note, open_source

    drawn = tmp_path / "drawn"
    book = Ledger(tmp_path / "ledger.sqlite3")
    charge_once(book, open_source(book), "run-1", drawn)
    assert check(book.address, drawn) == {"drawn": 1, "marked": 1, "reserved": 1}
    note(drawn, "run-2")
    with pytest.raises(AssertionError, match="does not know"):
        check(book.address, drawn)
