"""Lines of the recipe benchmark as they were kept: which count, and what they say of a cell. It prints nothing."""

from collections.abc import Mapping, Sequence
from statistics import mean, stdev
from typing import Any

from privdistill.config import Synthesis
from privdistill.evaluation.students.seen import seen_students

Line = Mapping[str, Any]

FLOOR, CEILING, EQUAL = "zero-shot pool", "real, train side", "real, random"
WHOLE_RUN = "whole run"
"""Origin of the line that says how long one run of the benchmark took."""
STUDENTS = {"words": "TF-IDF", "encoder": "MiniLM", "static": "static embeddings"}


def cells_of(lines: Sequence[Line]) -> list[Line]:
    """Lines of cells and references, those of whole runs apart."""
    return [line for line in lines if line.get("origin") != WHOLE_RUN]


def latest(lines: Sequence[Line]) -> list[Line]:
    """The newest line of each cell."""
    newest = {
        (line["corpus"], line["recipe"], f"{line['epsilon']:g}", line["rows"], line["generation"]): line
        for line in lines
    }
    return list(newest.values())


def of(lines: Sequence[Line], corpus: str, rows: int, recipe: str, epsilon: float = 0.0) -> list[Line]:
    """Generations of one cell."""
    return [
        line
        for line in latest(lines)
        if (line["corpus"], line["rows"], line["recipe"], line["epsilon"]) == (corpus, rows, recipe, epsilon)
    ]


def values(lines: Sequence[Line], student: str) -> list[float]:
    """The corpus's metric of each finished generation."""
    return [line["scores"][student][line["metric"]][0] for line in lines if line["status"] == "done"]


def recipes_of(lines: Sequence[Line]) -> list[str]:
    """Recipes that have cells, references apart."""
    return sorted({line["recipe"] for line in lines if line["epsilon"] > 0})


def seen_by(lines: Sequence[Line], student: str) -> str:
    """Which recipes choose rows by a student's view of text."""
    recipes = recipes_of(lines)
    those = [name for name in recipes if student in seen_students([name], Synthesis())]
    if recipes and those == recipes:
        return "seen by the choice of every recipe"
    return f"seen by the choice of {', '.join(those)}" if those else "seen by no choice"


def commits(lines: Sequence[Line]) -> dict[str, list[float]]:
    """Which code made the cells, and at which epsilons."""
    made: dict[str, set[float]] = {}
    for line in latest(lines):
        made.setdefault(line["code"]["commit"], set()).add(line["epsilon"])
    return {commit: sorted(epsilons) for commit, epsilons in made.items()}


def shown(lines: Sequence[Line], student: str) -> str:
    """One cell of a table: the generations' spread, or the interval of the only one, or why there is none."""
    found = values(lines, student)
    if not found:
        return "; ".join(sorted({line["status"] for line in lines})) or ""
    if len(found) > 1:
        return f"{mean(found):.3f} ± {stdev(found):.3f} ({len(found)})"
    done = next(line for line in lines if line["status"] == "done")
    return interval(done, student, done["metric"])


def interval(line: Line, student: str, metric: str) -> str:
    """Value and 95 % interval of one measure."""
    value, low, high = line["scores"][student][metric]
    return f"{value:.3f} ({low:.3f} to {high:.3f})"
