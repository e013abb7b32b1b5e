"""What a plan can say before anything is measured: noise against signal in each block, texts to write, cells.

All of it follows from declared numbers and constants. Signal is what the average class would give if all its records
agreed; real signals are smaller. It does not know the corpus or the models.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from privdistill.recipes.auto import Machine
from privdistill.recipes.base import Task
from privdistill.synthesis.measurement import block_weights, most_dimensions, record_sensitivity

__all__ = ["BlockForecast", "Forecast", "Forecasting", "statistic_forecast"]

_SECONDS_PER_TEXT, _CORES = 0.07, 2
"""benchmarks/results/quality.json: 400 s for 5,768 film reviews on two cores, everything included."""
_BYTES_PER_CELL = 32
"""Clean sum, noised sum and their real values: four arrays of eight bytes."""


@dataclass(frozen=True, slots=True)
class BlockForecast:
    """One block of a planned release.

    Attributes:
        name: of the block.
        deviation: noise of one cell, in records that fill it wholly.
        cells: cells of one class (of all, where they share the block); None before the model is loaded.
        shared: whether all classes share the block.
    """

    name: str
    deviation: float
    cells: int | None
    shared: bool = False

    def noise_to_signal(self, per_class: float, classes: int) -> float | None:
        """Norm of the noise over the norm of as many full records as fill the block; None while cells are unknown."""
        if self.cells is None:
            return None
        return self.deviation * math.sqrt(self.cells) / (per_class * (classes if self.shared else 1))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a recipe expects.

    Attributes:
        blocks: of its releases.
        texts: how many the language model will write.
        vocabulary_cells: cells per class and vocabulary entry.
        remarks: what the recipe adds, in sentences.
    """

    blocks: tuple[BlockForecast, ...]
    texts: int
    vocabulary_cells: int
    remarks: tuple[str, ...] = ()

    def lines(self, per_class: float | None, classes: int, cells: int | None, machine: Machine) -> Iterator[str]:
        """The forecast in sentences.

        Args:
            per_class: records in the average class, where the size is declared.
            classes: number of classes.
            cells: of the largest release, where the vocabulary is known.
            machine: what it would run on.
        """
        parts = []
        for block in self.blocks:
            ratio = block.noise_to_signal(per_class, classes) if per_class else None
            parts.append(f"{block.name} {block.deviation:.3g}" + (f" ({ratio:.2g})" if ratio is not None else ""))
        yield "noise     in one cell, in records (and of the block, over its signal at best): " + ", ".join(parts)
        if cells is not None:
            size = cells * _BYTES_PER_CELL / 1e9
            yield f"memory    {size:.2g} GB while {cells:,} cells are noised, beside the models"
        seconds = self.texts * _SECONDS_PER_TEXT * _CORES / machine.cores
        faster = "; less with the accelerator that is there" if machine.accelerator else ""
        yield (
            f"time      about {max(1, math.ceil(seconds / 60))} min for {self.texts} texts of the embedded model on "
            f"{machine.cores} cores{faster}"
        )
        for remark in self.remarks:
            yield f"expect    {remark}"

    def cells(self, classes: int, vocabulary: int) -> int:
        """Cells of the largest release, about: every one is noised and held in memory."""
        own = sum(block.cells or 0 for block in self.blocks if not block.shared)
        shared = sum(block.cells or 0 for block in self.blocks if block.shared)
        return classes * (self.vocabulary_cells * vocabulary + own) + shared


@runtime_checkable
class Forecasting(Protocol):
    """A recipe that can say what to expect."""

    def forecast(self, task: Task, noise_multipliers: Mapping[str, float]) -> Forecast:
        """A function of public facts only."""


def statistic_forecast(noise_multiplier: float, texts: int, *, more: Mapping[str, float] | None = None) -> Forecast:
    """Forecast of the unified statistic, with the weights (scale times norm bound) of `more` blocks.

    Args:
        noise_multiplier: of the statistic.
        texts: to be written.
        more: block name -> weight, beside those of the public map.
    """
    weights = {**block_weights(), **(more or {})}
    total = noise_multiplier * math.hypot(record_sensitivity(), *(more or {}).values())
    d = most_dimensions(noise_multiplier)
    cells = {"count": 1, "moment": d, "second": d * (d + 1) // 2}
    blocks = tuple(
        BlockForecast(name, total / weight, cells.get(name), shared=name == "second")
        for name, weight in weights.items()
    )
    return Forecast(blocks, texts, 5)
