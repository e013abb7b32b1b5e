"""What a run has persisted when it ends is what was charged: no step fewer, none more, under the same terms."""

from pathlib import Path

import pytest

from privdistill.errors import MechanismError
from privdistill.mechanisms import finetuning
from privdistill.mechanisms.checkpoints import Checkpoints
from tests.privdistill.mechanisms.test_finetuning import corpus, folder, train
from tests.privdistill.mutation import plant

__all__ = ["folder"]

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")

STEPS = 3


@pytest.mark.parametrize("steps", [STEPS - 1, STEPS + 1])
def test_a_run_of_other_steps_than_were_charged_releases_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    plant(monkeypatch, finetuning, "train_privately", "range(schedule.steps)", f"range({steps})")
    with pytest.raises(MechanismError, match="not those that were charged"):
        train(folder, steps=STEPS, units=corpus(12))


@pytest.mark.parametrize("left_out", range(STEPS))
def test_a_step_that_was_not_persisted_matters_where_it_was_the_last(
    folder: Path, monkeypatch: pytest.MonkeyPatch, left_out: int
) -> None:
    """Planted: one step that is not written. Those before the last are in the iterate that comes after them."""
    real, count = Checkpoints.save, iter(range(STEPS))
    monkeypatch.setattr(Checkpoints, "save", lambda *given: real(*given) if next(count) != left_out else None)
    if left_out == STEPS - 1:
        with pytest.raises(MechanismError, match="not those that were charged"):
            train(folder, steps=STEPS, units=corpus(12))
    else:
        train(folder, steps=STEPS, units=corpus(12))


@pytest.mark.parametrize("history", [None, (0.7, 0.3, STEPS - 1), (0.6, 0.3, STEPS), (0.7, 0.2, STEPS)])
def test_a_run_that_was_complete_already_is_held_to_the_charge_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch, history: tuple[float, float, int] | None
) -> None:
    released = train(folder, steps=STEPS, units=corpus(12))
    again = train(folder, steps=STEPS, units=corpus(12))
    assert Checkpoints(folder).history("generator") == (0.7, 0.3, STEPS)
    assert all((again.payload[name] == matrix).all() for name, matrix in released.payload.items())
    monkeypatch.setattr(Checkpoints, "history", lambda self, name: history)
    with pytest.raises(MechanismError, match="not those that were charged"):
        train(folder, steps=STEPS, units=corpus(12))
