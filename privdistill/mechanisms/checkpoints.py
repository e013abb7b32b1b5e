"""What a DP-SGD run has persisted: weights, optimizer, steps done and what they were charged as, in one atomic file.

No random state is ever stored: sampling and noise have none (see `mechanisms.dpsgd`). Steps that are in the file are
the steps whose result may have been seen. It lies under RUN/private.

How steps are counted: all steps of the schedule are charged before the first one is drawn, and stay charged. A step
begins only when the one before is in the file, so a killed process leaves at most one that was drawn and not kept. It
was seen by nobody: what it may have left half-written is deleted before the run goes on, and it is drawn anew under the
same charge. Whatever was seen is therefore one composition of at most the steps that were charged.

It does not know the records, the loss, or whether the run was killed.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from privdistill.atomic import write_atomically
from privdistill.errors import RunError
from privdistill.mechanisms.dpsgd import Schedule
from privdistill.mechanisms.kept import digest
from privdistill.mechanisms.release import FinetuneRequest

__all__ = ["Checkpoint", "Checkpoints"]

_FIRST, _SECOND = "exp_avg", "exp_avg_sq"


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """One persisted iterate.

    Attributes:
        steps: steps that led to it.
        weights: name -> adapter matrix.
        first: name -> Adam's mean of noised gradients.
        second: name -> Adam's mean of their squares.
    """

    steps: int
    weights: Mapping[str, torch.Tensor]
    first: Mapping[str, torch.Tensor]
    second: Mapping[str, torch.Tensor]

    @classmethod
    def of(cls, steps: int, matrices: Mapping[str, torch.Tensor], adam: torch.optim.Adam) -> "Checkpoint":
        """Copy what training has reached."""
        state = {name: adam.state[matrix] for name, matrix in matrices.items()}
        return cls(
            steps,
            {name: matrix.detach().clone() for name, matrix in matrices.items()},
            {name: one[_FIRST].clone() for name, one in state.items()},
            {name: one[_SECOND].clone() for name, one in state.items()},
        )

    def restore(self, adam: torch.optim.Adam, matrices: Mapping[str, torch.Tensor]) -> None:
        """Bring a fresh optimizer to where it was."""
        for name, matrix in matrices.items():
            adam.state[matrix] = {
                "step": torch.tensor(float(self.steps)),
                _FIRST: self.first[name].clone(),
                _SECOND: self.second[name].clone(),
            }


class Checkpoints:
    """The checkpoint of each training run of a folder, by plan name."""

    def __init__(self, folder: Path) -> None:
        """Keep checkpoints in `folder`, which exists."""
        self._folder = folder

    def save(self, request: FinetuneRequest, schedule: Schedule, checkpoint: Checkpoint) -> None:
        """Replace the checkpoint in one step."""
        groups = {"weights": checkpoint.weights, _FIRST: checkpoint.first, _SECOND: checkpoint.second}
        tensors = {f"{kind}:{name}": one.contiguous() for kind, group in groups.items() for name, one in group.items()}
        said = {"steps": str(checkpoint.steps), "schedule": _terms(request, schedule)}
        write_atomically(self._path(request.name), save(tensors, metadata=said))

    def load(self, request: FinetuneRequest, schedule: Schedule) -> Checkpoint | None:
        """The persisted iterate, or None.

        Raises:
            RunError: it is damaged, or was made under other terms than the plan.
        """
        path = self._path(request.name)
        if not path.exists():
            return None
        groups: dict[str, dict[str, torch.Tensor]] = {"weights": {}, _FIRST: {}, _SECOND: {}}
        try:
            with safe_open(path, framework="pt") as file:
                said = file.metadata() or {}
                for key in file.keys():
                    kind, _, name = key.partition(":")
                    groups[kind][name] = file.get_tensor(key)
            steps = int(said["steps"])
        except (OSError, SafetensorError, KeyError, ValueError):
            raise RunError(
                "the checkpoint of this run is damaged; what it drew stays charged, start a new run"
            ) from None
        if said.get("schedule") != _terms(request, schedule) or not 1 <= steps <= schedule.steps:
            raise RunError("the checkpoint was made under other terms than this plan; start a new run")
        return Checkpoint(steps, groups["weights"], groups[_FIRST], groups[_SECOND])

    def history(self, name: str) -> tuple[float, float, int] | None:
        """(noise multiplier, sample rate, steps) of what was persisted; at the end it must be what was charged."""
        path = self._path(name)
        if not path.exists():
            return None
        with safe_open(path, framework="pt") as file:
            said = file.metadata() or {}
        terms = json.loads(said["schedule"])
        return float(terms["noise_multiplier"]), float(terms["sample_rate"]), int(said["steps"])

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.checkpoint"


def _terms(request: FinetuneRequest, schedule: Schedule) -> str:
    """What a checkpoint may be continued under: everything that was asked for, and the schedule."""
    return json.dumps(
        {
            "request": digest(request),
            "noise_multiplier": schedule.noise_multiplier,
            "sample_rate": schedule.sample_rate,
            "steps": schedule.steps,
            "expected_batch_size": schedule.expected_batch_size,
        },
        sort_keys=True,
    )
