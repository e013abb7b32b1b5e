"""Nothing of a source is final before its first charge, and everything from then on."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from privdistill.accounting.ledger import Ledger, Source
from privdistill.errors import BudgetError, ConfigError, RunError
from tests.privdistill.accounting.ledger.conftest import BUDGET, PLAN, record, reserve


def test_another_unit_or_holdout_for_the_same_source_is_refused(ledger: Ledger, source: Source) -> None:
    reserve(ledger, source, "run-1")
    with pytest.raises(ConfigError, match="unit 'record'"):
        ledger.open_source("clinic", unit="patient", holdout=0.3)
    with pytest.raises(ConfigError):
        ledger.open_source("clinic", unit="record", holdout=0.5)


def test_a_cap_is_final_once_a_run_was_charged_under_it(ledger: Ledger) -> None:
    reserve(ledger, ledger.open_source("small", unit="record", holdout=0.3, cap=(3.0, 1e-5)), "run-1")
    assert ledger.open_source("small", unit="record", holdout=0.3).cap.epsilon == 3.0
    with pytest.raises(ConfigError, match="final") as refused:
        ledger.open_source("small", unit="record", holdout=0.3, cap=(30.0, None))
    assert refused.value.exit_code == 2


def test_a_refused_attempt_makes_nothing_final(ledger: Ledger, address: str) -> None:
    slip = ledger.open_source("small", unit="record", holdout=0.5, cap=(0.2, None))
    with pytest.raises(BudgetError, match=r"charge of epsilon 2 at delta 1e-06 does not fit.*epsilon 0 is spent"):
        ledger.attempt(slip, PLAN, BUDGET, lambda key: frozenset())
    assert (ledger.sources(), ledger.entries()) == ((), ())
    meant = Ledger(address).open_source("small", unit="patient", holdout=0.3, cap=(20.0, None))
    assert (meant.id, meant.key) == (slip.id, slip.key)
    reserve(ledger, meant, "run-1")
    assert [entry.kind for entry in ledger.entries()] == ["opened", "reserved"]
    with pytest.raises(ConfigError, match="unit 'patient'"):  # it was prepared before the other one was charged
        reserve(ledger, slip, "run-2")
    assert ledger.verify()[0] == 2


def test_first_runs_at_once_share_a_source_and_its_key(ledger: Ledger, address: str) -> None:
    def first(number: int) -> bytes:
        source = Ledger(address).open_source("clinic", unit="record", holdout=0.3)
        reserve(Ledger(address), source, f"run-{number}")
        return source.key

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(first, range(16)))) == 1
    assert [entry.kind for entry in ledger.entries()].count("opened") == 1
    assert ledger.total(ledger.sources()[0][0]).attempts == 16


def test_a_source_that_another_machine_opened_meanwhile_is_not_charged_under_a_second_key(ledger: Ledger) -> None:
    here = ledger.open_source("clinic", unit="record", holdout=0.3)
    elsewhere = replace(here, id="f" * 16, key=bytes(32))
    _place_key(ledger, elsewhere)
    with ledger.attempt(elsewhere, PLAN, BUDGET, _units).charging("run-1") as charge:
        charge(record())
    with pytest.raises(RunError, match="opened by another machine"):
        reserve(ledger, here, "run-2")
    with pytest.raises(RunError, match="opened by another machine"):  # not "shares units with itself"
        ledger.attempt(here, PLAN, BUDGET, _units)
    assert ledger.total(here.id).attempts == 0


def test_a_cap_that_nobody_gave_is_not_said_to_be_one_too_many(ledger: Ledger) -> None:
    """Two first runs at once, one with a cap: the other never named the default that it is refused for."""
    plain = ledger.open_source("clinic", unit="record", holdout=0.3)
    reserve(ledger, ledger.open_source("clinic", unit="record", holdout=0.3, cap=(8.0, None)), "run-1")
    with pytest.raises(ConfigError, match=r"by another run while this one was prepared.*epsilon 8.*start again") as no:
        reserve(ledger, plain, "run-2")
    assert "leave it out" not in str(no.value)
    reserve(ledger, ledger.open_source("clinic", unit="record", holdout=0.3), "run-2")


@pytest.mark.parametrize("meanwhile", ["replaced", "opened under the new key"])
def test_a_key_that_was_replaced_since_the_sides_were_drawn_opens_and_joins_nothing(
    ledger: Ledger, source: Source, meanwhile: str
) -> None:
    attempt = ledger.attempt(source, PLAN, BUDGET, _units)
    replaced = replace(source, key=bytes(32))
    _place_key(ledger, replaced)
    if meanwhile != "replaced":
        reserve(ledger, replaced, "run-0")
    before = ledger.entries()
    with pytest.raises(ConfigError, match="not the key of this source"), attempt.charging("run-1") as charge:
        charge(record())
    assert ledger.entries() == before
    if meanwhile == "replaced":
        _place_key(ledger, source)
        reserve(ledger, ledger.open_source("clinic", unit="record", holdout=0.3), "run-2")


def _units(key: bytes) -> frozenset[bytes]:
    return frozenset({hashlib.sha256(key + b"one").digest()[:16]})


def _place_key(ledger: Ledger, source: Source) -> None:
    folder = ledger.private / source.id
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "key").write_text(source.key.hex() + "\n")


def test_a_link_opens_a_declared_source_as_it_was_declared_last(ledger: Ledger, source: Source) -> None:
    reserve(ledger, source, "run-1")
    ledger.open_source("ward", unit="record", holdout=0.2, cap=(9.0, None))
    ward = ledger.open_source("ward", unit="record", holdout=0.4, cap=(2.7, 1e-5))
    ledger.link("clinic", "ward", by="Dr Who", reason="the ward is a part of the clinic")
    assert [entry.kind for entry in ledger.entries(ward.id)] == ["opened"]
    assert ledger.remaining(source.id, delta=1e-6).cap == ward.cap
    assert ledger.open_source("ward", unit="record", holdout=0.4) == ward
    assert ledger.verify()[0] == len(ledger.entries())


@pytest.mark.parametrize("content", [None, b"", b"00" * 31, b"00" * 33, b"\xff" * 64])
def test_a_begun_source_whose_key_is_damaged_is_neither_opened_with_it_nor_given_another(
    ledger: Ledger, source: Source, content: bytes | None
) -> None:
    file = ledger.private / source.id / "key"
    whole = file.read_bytes()
    if content is None:
        file.unlink()
    else:
        file.write_bytes(content)
    other = ledger.open_source("other", unit="record", holdout=0.3)
    reserve(ledger, other, "run-1")
    for ask in (
        lambda: ledger.open_source("clinic", unit="record", holdout=0.3),
        lambda: ledger.link("clinic", "other", by="Dr Who", reason="one house"),
    ):
        with pytest.raises(ConfigError, match="32 bytes") as refused:
            ask()
        assert "\n" not in str(refused.value)
    assert [name for _, name, _ in ledger.sources()] == ["other"]
    file.write_bytes(whole)
    assert ledger.open_source("clinic", unit="record", holdout=0.3) == source
    (ledger.private / other.id / "key").unlink()  # of one that is open, a link needs no key
    ledger.link("clinic", "other", by="Dr Who", reason="one house")


def test_a_begun_source_that_lost_its_id_is_not_given_another(ledger: Ledger, source: Source) -> None:
    (begun,) = ledger.private.glob("begun-*")
    begun.write_bytes(b"")
    with pytest.raises(ConfigError, match="does not name the source"):
        ledger.open_source("clinic", unit="record", holdout=0.3)
    begun.unlink()
    assert ledger.open_source("clinic", unit="record", holdout=0.3).id != source.id
