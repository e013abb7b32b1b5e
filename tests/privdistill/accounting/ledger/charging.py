"""Light processes that charge a ledger; used by tests and by the long benchmark. Loads no torch.

    python -m tests.privdistill.accounting.ledger.charging crowd ADDRESS PROCESSES CHARGES
    python -m tests.privdistill.accounting.ledger.charging kills ADDRESS TIMES
    python -m tests.privdistill.accounting.ledger.charging statements ADDRESS STRIDE

One process imports, then forks: every fork is a process of its own with connections of its own. `crowd` lets many
charge one source against its cap. `kills` runs an endless charger and ends it with SIGKILL at a random moment, again
and again. `statements` kills a charger just before and just after every statement and commit that one run sends.

What stands for noise is a line in a file, written and synchronised right after the ledger allowed the draw: the ledger
must never know of fewer draws than that file.
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import sqlalchemy as sa

from privdistill.accounting.ledger import Ledger, Source
from privdistill.errors import BudgetError
from privdistill.mechanisms.release import MechanismRecord, Reservation

NOISE_MULTIPLIER = 8.0
BUDGET: Any = SimpleNamespace(epsilon=0.5, delta=1e-7, delta_composition=9e-8)
PLAN = [Reservation("statistic", "gaussian", NOISE_MULTIPLIER)]
RECORD = MechanismRecord(
    "statistic", "gaussian", NOISE_MULTIPLIER, 1.0, 1, 1.0, {}, "full-batch", "discrete-gaussian", 1, 1.0, 0.0, 0.0
)
UNITS = frozenset({bytes(16)})


def open_source(ledger: Ledger, epsilon: float = 1000.0) -> Source:
    return ledger.open_source("crowd", unit="record", holdout=0.3, cap=(epsilon, 1e-4))


def charge_once(ledger: Ledger, source: Source, run_id: str, drawn: Path | None = None) -> None:
    """One run, as the pipeline does it."""
    with ledger.attempt(source, PLAN, BUDGET, lambda key: UNITS).charging(run_id) as charge:
        charge(replace(RECORD))
        if drawn is not None:
            note(drawn, run_id)


def note(file: Path, run_id: str) -> None:
    descriptor = os.open(file, os.O_CREAT | os.O_APPEND | os.O_WRONLY, 0o600)
    os.write(descriptor, f"{run_id}\n".encode())
    os.fsync(descriptor)
    os.close(descriptor)


def in_child(work: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def crowd(address: str, processes: int, charges: int) -> dict[str, object]:
    """Every process reserves directly, so that nothing but the ledger keeps them apart."""
    source = open_source(Ledger(address), 12.0)
    refusals = Path(f"{Ledger(address).private}/refused")

    def work(number: int) -> None:
        book = Ledger(address)
        for i in range(charges):
            try:
                book.reserve_once(source, f"run-{number}-{i}", PLAN, BUDGET)
            except BudgetError:
                note(refusals, f"run-{number}-{i}")

    began = time.monotonic()
    children = [in_child(lambda number=number: work(number)) for number in range(processes)]
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    return {
        "codes": sorted(set(codes)),
        "refused": len(refusals.read_text().splitlines()) if refusals.is_file() else 0,
        "seconds": round(time.monotonic() - began, 1),
    }


def check(address: str, drawn: Path) -> dict[str, int]:
    """What must hold after every crash."""
    book = Ledger(address, create=False)
    book.verify()
    runs = set(drawn.read_text().split()) if drawn.is_file() else set()
    reserved = {entry.run_id for entry in book.entries() if entry.kind == "reserved"}
    marked = {entry.run_id for entry in book.entries() if entry.kind == "drawn"}
    attempts = sum(book.total(source_id).attempts for source_id, _, _ in book.sources())
    assert len(book.sources()) <= 1
    mu_squared = sum(1 / NOISE_MULTIPLIER**2 for _ in reserved)
    stored = [entry for entry in book.entries() if entry.kind == "reserved"][-1:]
    counted = int(stored[0].body["total"]["loss"]["mu_squared"]) / 2**100 if stored else 0.0
    assert runs <= marked <= reserved, "something was drawn that the ledger does not know"
    assert attempts == len(reserved)
    assert counted >= mu_squared * (1 - 1e-12), "the total is below what was reserved"
    return {"drawn": len(runs), "marked": len(marked), "reserved": len(reserved)}


def let_run(child: int, seconds: float) -> None:
    """Wait until a process has had so much processor time (or, without /proc, so much time)."""
    clock = Path(f"/proc/{child}/stat")
    if not clock.is_file():
        time.sleep(seconds)
        return
    ticks = os.sysconf("SC_CLK_TCK")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        fields = clock.read_text().rpartition(")")[2].split()
        if (int(fields[11]) + int(fields[12])) / ticks >= seconds:
            break
        time.sleep(0.002)
    time.sleep(random.uniform(0.0, 0.02))  # the clock above is coarse


def kills(address: str, times: int) -> dict[str, object]:
    drawn = Path(f"{Ledger(address).private}.drawn")
    source = open_source(Ledger(address))
    found: dict[str, int] = {}
    after: dict[str, int] = {}
    for round_ in range(times):

        def work(round_: int = round_) -> None:
            book = Ledger(address)
            for i in range(10_000):
                charge_once(book, source, f"run-{round_}-{i}", drawn)

        child = in_child(work)
        let_run(child, random.uniform(0.0, 0.15))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        before = found
        found = check(address, drawn)
        assert all(found[name] >= before.get(name, 0) for name in found), "a total fell"
        with_open = "open" if found["reserved"] > before.get("reserved", 0) else "idle"
        after[with_open] = after.get(with_open, 0) + 1
    return {"kills": times, "rounds_that_charged": after.get("open", 0), **found}


def statements(address: str, stride: int) -> dict[str, object]:
    """Kill at the k-th event of a run; an event is a statement about to be sent, just done, or a commit.

    Every k with stride 1, else every stride-th from a random first one.
    """
    drawn = Path(f"{Ledger(address).private}.drawn")
    source = open_source(Ledger(address))
    k, codes = random.randrange(stride) + 1 - stride, []
    while not codes or codes[-1] != 0:
        k += stride

        def work(k: int = k) -> None:
            seen = 0

            def event(*_: object) -> None:
                nonlocal seen
                seen += 1
                if seen == k:
                    os.kill(os.getpid(), signal.SIGKILL)

            for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
                sa.event.listen(sa.Engine, name, event)
            replaced = os.replace

            def replace_(*paths: Any, **options: Any) -> None:
                event()
                replaced(*paths, **options)
                event()

            os.replace = replace_  # type: ignore[assignment]
            Path.replace = lambda self, target: replace_(self, target)  # type: ignore[method-assign,assignment]
            charge_once(Ledger(address), source, f"run-{k}", drawn)

        child = in_child(work)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        check(address, drawn)
    assert set(codes[:-1]) == {-signal.SIGKILL}, codes
    return {"places": len(codes) - 1, "stride": stride, **check(address, drawn)}


if __name__ == "__main__":
    what, where, *numbers = sys.argv[1:]
    assert "torch" not in sys.modules
    answer = {"crowd": crowd, "kills": kills, "statements": statements}[what](where, *map(int, numbers))
    sys.stdout.write(json.dumps(answer) + "\n")
