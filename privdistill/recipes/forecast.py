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
from privdistill.synthesis.measurement import OPENING_POSITIONS, block_cells, block_weights, record_sensitivity

__all__ = ["BlockForecast", "Forecast", "Forecasting", "bytes_for", "statistic_forecast"]

_CORE_SECONDS_PER_TEXT = 0.14
"""A run of 2,000 film reviews, everything included: 2,279 s of one core beside another program for 18,379 texts
(benchmarks/results/quality.json), and 400 s of two idle cores for 5,768 texts of an earlier version."""
_GIGABYTES = 3.0
"""Most that a run of 2,000 film reviews held at once, embedded models and a batch of 256 included."""
_BYTES_PER_CELL = 32
"""Clean sum, noised sum and their real values: four arrays of eight bytes."""
_WHOLE = frozenset({"moment", "second"})
"""Blocks of the statistic that are read as one vector; of counts, tokens, openings and lengths cells are read alone."""


@dataclass(frozen=True, slots=True)
class BlockForecast:
    """One block of a planned release.

    Attributes:
        name: of the block.
        deviation: noise of one cell, in records that fill it wholly.
        cells: cells of one class (of all, where they share the block), those of tokens apart; None if not known.
        shared: whether all classes share the block.
        cells_a_token: as many more for each token of the vocabulary.
        norm: of what one record gives when it fills the block, where a full cell is 1.
        whole: whether the block is read as one vector, all of whose noise counts; or else cell by cell, where a few
            large cells stand out of noise that is longer than they are.
    """

    name: str
    deviation: float
    cells: int | None
    shared: bool = False
    cells_a_token: int = 0
    norm: float = 1.0
    whole: bool = True

    def all_cells(self, vocabulary: int | None) -> int | None:
        """Cells of one class (of all, where they share the block); None if not known."""
        if self.cells is None or (self.cells_a_token and vocabulary is None):
            return None
        return self.cells + self.cells_a_token * (vocabulary or 0)

    def noise_to_signal(self, per_class: float, classes: int, vocabulary: int | None) -> float | None:
        """Norm of the noise over that of the sum, were all records to agree; None while cells are not known."""
        cells = self.all_cells(vocabulary)
        if cells is None:
            return None
        return self.deviation * math.sqrt(cells) / (self.norm * per_class * (classes if self.shared else 1))


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a recipe expects.

    Attributes:
        blocks: of its releases.
        texts: how many the language model will write.
        vocabulary_cells: cells per class and vocabulary entry that are in none of the blocks.
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

    def lines(self, per_class: float | None, vocabulary: int | None, machine: Machine) -> Iterator[str]:
        """The forecast in sentences.

        Args:
            per_class: records in the average class, where the size is declared.
            vocabulary: tokens of the language model, where they are known.
            machine: what it would run on.
        """
        parts, ratios, cells = [], self.ratios(per_class, vocabulary), self.cells(vocabulary)
        for block in self.blocks:
            ratio = ratios[block.name]
            parts.append(f"{block.name} {block.deviation:.3g}" + (f" ({ratio:.2g})" if ratio is not None else ""))
        yield "noise     in one cell, in records (and of the block, over its signal at best): " + ", ".join(parts)
        if cells is not None:
            held = f"{bytes_for(cells) / 1e9:.2g} GB while {cells:,} cells are noised"
            models = f"; about {_GIGABYTES:.2g} GB with the embedded models" if vocabulary is not None else ""
            yield f"memory    {held}{models}"
        minutes = math.ceil(self.seconds(machine) / 60)
        untimed = "; with the accelerator that is there it was not timed" if machine.accelerator else ""
        long = f"about {max(1, minutes)} min for {self.texts} texts of the embedded model"
        yield f"time      {long} on {machine.cores} cores{untimed}"
        for remark in self.remarks:
            yield f"expect    {remark}"

    def ratios(self, per_class: float | None, vocabulary: int | None) -> dict[str, float | None]:
        """Block name -> noise over signal at best; None where it is not known."""
        known = per_class is not None and self.classes is not None
        return {
            block.name: block.noise_to_signal(per_class or 0.0, self.classes or 1, vocabulary) if known else None
            for block in self.blocks
        }

    def seconds(self, machine: Machine) -> float:
        """About how long the embedded model writes, choosing included."""
        return self.texts * _CORE_SECONDS_PER_TEXT / machine.cores

    def cells(self, vocabulary: int | None) -> int | None:
        """Cells of the largest release, about: each is noised and held in memory. None while any are not known."""
        if self.classes is None or (self.vocabulary_cells and vocabulary is None):
            return None
        found = self.classes * self.vocabulary_cells * (vocabulary or 0)
        for block in self.blocks:
            cells = block.all_cells(vocabulary)
            if cells is None:
                return None
            found += cells * (1 if block.shared else self.classes)
        return found

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
    noise_multiplier: float,
    texts: int,
    classes: int | None = None,
    *,
    more: Mapping[str, tuple[float, int | None]] | None = None,
) -> Forecast:
    """Forecast of the unified statistic.

    Args:
        noise_multiplier: of the statistic.
        texts: to be written.
        classes: that are measured; None while labels are not known.
        more: block name -> weight (scale times norm bound) and cells of one class, beside those of the public map.
    """
    more = more or {}
    total = noise_multiplier * math.hypot(record_sensitivity(), *(weight for weight, _ in more.values()))
    known, blocks = block_cells(noise_multiplier), []
    for name, weight in block_weights().items():
        fixed, a_token = known[name]
        # Released as record counts: each position of a record fills a cell of its own, see `OpeningBlock`.
        norm = math.sqrt(OPENING_POSITIONS) if name == "opening" else 1.0
        whole = name in _WHOLE
        blocks.append(BlockForecast(name, norm * total / weight, fixed, name == "second", a_token, norm, whole))
    blocks += [BlockForecast(name, total / weight, cells) for name, (weight, cells) in more.items()]
    return Forecast(tuple(blocks), texts, 0, classes=classes)
