"""The door answers the plan, each entry once, and nothing else."""

import numpy as np
import pytest

from privdistill.accounting.budget import calibrate
from privdistill.errors import MechanismError, PrivacyError
from privdistill.features.encoded import TextEncoder
from privdistill.mechanisms.door import Door
from privdistill.mechanisms.release import DisclosureRequest, MechanismRecord, PrivateUnits, StatisticRequest
from tests.privdistill.mechanisms.conftest import make_request, make_units

UNITS = make_units([(f"alpha w{i}", "abc"[i % 3], i) for i in range(300)])
BUDGET = calibrate(4.0, 1e-6, {"labels": 0.2, "statistic": 0.8}, threshold=True)


class Book:
    """Refuses what was drawn before, like the ledger."""

    def __init__(self) -> None:
        self.drawn: list[str] = []

    def __call__(self, record: MechanismRecord) -> None:
        if record.name in self.drawn:
            raise MechanismError("drawn before")
        self.drawn.append(record.name)


def test_each_planned_mechanism_is_answered_once_with_its_own_noise(encoder: TextEncoder) -> None:
    book = Book()
    door = Door(UNITS, encoder, BUDGET, book)
    assert set(door.labels().classes) <= {"a", "b", "c"}
    release = door.answer(make_request())
    assert release.record.noise_multiplier == BUDGET.noise_multipliers["statistic"]
    assert book.drawn == ["labels", "statistic"]
    with pytest.raises(MechanismError):
        door.answer(make_request())
    with pytest.raises(MechanismError):
        door.labels()


def test_what_is_outside_the_plan_is_refused(encoder: TextEncoder) -> None:
    door = Door(UNITS, encoder, BUDGET, Book())
    other = StatisticRequest("another", make_request().classes, make_request().blocks)
    with pytest.raises(PrivacyError, match="reserved plan"):
        door.answer(other)
    with pytest.raises(PrivacyError, match="refused"):
        door.answer(DisclosureRequest("disclosure", 3))


def test_without_a_budget_only_disclosures_come_out(encoder: TextEncoder) -> None:
    door = Door(UNITS, encoder, None, Book())
    release = door.answer(DisclosureRequest("disclosure", 20))
    assert len(release.rows) == 20
    assert release.record.kind == "none"
    assert release.record.noise_multiplier is None
    with pytest.raises(PrivacyError):
        Door(UNITS, encoder, None, Book()).answer(make_request())


def test_a_disclosure_of_more_rows_than_records_repeats_some(encoder: TextEncoder) -> None:
    few = make_units([("alpha", "a", 0), ("beta", "b", 1)])
    assert len(Door(few, encoder, None, Book()).answer(DisclosureRequest("d", 7)).rows) == 7


def test_private_units_never_print_themselves() -> None:
    assert repr(PrivateUnits(("secret",), None, np.zeros(1, np.int64), "record", 1)) == "PrivateUnits(<private>)"
