"""The expert run behind the door: planned, charged, clipped by unit, every iterate out, learning what is there."""

import numpy as np
import pytest
import torch

from privdistill.accounting.budget import Sampling, calibrate
from privdistill.errors import MechanismError, PrivacyError
from privdistill.features.encoded import Encoded, TextEncoder
from privdistill.mechanisms import expert
from privdistill.mechanisms.door import Door
from privdistill.mechanisms.dpsgd import clip_and_sum
from privdistill.mechanisms.expert import ROWS, head_loss, make_head, release_expert
from privdistill.mechanisms.release import ClassRule, ExpertRequest, MechanismRecord, StatisticRequest
from tests.privdistill.mechanisms.conftest import WIDTH, make_request, make_units
from tests.privdistill.mechanisms.test_door import Book

SAMPLING = Sampling(0.2, 40)
BUDGET = calibrate(8.0, 1e-6, {"statistic": 0.3, "expert": 0.7}, sampling={"expert": SAMPLING}, threshold=False)
UNITS = make_units([(f"alpha w{i % 7}", "ab"[i % 7 > 2], i) for i in range(2000)])


def request(*, classes: tuple[str, ...] = ("a", "b"), units: float = 2000, bound: float = 1.0) -> ExpertRequest:
    rng = np.random.default_rng(3)
    centre, basis = np.zeros(WIDTH), np.linalg.qr(rng.normal(size=(WIDTH, 5)))[0]
    return ExpertRequest(
        "expert", ClassRule(classes), centre, basis, 1.0, np.zeros((len(classes), 6)), bound, units, 2.0
    )


def test_every_iterate_comes_out_and_the_last_one_has_learnt(encoder: TextEncoder) -> None:
    book = Book()
    release = Door(UNITS, encoder, BUDGET, book).answer(request())
    iterates = release.block("iterates")
    assert iterates.shape == (41, 2, 6)
    assert (iterates[0] == 0).all()
    assert book.drawn == ["expert"]
    assert (release.record.kind, release.record.sampler, release.record.noise) == (
        "sampled-gaussian",
        "poisson",
        "float-gaussian",
    )
    assert (release.record.sample_rate, release.record.steps) == SAMPLING
    assert release.record.noise_multiplier == BUDGET.noise_multipliers["expert"]
    losses = head_loss(UNITS, encoder.encode(UNITS.texts), request())
    everyone = np.arange(2000)
    before, after = (float(losses(make_head(one), everyone).mean().detach()) for one in (iterates[0], iterates[-1]))
    assert after < 0.8 * before


def test_one_person_moves_a_step_by_at_most_the_bound(encoder: TextEncoder) -> None:
    units = make_units([("alpha", "a", 0)] * 4 + [("beta", "b", 1), ("gamma", "unheard-of", 2)], bound=4)
    sums = []
    for spans in (units.spans(), units.spans()[1:]):
        wrapped = make_head(np.zeros((2, 6)))
        loss = head_loss(units, encoder.encode(units.texts), request(bound=0.3))
        parts = clip_and_sum(wrapped, loss, spans, 0.3, ROWS)
        sums.append(np.concatenate([part.detach().numpy().ravel() for part in parts]))
    assert 0.29 < np.linalg.norm(sums[0] - sums[1]) <= 0.3


