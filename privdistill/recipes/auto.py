"""Which recipe `auto` stands for: a public rule over what is declared and the machine, with its reasons in sentences.

The rule knows when a recipe could be expected to pay off (enough records, enough votes, enough cores). That is not
enough: `auto` takes only what a committed benchmark shows to be at least as good as `distribution`, and says so of the
others. Nothing here looks at a corpus.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from privdistill.machine import memory
from privdistill.recipes.base import Task

__all__ = ["DEFAULT", "PROVEN", "Machine", "choose", "this_machine"]

DEFAULT = "distribution"
PROVEN = frozenset({DEFAULT})
"""Recipes that benchmarks/results show to be at least as good as the default where the rule below would take them."""
_FINETUNE_RECORDS, _FINETUNE_EPSILON = 8_000, 4.0
_FINETUNE_MINUTES, _FINETUNE_CORE_SECONDS = 60.0, 0.27
"""Longest training worth waiting for, and core seconds of a record: once below the cut, two and a half times above it
(benchmarks/dpsgd.md). Training runs on the processor, whatever else is there."""
_VOTES_PER_CANDIDATE = 3.0
"""Noise deviations that the average candidate's votes must exceed."""
_ROUNDS_FACTOR = 2.0
"""Root of the rounds among which evolution splits mu squared."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What generation would run on.

    Attributes:
        cores: that the process may use.
        accelerator: whether there is one that the run may use.
        memory: bytes that the process may use, or None where the system does not say.
    """

    cores: int
    accelerator: bool
    memory: int | None = None


def this_machine() -> Machine:
    """Cores that this process may use, whether a graphics driver is there, and memory; loads no framework for it."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    return Machine(cores, any(Path(node).exists() for node in ("/dev/nvidia0", "/dev/kfd")), memory())


def choose(task: Task, mu: float, machine: Machine) -> tuple[str, tuple[str, ...]]:
    """The recipe and why.

    Args:
        task: epsilon, delta, size, labels and rows as declared.
        mu: Gaussian-DP parameter that epsilon and delta buy.
        machine: what it would run on.
    """
    reasons = []
    for name, fits in _EXPECTED:
        why = fits(task, mu, machine)
        if why is None:
            continue
        if name in PROVEN:
            return name, (why,)
        reasons.append(
            f"{name} might fit ({why}), but no committed benchmark shows it to win; ask with --recipe {name}"
        )
    classes = f"{len(task.labels)} classes" if task.labels else "labels not declared" if task.labelled else "no labels"
    size = f"{task.size} declared records" if task.size else "size not declared"
    first = f"one release for everything is the least noisy use of epsilon {task.epsilon:g} ({size}, {classes})"
    return DEFAULT, (first, *reasons)


def _finetune(task: Task, mu: float, machine: Machine) -> str | None:
    del mu
    if not task.size or task.size < _FINETUNE_RECORDS or (task.epsilon or 0) < _FINETUNE_EPSILON:
        return None
    minutes = (task.train_size or 0) * _FINETUNE_CORE_SECONDS / machine.cores / 60
    if minutes > _FINETUNE_MINUTES:
        return None
    return (
        f"{task.size} declared records at epsilon {task.epsilon:g} can teach a generator in about {minutes:.0f} "
        f"minutes on {machine.cores} cores"
    )


def _evolution(task: Task, mu: float, machine: Machine) -> str | None:
    del machine
    if not task.size:
        return None
    votes, noise = (task.train_size or 0) / (2 * task.rows), _ROUNDS_FACTOR / mu
    if votes <= _VOTES_PER_CANDIDATE * noise:
        return None
    return f"{votes:.2g} votes a candidate stand above a noise of {noise:.1f}"


_EXPECTED: tuple[tuple[str, Callable[[Task, float, Machine], str | None]], ...] = (
    ("finetune", _finetune),
    ("evolution", _evolution),
)
