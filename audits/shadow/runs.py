"""Drive a generator through a command line, with and without the target, in random order.

Each run has a folder of its own with one input file; the command gets its path, the path of the output and the number
of the run. Nothing of the output is interpreted here. A run that fails is counted, never repeated: a second try would
be a choice.
"""

import json
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audits.errors import BadInputError

__all__ = ["Template", "drive", "parse_template"]

_FIELDS = ("{input}", "{output}")


@dataclass(frozen=True, slots=True)
class Template:
    """A command line with `{input}`, `{output}` and, if wanted, `{run}`; run without a shell."""

    words: tuple[str, ...]

    def command(self, given: Path, wanted: Path, run: int) -> list[str]:
        """Fill in the fields of one run."""
        values = {"{input}": str(given), "{output}": str(wanted), "{run}": str(run)}
        out = []
        for word in self.words:
            for field, value in values.items():
                word = word.replace(field, value)
            out.append(word)
        return out


def parse_template(text: str) -> Template:
    """Split a command line into words.

    Raises:
        BadInputError: it has no `{input}` or no `{output}`, or is not a command line.
    """
    try:
        words = tuple(shlex.split(text))
    except ValueError:
        raise BadInputError("--command is not a command line (a quotation mark is not closed)") from None
    missing = [field for field in _FIELDS if not any(field in word for word in words)]
    if missing:
        raise BadInputError(f"--command has no {' and no '.join(missing)}; the generator must be told where they are")
    return Template(words)


def drive(
    template: Template,
    source: Sequence[dict[str, str]],
    target: Sequence[dict[str, str]],
    runs: int,
    folder: Path,
    *,
    timeout: float,
    rng: np.random.Generator,
    tell: Callable[[str, float], None],
) -> Iterator[tuple[bool, Path | None]]:
    """Yield (with the target, output or None for a failed run) of `runs` runs of either kind, in random order.

    Args:
        template: the generator.
        source: records that every run gets.
        target: records of the one unit that half of the runs get as well, at random places.
        runs: of either kind.
        folder: working folder; every run makes one in it.
        timeout: seconds for one run.
        rng: order of runs and places of the target.
        tell: progress.
    """
    order = rng.permutation(np.arange(2 * runs) < runs)
    for number, included in enumerate(order.tolist()):
        tell(f"shadow run {number + 1} of {2 * runs}", number / (2 * runs))
        place = folder / f"run-{number:05d}"
        place.mkdir(mode=0o700)
        given, wanted = place / "input.jsonl", place / "output.jsonl"
        records = list(source)
        for record in target if included else ():
            records.insert(int(rng.integers(0, len(records) + 1)), record)
        given.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), encoding="utf-8")
        yield included, wanted if _run(template.command(given, wanted, number), timeout) and wanted.is_file() else None


def _run(command: list[str], timeout: float) -> bool:
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=timeout
        )
    except FileNotFoundError:
        raise BadInputError(f"--command: there is no program {Path(command[0]).name!r}") from None
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
