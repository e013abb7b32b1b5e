"""A record's activations and gradient under neighbouring corpora: bit for bit the same, whoever else is there.

Everything is built anew for each corpus (the loss with what it caches, the passes), for a coupling can hide in any of
it; units go through the passes that training cuts.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from privdistill.features.encoded import Encoded
from privdistill.mechanisms import tail_loss
from privdistill.mechanisms.release import FinetuneRequest, PrivateUnits
from privdistill.mechanisms.tail_loss import TailLoss
from privdistill.models.adaptation.tail import Tail, padded_length
from tests.privdistill.families import FAMILIES, VOCABULARY, make_network
from tests.privdistill.mechanisms import test_finetuning
from tests.privdistill.mechanisms.test_finetuning import gradients, loss_of
from tests.privdistill.mutation import plant

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")

# Openings of unlike length: records of short and of long texts then meet in one pass.
REQUEST = replace(test_finetuning.REQUEST, prompts=(("good: so good",), ("bad:",)))
WHOLE = replace(REQUEST, rank=None)
LONGER = 99
"""Name of the unit that only the larger neighbour has; its records are longer than everybody's."""


def corpus_of(people: list[int], per_unit: int) -> tuple[PrivateUnits, Encoded]:
    """Each unit's records are a function of its name; names decide nothing else."""
    tokens, names = [], []
    for person in people:
        rng = np.random.default_rng(person)
        for k in range(per_unit):
            size = 20 if person == LONGER else int(rng.integers(1, 13))
            tokens.append(rng.integers(2, VOCABULARY, size=size).astype(np.int64))
            names.append(f"{person}.{k}")
    units = PrivateUnits(
        tuple(names),
        tuple("ab"[int(name[0]) % 2] for name in names),
        np.arange(len(names)) // per_unit,
        "record" if per_unit == 1 else "person",
        per_unit,
    )
    return units, Encoded(np.zeros((len(names), 4), np.float32), tuple(tokens), np.zeros(len(names), dtype=bool))


def seen(people: list[int], family: str, request: FinetuneRequest, per_unit: int) -> dict[str, tuple[bytes, bytes]]:
    """Activations and gradient of each record by name, from a loss made for this corpus and the passes it cuts."""
    units, encoded = corpus_of(people, per_unit)
    loss = loss_of(family, units, encoded, request)
    found = {}
    for part in loss.passes(units.spans()):
        records = [i for low, high in part for i in range(low, high)]
        for i, row in zip(records, gradients(loss, loss.module, records), strict=True):
            hidden = loss._kept[i].hidden.float().numpy()
            assert np.abs(hidden).max() > 0
            assert np.abs(row).max() > 0
            found[units.texts[i]] = (hidden.tobytes(), row.tobytes())
    assert set(found) == set(units.texts)
    return found


EVERYBODY = list(range(12))
NEIGHBOURS = {
    "one fewer": EVERYBODY[:4] + EVERYBODY[5:],
    "the first is gone": EVERYBODY[1:],
    "another order": EVERYBODY[::-1],
    "one more, longer than all": [*EVERYBODY[:6], LONGER, *EVERYBODY[6:]],
    "almost nobody": EVERYBODY[:2],
}


def records_are_their_own(family: str = "llama", request: FinetuneRequest = REQUEST, per_unit: int = 1) -> bool:
    """Whether every record that two neighbouring corpora share is bitwise the same in both."""
    base = seen(EVERYBODY, family, request, per_unit)
    for people in NEIGHBOURS.values():
        other = seen(people, family, request, per_unit)
        if any(base[name] != other[name] for name in base.keys() & other.keys()):
            return False
    return True


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_record_gives_is_bitwise_the_same_in_every_neighbouring_corpus(family: str) -> None:
    assert records_are_their_own(family)


@pytest.mark.parametrize("request_", [replace(WHOLE, layers=3), replace(REQUEST, shortlist=np.arange(30))])
@pytest.mark.parametrize("per_unit", [1, 3])
def test_so_with_whole_weights_with_a_shortlist_and_with_units_of_several_records(
    request_: FinetuneRequest, per_unit: int
) -> None:
    assert records_are_their_own(request=request_, per_unit=per_unit)


def test_so_in_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_finetuning, "make_network", lambda family: make_network(family).to(torch.bfloat16))
    assert records_are_their_own()


def shapes_are_their_own(per_unit: int = 1) -> bool:
    """Whether every length in sight is that of the unit or the record itself.

    Small matrices often give the same bits at another shape; kernels of a real model do not promise to.
    """
    units, encoded = corpus_of([*EVERYBODY, LONGER], per_unit)
    loss = loss_of("llama", units, encoded, REQUEST)
    fine: list[bool] = []
    above, record_loss = Tail.above, tail_loss.record_loss

    def noted_above(self: Tail, hidden: torch.Tensor) -> torch.Tensor:
        fine.append(all(max(loss._lengths[low:high]) == hidden.shape[1] for low, high in part))
        return above(self, hidden)

    def noted_loss(window: torch.Tensor, targets: torch.Tensor, head: object) -> torch.Tensor:
        fine.append(len(window) == padded_length(len(targets)))
        return record_loss(window, targets, head)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tail, "above", noted_above)
        patch.setattr(tail_loss, "record_loss", noted_loss)
        for part in loss.passes(units.spans()):
            loss(loss.module, np.array([i for low, high in part for i in range(low, high)]))
    return bool(fine) and all(fine)


@pytest.mark.parametrize("per_unit", [1, 3])
def test_every_shape_is_decided_by_the_unit_alone(per_unit: int) -> None:
    assert shapes_are_their_own(per_unit)


# ------------------------------------------------------------------------------------------------------- planted bugs


def _coupled_cache(patch: pytest.MonkeyPatch) -> None:
    plant(patch, TailLoss, "__init__", "tail.below(ids)", "(lambda h: h + 0.5 * h.mean(dim=0))(tail.below(ids))")


def _coupled_to_rows_before(patch: pytest.MonkeyPatch) -> None:
    plant(patch, TailLoss, "__init__", "_Kept(hidden[row].clone(), one)", "_Kept(hidden[: row + 1].mean(dim=0), one)")


def _passes_of_mixed_lengths(patch: pytest.MonkeyPatch) -> None:
    plant(patch, TailLoss, "passes", "setdefault(max(self._lengths[low:high]), [])", "setdefault(1, [])")


def _window_of_the_longest(patch: pytest.MonkeyPatch) -> None:
    longest = "max(len(k.sequence.targets) for k in (self._kept[i] for i in records) if k is not None)"
    plant(patch, TailLoss, "__call__", "start + padded_length(len(targets))]", f"start + padded_length({longest})]")


@pytest.mark.parametrize("bug", [_coupled_cache, _coupled_to_rows_before])
def test_planted_couplings_of_records_are_caught(
    monkeypatch: pytest.MonkeyPatch, bug: Callable[[pytest.MonkeyPatch], None]
) -> None:
    bug(monkeypatch)
    assert not records_are_their_own()


@pytest.mark.parametrize("bug", [_passes_of_mixed_lengths, _window_of_the_longest])
def test_planted_shapes_that_batch_mates_decide_are_caught(
    monkeypatch: pytest.MonkeyPatch, bug: Callable[[pytest.MonkeyPatch], None]
) -> None:
    bug(monkeypatch)
    assert not shapes_are_their_own()
