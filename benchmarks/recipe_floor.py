"""Which recipes beat the floor at epsilon 4 (the better of prompts alone and of one constant answer), or the default.

Lines keep no answers to single test records, so nothing can be paired: a cell is above the floor when the lower end of
its own interval is, in every generation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from benchmarks.corpora import names
from benchmarks.recipe_lines import FLOOR, STUDENTS, Line, of, recipes_of, values

__all__ = ["Auto", "Majority", "above_floor", "behind"]

Auto = Callable[[str, float, int], str]
Majority = Callable[[str], float]

_EPSILON = 4.0
_WANTED = 2


@dataclass(frozen=True)
class Verdict:
    """One recipe against the floor: by corpus the students that stand above it, or None where it has no cell."""

    recipe: str
    students: Mapping[str, Sequence[str] | None]

    @property
    def every(self) -> int:
        """Corpora with every student above the floor."""
        return sum(len(above or ()) == len(STUDENTS) for above in self.students.values())

    @property
    def some(self) -> int:
        """Corpora with at least one student above the floor."""
        return sum(bool(above) for above in self.students.values())

    def row(self) -> str:
        """Its line of the table."""
        told = [_named(above) for above in self.students.values()]
        shares = [f"{count} of {len(self.students)}" for count in (self.every, self.some)]
        return f"| {' | '.join([self.recipe, *told, *shares])} |"

    def failing(self) -> str:
        """Where it is not shown to beat the floor, in words."""
        short = []
        for student, title in STUDENTS.items():
            where = [corpus for corpus, above in self.students.items() if student not in (above or ())]
            if where:
                short.append(f"with {title} not on {', '.join(where)}")
        how = "every" if self.some >= _WANTED else "any"
        return (
            f"{self.recipe} is not shown to beat the floor on {_WANTED} corpora with {how} student: {'; '.join(short)}"
        )


def above_floor(lines: Sequence[Line], auto: Auto, majority: Majority) -> list[str]:
    """For each number of rows: recipes by corpora, and in words which recipe is not shown to beat the floor.

    Args:
        lines: cells and references.
        auto: the recipe that `auto` stands for, of corpus, epsilon and rows.
        majority: of a corpus, the score of always answering its commonest class.
    """
    out = []
    for rows in sorted({line["rows"] for line in lines if line["epsilon"] == _EPSILON}):
        own = [line for line in lines if line["rows"] == rows]
        floors = {corpus: _floors(own, corpus, rows, majority) for corpus in names()}
        head = ["recipe", *names(), "with every student", "with at least one"]
        verdicts = [_verdict(own, rows, recipe, floors) for recipe in recipes_of(own)]
        told = (", ".join(f"{STUDENTS[name]} {one:.3f}" for name, one in found.items()) for found in floors.values())
        out += [
            f"## Above the floor at epsilon {_EPSILON:g}, {rows} rows",
            "",
            "The floor is the better of the zero-shot pool with the same student and of always answering the commonest",
            "class. A student is named where the lower end of its own 95 % interval is above the floor: not paired,",
            "for lines keep no single answers, and the floor taken as exact. What has no cell is not shown to beat it.",
            f"Wanted of each recipe: {_WANTED} of {len(names())} corpora.",
            "",
            f"| {' | '.join(head)} |",
            "| --- " * len(head) + "|",
            f"| the floor | {' | '.join(told)} | | |",
            *(one.row() for one in verdicts),
            "",
            *(f"* {one.failing()}. {_taken(own, rows, one.recipe, auto)}" for one in verdicts if one.every < _WANTED),
            "",
        ]
    return out


def _floors(lines: Sequence[Line], corpus: str, rows: int, majority: Majority) -> dict[str, float]:
    """By student; none without a zero-shot pool."""
    pool = of(lines, corpus, rows, FLOOR)
    return {name: max(mean(values(pool, name)), majority(corpus)) for name in STUDENTS if values(pool, name)}


def _verdict(lines: Sequence[Line], rows: int, recipe: str, floors: Mapping[str, Mapping[str, float]]) -> Verdict:
    students: dict[str, Sequence[str] | None] = {}
    for corpus, floor in floors.items():
        done = [line for line in of(lines, corpus, rows, recipe, _EPSILON) if line["status"] == "done"]
        lows = {name: min((line["scores"][name][line["metric"]][1] for line in done), default=0.0) for name in floor}
        students[corpus] = [name for name, low in lows.items() if low > floor[name]] if done else None
    return Verdict(recipe, students)


def _named(above: Sequence[str] | None) -> str:
    if above is None:
        return "no cell"
    return "every student" if len(above) == len(STUDENTS) else ", ".join(STUDENTS[name] for name in above) or "none"


def _taken(lines: Sequence[Line], rows: int, recipe: str, auto: Auto) -> str:
    settings = sorted({(line["corpus"], line["epsilon"]) for line in lines if line["epsilon"] > 0})
    where = [
        f"{corpus} at epsilon {epsilon:g}" for corpus, epsilon in settings if auto(corpus, epsilon, rows) == recipe
    ]
    return f"`auto` takes it all the same: {', '.join(where)}" if where else "`auto` takes it nowhere in this report"


def behind(lines: Sequence[Line], recipe: str, default: str) -> list[str]:
    """Where a recipe is below the default by more than both intervals, or was not run; empty: `auto` may take it.

    Args:
        lines: cells and references.
        recipe: that is asked about.
        default: the recipe that it would take the place of.

    Returns:
        One sentence for each corpus, number of rows, epsilon and student of the default's cells.
    """
    out = []
    asked = {(line["corpus"], line["rows"], line["epsilon"]) for line in lines if line["recipe"] == default}
    for corpus, rows, epsilon in sorted(asked):
        for student, title in STUDENTS.items():
            cell = f"{corpus}, {rows} rows, epsilon {epsilon:g}, {title}"
            high, low = (
                [line["scores"][student][line["metric"]][end] for line in found if line["status"] == "done"]
                for found, end in (
                    (of(lines, corpus, rows, recipe, epsilon), 2),
                    (of(lines, corpus, rows, default, epsilon), 1),
                )
            )
            if not high:
                out.append(f"{cell}: not run")
            elif low and max(high) < min(low):
                out.append(f"{cell}: at most {max(high):.3f}, {default} at least {min(low):.3f}")
    return out
