"""What a plan can say before anything is measured: noise against signal in each block, texts to write, cells.

All of it follows from declared numbers and constants. Signal is what the average class would give if all its records
agreed; real signals are smaller. Noise is that of units of one record; a plan of larger units stretches it. It does not
know the corpus or the models.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

from privdistill.recipes.auto import Machine
from privdistill.recipes.base import Task
from privdistill.synthesis.measurement import OPENING_POSITIONS, block_weights, most_dimensions, record_sensitivity

__all__ = ["BlockForecast", "Forecast", "Forecasting", "bytes_for", "statistic_forecast"]

_CORE_SECONDS_PER_TEXT = 0.14
"""A run of 2,000 film reviews, everything included: 2,279 s of one core beside another program for 18,379 texts
(benchmarks/results/quality.json), and 400 s of two idle cores for 5,768 texts of an earlier version."""
_GIGABYTES = 3.0
"""Most that a run of 2,000 film reviews held at once, embedded models and a batch of 256 included."""
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
        classes: that are measured; None while labels are not known.
        hopeless: why what it would pay for cannot work, or None.
    """

    blocks: tuple[BlockForecast, ...]
    texts: int
    vocabulary_cells: int
    remarks: tuple[str, ...] = ()
    classes: int | None = None
    hopeless: str | None = None

    def lines(self, per_class: float | None, cells: int | None, machine: Machine) -> Iterator[str]:
        """The forecast in sentences.

        Args:
            per_class: records in the average class, where the size is declared.
            cells: of the largest release, where the vocabulary is known.
            machine: what it would run on.
        """
        parts, ratios = [], self.ratios(per_class)
        for block in self.blocks:
            ratio = ratios[block.name]
            parts.append(f"{block.name} {block.deviation:.3g}" + (f" ({ratio:.2g})" if ratio is not None else ""))
        yield "noise     in one cell, in records (and of the block, over its signal at best): " + ", ".join(parts)
        if cells is not None:
            held = f"{bytes_for(cells) / 1e9:.2g} GB while {cells:,} cells are noised"
            yield f"memory    {held}; about {_GIGABYTES:.2g} GB with the embedded models"
        minutes = math.ceil(self.seconds(machine) / 60)
        faster = "; less with the accelerator that is there" if machine.accelerator else ""
        long = f"about {max(1, minutes)} min for {self.texts} texts of the embedded model"
        yield f"time      {long} on {machine.cores} cores{faster}"
        for remark in self.remarks:
            yield f"expect    {remark}"

    def ratios(self, per_class: float | None) -> dict[str, float | None]:
        """Block name -> noise over signal at best; None where it is not known."""
        known = per_class is not None and self.classes is not None
        return {
            block.name: block.noise_to_signal(per_class or 0.0, self.classes or 1) if known else None
            for block in self.blocks
        }

    def seconds(self, machine: Machine) -> float:
        """About how long the embedded model writes, choosing included."""
        return self.texts * _CORE_SECONDS_PER_TEXT / machine.cores

    def cells(self, vocabulary: int) -> int | None:
        """Cells of the largest release, about: every one is noised and held in memory. None without classes."""
        if self.classes is None:
            return None
        own = sum(block.cells or 0 for block in self.blocks if not block.shared)
        shared = sum(block.cells or 0 for block in self.blocks if block.shared)
        return self.classes * (self.vocabulary_cells * vocabulary + own) + shared

    def stretched(self, factor: float) -> "Forecast":
        """The same where a unit moves a sum by so many times what a record does."""
        return replace(self, blocks=tuple(replace(one, deviation=one.deviation * factor) for one in self.blocks))


def bytes_for(cells: int) -> int:
    """Memory while so many cells are noised."""
    return cells * _BYTES_PER_CELL


@runtime_checkable
class Forecasting(Protocol):
    """A recipe that can say what to expect."""

    def forecast(self, task: Task, noise_multipliers: Mapping[str, float]) -> Forecast:
        """A function of public facts only."""


def statistic_forecast(
    noise_multiplier: float, texts: int, classes: int | None = None, *, more: Mapping[str, float] | None = None
) -> Forecast:
    """Forecast of the unified statistic, with the weights (scale times norm bound) of `more` blocks.

    Args:
        noise_multiplier: of the statistic.
        texts: to be written.
        classes: that are measured; None while labels are not known.
        more: block name -> weight, beside those of the public map.
    """
    weights = {**block_weights(), **(more or {})}
    total = noise_multiplier * math.hypot(record_sensitivity(), *(more or {}).values())
    d = most_dimensions(noise_multiplier)
    cells = {"count": 1, "moment": d, "second": d * (d + 1) // 2}
    stretch = {"opening": math.sqrt(OPENING_POSITIONS)}  # released as record counts, see `OpeningBlock`
    blocks = tuple(
        BlockForecast(name, total / weight * stretch.get(name, 1.0), cells.get(name), shared=name == "second")
        for name, weight in weights.items()
    )
    return Forecast(blocks, texts, 5, classes=classes)
