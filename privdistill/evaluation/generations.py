"""Read the runs under evaluation: their rows, what their claims say, and the real records they were made from.

Several runs must be generations of one configuration. It reads run directories only and computes nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from privdistill.candidate import read_claim
from privdistill.config import RunConfig
from privdistill.errors import RunError, UsageError
from privdistill.evaluation.schema import GeneratedRun
from privdistill.runs import RunDirectory
from privdistill.synthesis.teacher import Teacher

__all__ = ["Generation", "Generations", "Labelled", "load_generations", "test_records"]

_ADVICE = "A test file has the columns that the run was told of, and the one of --group-column; rename it in the file"
_MOST_DROPPED = 0.5
"""Share of a test file that may be left out: beyond, it is the corpus that was named, or a part of it."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Records.

    Attributes:
        texts: of the records.
        labels: one each, or None.
        groups: one each, or None.
        dropped: test records that are left out here since a run has read the same text; None: nobody could look.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None
    groups: tuple[str, ...] | None = None
    dropped: int | None = None


@dataclass(frozen=True, slots=True)
class Generation:
    """The rows of one run, what its claim says of them, and its teacher, if the recipe has one."""

    facts: GeneratedRun
    texts: tuple[str, ...]
    labels: tuple[str, ...]
    teacher: Teacher | None = None


@dataclass(frozen=True, slots=True)
class Generations:
    """Runs of one configuration.

    Attributes:
        runs: one or more.
        config: of all of them.
        real: the records that the mechanisms of the first run read, or None where it no longer keeps them.
        read: the texts that the mechanisms of any run read, or None where one of them no longer keeps its own.
    """

    runs: tuple[Generation, ...]
    config: RunConfig
    real: Labelled | None
    read: frozenset[str] | None = None


def load_generations(directories: Sequence[RunDirectory]) -> Generations:
    """Read rows, claims and what the mechanisms read.

    Raises:
        UsageError: no run, one run twice, or runs of different configurations.
        RunError: a run's rows cannot be read.
    """
    if not directories:
        raise UsageError("expected at least one run, found none; name a directory made by generate")
    manifests = [directory.manifest() for directory in directories]
    if len({manifest.run_id for manifest in manifests}) < len(manifests):
        raise UsageError("a run was named twice; several runs are independent generations, name each once")
    first = manifests[0]
    for manifest in manifests[1:]:
        differing = [
            name
            for name in ("privacy", "synthesis", "source")
            if getattr(manifest.config, name) != getattr(first.config, name)
        ]
        if differing or manifest.source_id != first.source_id:
            raise UsageError(
                f"runs differ in {', '.join(differing) or 'their source in the ledger'}; expected generations of one "
                "configuration. Evaluate the others by themselves"
            )
    sides = [_real(directory, first.config) for directory in directories]
    kept = [set(side.texts) for side in sides if side is not None]
    read = frozenset().union(*kept) if len(kept) == len(sides) else None
    return Generations(tuple(_generation(directory) for directory in directories), first.config, sides[0], read)


def test_records(
    made: Generations, read: Callable[..., Any], same: Callable[[str], str], group_column: str | None
) -> Labelled:
    """Read a test file by the columns of the runs, without the records that a run has read.

    A student that is asked what its rows were made from is asked about the past: such records flatter a run, and real
    training records beside it even more.

    Args:
        made: the runs.
        read: takes text_column, fields, label_column, group_column, advice; returns texts, labels, groups.
        same: what two texts have in common that are copies of each other.
        group_column: column whose values make groups, or None.

    Raises:
        UsageError: most of the test records are training records of a run.
    """
    source = made.config.source
    columns = {"text_column": source.text_column, "fields": source.fields, "label_column": source.label_column}
    found = read(**columns, group_column=group_column, advice=_ADVICE)
    if made.read is None:
        return Labelled(found.texts, found.labels, found.groups)
    trained = {same(text) for text in made.read}
    fresh = [i for i, text in enumerate(found.texts) if same(text) not in trained]
    dropped = len(found.texts) - len(fresh)
    if dropped > _MOST_DROPPED * len(found.texts):
        raise UsageError(
            f"expected test records that were kept aside, found {dropped} of {len(found.texts)} that the run was made "
            "from; name a file of records that were never in the corpus"
        )

    def of(column: Sequence[str] | None) -> tuple[str, ...] | None:
        return None if column is None else tuple(column[i] for i in fresh)

    return Labelled(tuple(found.texts[i] for i in fresh), of(found.labels), of(found.groups), dropped)


def _generation(directory: RunDirectory) -> Generation:
    import pyarrow.parquet as pq

    manifest, claim = directory.manifest(), read_claim(directory)
    try:
        table = pq.read_table(directory.data, columns=["text", "label"])
    except OSError:
        raise RunError(f"{directory.data} cannot be read; generate a new run") from None
    seconds = (datetime.fromisoformat(claim.created_at) - datetime.fromisoformat(manifest.created_at)).total_seconds()
    facts = GeneratedRun(
        run_id=manifest.run_id,
        recipe=claim.recipe,
        epsilon=claim.epsilon,
        delta=claim.delta,
        rows=claim.rows,
        seconds=None if manifest.resumed else max(seconds, 0.0),  # it may have stood still for days in between
    )
    teacher = Teacher.load(directory.teacher) if directory.teacher.is_file() else None
    return Generation(facts, tuple(table["text"].to_pylist()), tuple(table["label"].to_pylist()), teacher)


def _real(directory: RunDirectory, config: RunConfig) -> Labelled | None:
    import pyarrow.parquet as pq

    file = directory.private / "train.parquet"
    if not file.is_file():
        return None
    table = pq.read_table(file)
    labels = tuple(table["label"].to_pylist()) if config.source.label_column is not None else None
    return Labelled(tuple(table["text"].to_pylist()), labels)
