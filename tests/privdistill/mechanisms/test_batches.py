"""The batches that training really uses: who reached the loss in each step of a run, against independent coins.

What is charged is the rate and the number of steps; what is looked at is which records went through the module. Five
statistics share one false alarm in a million of a test (Bonferroni): how many were drawn in all, how sizes vary, how
often each unit came, whether two units come together, and whether one step resembles the next.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from scipy import stats

from privdistill.accounting.budget import Sampling
from privdistill.features.encoded import TextEncoder
from privdistill.mechanisms import dpsgd, expert, finetuning
from privdistill.mechanisms.checkpoints import Checkpoints
from privdistill.mechanisms.dpsgd import poisson_sample
from privdistill.mechanisms.expert import release_expert
from privdistill.mechanisms.finetuning import release_adapter
from privdistill.mechanisms.release import MechanismRecord, PrivateUnits
from privdistill.mechanisms.tail_loss import TailLoss
from tests.privdistill.families import FAMILIES, ToyModel, make_network
from tests.privdistill.mechanisms.conftest import make_units
from tests.privdistill.mechanisms.test_expert import request as expert_request
from tests.privdistill.mechanisms.test_finetuning import REQUEST, corpus
from tests.privdistill.mutation import plant

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook is firing")

FALSE_ALARM = 1e-6
RATE = 0.3


class Run(NamedTuple):
    """What was charged, and which units each step used."""

    record: MechanismRecord
    used: np.ndarray  # (steps, units) of 0 and 1

    def is_poisson(self) -> bool:
        """Whether members come and go as independent coins of the charged rate do, from step to step too."""
        steps, units = self.used.shape
        rate = self.record.sample_rate
        assert steps == self.record.steps
        even = steps - steps % 2, units - units % 2
        again = self.used[0 : even[0] : 2] & self.used[1 : even[0] : 2]
        together = self.used[:, 0 : even[1] : 2] & self.used[:, 1 : even[1] : 2]
        return (
            min(
                _binomial(self.used, rate),
                _binomial(again, rate**2),
                _binomial(together, rate**2),
                _spread(self.used.sum(axis=1), units, rate),
                _spread(self.used.sum(axis=0), steps, rate),
            )
            > FALSE_ALARM / 5
        )


def _binomial(coins: np.ndarray, rate: float) -> float:
    """Exact two-sided p-value of independent coins."""
    return float(stats.binomtest(int(coins.sum()), coins.size, rate).pvalue)


def _spread(counts: np.ndarray, size: int, rate: float) -> float:
    """Two-sided p-value of the spread of counts that are each binomial, about their known mean."""
    statistic = float(np.square(counts - size * rate).sum() / (size * rate * (1 - rate)))
    return float(2 * min(stats.chi2.cdf(statistic, len(counts)), stats.chi2.sf(statistic, len(counts))))


def _table(steps: list[list[int]], units: int) -> np.ndarray:
    used = np.zeros((len(steps), units), dtype=np.int64)
    for step, members in enumerate(steps):
        assert len(set(members)) == len(members), "nobody is in a batch twice"
        used[step, members] = 1
    return used


def expert_run(encoder: TextEncoder) -> Run:
    """A run of the expert on 120 units; records are noted where their loss is asked for."""
    units = make_units([(f"w{i}", "ab"[i % 2], i) for i in range(120)])
    charged: list[MechanismRecord] = []
    steps: list[list[int]] = [[]]
    head_loss, train_privately = expert.head_loss, expert.train_privately

    def noted_loss(*given: object) -> Callable:
        real = head_loss(*given)
        return lambda head, records: (steps[-1].extend(records.tolist()), real(head, records))[1]

    def noted_steps(*given: object, after_step: Callable, **named: object) -> None:
        train_privately(*given, after_step=lambda step: (after_step(step), steps.append([]))[0], **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expert, "head_loss", noted_loss)
        patch.setattr(expert, "train_privately", noted_steps)
        release_expert(
            units,
            encoder.encode(units.texts),
            expert_request(),
            noise_multiplier=1.0,
            sampling=Sampling(RATE, 60),
            charge=charged.append,
        )
    return Run(charged[0], _table(steps[:-1], 120))


def finetune_run(folder: Path, family: str = "llama", *, whole: bool = False, full: bool = False) -> Run:
    """A run of the adapters, or of every number, on 70 records."""
    units, encoded = corpus(70)
    # Class z is not declared: such a record has no loss, and would never be seen.
    units = PrivateUnits(units.texts, tuple(one.replace("z", "a") for one in units.labels), np.arange(70), "record", 1)
    charged: list[MechanismRecord] = []
    steps: list[list[int]] = [[]]
    real = TailLoss.__call__

    def noted(self: TailLoss, module: object, records: np.ndarray) -> object:
        steps[-1].extend(records.tolist())
        return real(self, module, records)

    def progress(stage: str, done: int, total: int) -> None:
        if stage == "training the generator":
            steps.append([])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TailLoss, "__call__", noted)
        patch.setattr(finetuning, "is_cheaper", lambda shapes, positions: whole)
        release_adapter(
            units,
            encoded,
            replace(REQUEST, layers=None if full else 1, rank=None if whole or full else 2, full=full),
            ToyModel(make_network(family)),
            noise_multiplier=1.0,
            sampling=Sampling(RATE, 24),
            charge=charged.append,
            kept=lambda record: None,
            checkpoints=Checkpoints(folder),
            progress=progress,
        )
    return Run(charged[0], _table(steps[:-1], 70))


def test_batches_of_the_expert_are_poisson_at_the_charged_rate(encoder: TextEncoder) -> None:
    assert expert_run(encoder).is_poisson()


@pytest.mark.parametrize(("family", "whole"), [*((family, False) for family in FAMILIES), ("llama", True)])
def test_batches_of_the_adapters_are_poisson_at_the_charged_rate(tmp_path: Path, family: str, whole: bool) -> None:
    assert finetune_run(tmp_path, family, whole=whole).is_poisson()


def test_batches_of_full_training_are_poisson_at_the_charged_rate(tmp_path: Path) -> None:
    assert finetune_run(tmp_path, full=True).is_poisson()


# ------------------------------------------------------------------------------------------------------- planted bugs

DRAW = "poisson_sample(len(spans), schedule.sample_rate)"
BUGS = {
    "twice the rate": (DRAW, "poisson_sample(len(spans), 2 * schedule.sample_rate)"),
    "a quarter more": (DRAW, "poisson_sample(len(spans), 1.25 * schedule.sample_rate)"),
    "one batch for all steps": (
        f"for step in range(schedule.steps):\n            drawn = [spans[i] for i in {DRAW}]",
        f"drawn = [spans[i] for i in {DRAW}]\n        for step in range(schedule.steps):",
    ),
    "a fixed size": (DRAW, "np.random.default_rng().permutation(len(spans))[: int(schedule.sample_rate * len(spans))]"),
    "neighbours together": (
        DRAW,
        "[2 * i + j for i in poisson_sample(len(spans) // 2, schedule.sample_rate) for j in (0, 1)]",
    ),
    "a window that moves on": (DRAW, "[i for i in range(len(spans)) if (i + step) % 10 < 10 * schedule.sample_rate]"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_batches_of_the_expert_are_caught(
    encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch, bug: str
) -> None:
    plant(monkeypatch, expert, "train_privately", *BUGS[bug])
    assert not expert_run(encoder).is_poisson()


@pytest.mark.parametrize("bug", ["twice the rate", "one batch for all steps"])
def test_planted_batches_of_the_adapters_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    plant(monkeypatch, finetuning, "train_privately", *BUGS[bug])
    assert not finetune_run(tmp_path).is_poisson()


def test_passes_that_skip_or_repeat_a_unit_are_caught(encoder: TextEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    real = dpsgd._passes
    monkeypatch.setattr(dpsgd, "_passes", lambda spans, records: real(spans[::2], records))
    assert not expert_run(encoder).is_poisson()
    monkeypatch.setattr(dpsgd, "_passes", lambda spans, records: real([*spans, *spans[:1]], records))
    with pytest.raises(AssertionError, match="twice"):
        expert_run(encoder)


def test_the_test_itself_takes_honest_coins_for_what_they_are() -> None:
    record = dpsgd.Schedule(1.0, RATE, 60, 1.0, 1.0).record("x", 1)
    for _ in range(200):
        used = np.array([np.isin(np.arange(120), poisson_sample(120, RATE)) for _ in range(60)]).astype(np.int64)
        assert Run(record, used).is_poisson()