def gradients_are_their_own(columns: int, classes: int = 20) -> bool:
    """Whether every record has bitwise the same gradient alone, in other rows, with other or fewer mates.

    So must be what its row is computed in: one shape, and rows that begin at whole lines of 64 bytes. Not every machine
    gives other bits where it is not.
    """
    from opacus import GradSampleModule

    rng = np.random.default_rng(11)
    names = tuple(f"class {k}" for k in range(classes))
    units = make_units([(f"text {i}", names[i % classes], i) for i in range(ROWS)])
    encoded = Encoded(rng.normal(size=(ROWS, columns)).astype(np.float32), ((),) * ROWS, np.zeros(ROWS, dtype=bool))
    basis = np.linalg.qr(rng.normal(size=(columns, columns)))[0]
    start = rng.normal(size=(classes, columns + 1))
    loss = head_loss(
        units, encoded, ExpertRequest("expert", ClassRule(names), np.zeros(columns), basis, 1.0, start, 1.0, 9.0, 2.0)
    )

    places: set[tuple[object, ...]] = set()

    def note(head: object, given: tuple[torch.Tensor]) -> None:
        places.add((given[0].shape, given[0].stride(0) % 8, given[0].data_ptr() % 64))

    def of(records: np.ndarray) -> np.ndarray:
        head = make_head(start)
        head.register_forward_pre_hook(note)
        wrapped = GradSampleModule(head, loss_reduction="sum")
        loss(wrapped, records).sum().backward()
        parts = [one.grad_sample.flatten(1).numpy() for one in wrapped.parameters()]
        wrapped.remove_hooks()
        return np.concatenate(parts, axis=1)[: len(records)]

    everybody = np.arange(ROWS)
    base = of(everybody)
    others = [everybody[k:] for k in (1, 2, 7)] + [everybody[:k] for k in (1, 3, 100)] + [everybody[::-1].copy()]
    same = all([np.array_equal(of(some), base[some]) for some in others])
    assert np.abs(base).max(axis=1).min() > 0
    return same and places == {((ROWS, columns), 0, 0)}


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("columns", [5, 33, 64, 257])
def test_a_records_gradient_does_not_depend_on_its_batch_mates(columns: int) -> None:
    assert gradients_are_their_own(columns)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize(("name", "value"), [("ROWS", 0), ("_LINE", 1)])
def test_planted_batches_of_another_shape_or_place_are_caught(
    monkeypatch: pytest.MonkeyPatch, name: str, value: int
) -> None:
    monkeypatch.setattr(expert, name, value)
    assert not gradients_are_their_own(257)


def test_a_record_without_a_class_moves_nothing(encoder: TextEncoder) -> None:
    units = make_units([("gamma", "unheard-of", 0)])
    loss = head_loss(units, encoder.encode(units.texts), request())
    wrapped = make_head(np.zeros((2, 6)))
    assert all((part == 0).all() for part in clip_and_sum(wrapped, loss, units.spans(), 1.0, ROWS))


def test_noise_of_one_kind_never_serves_the_other(encoder: TextEncoder) -> None:
    door = Door(UNITS, encoder, BUDGET, Book())
    with pytest.raises(PrivacyError, match="reserved plan"):
        door.answer(StatisticRequest("expert", make_request().classes, make_request().blocks))
    with pytest.raises(PrivacyError, match="reserved plan"):
        Door(UNITS, encoder, calibrate(8.0, 1e-6, {"expert": 1.0}, threshold=False), Book()).answer(request())


def test_a_refused_charge_stops_before_anything_is_trained(encoder: TextEncoder) -> None:
    def refuse(record: MechanismRecord) -> None:
        raise MechanismError("drawn before")

    with pytest.raises(MechanismError, match="drawn before"):
        release_expert(
            UNITS, encoder.encode(UNITS.texts), request(), noise_multiplier=1.0, sampling=SAMPLING, charge=refuse
        )
    door = Door(UNITS, encoder, BUDGET, Book())
    door.answer(request())
    with pytest.raises(MechanismError):
        door.answer(request())


def test_an_empty_corpus_gives_noise(encoder: TextEncoder) -> None:
    release = Door(make_units([]), encoder, BUDGET, Book()).answer(request())
    assert (np.diff(release.block("iterates"), axis=0) != 0).all()
    steps = np.diff(release.block("iterates"), axis=0) / release.noise["iterates"]
    assert abs(steps.std() - 1) < 0.15


def test_more_records_of_a_person_than_declared_stop_everything(encoder: TextEncoder) -> None:
    with pytest.raises(MechanismError, match="contribution bound"):
        Door(make_units([("a", "a", 0), ("b", "a", 0)]), encoder, BUDGET, Book()).answer(request())
