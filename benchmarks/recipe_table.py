"""The recipe benchmark as Markdown: one table a corpus, recipes by epsilon, between the floor and the ceiling."""

from collections.abc import Callable, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

Line = Mapping[str, Any]

FLOOR, CEILING, EQUAL = "zero-shot pool", "real, train side", "real, random"
_TITLES = {"words": "TF-IDF", "encoder": "MiniLM (seen by recipes)", "static": "static embeddings"}


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


def markdown(lines: Sequence[Line], auto: Callable[[str, float, int], str]) -> str:
    """The whole report."""
    machines = sorted({line["machine"] for line in lines})
    commits = sorted({line["code"]["commit"] for line in lines})
    versions = sorted({", ".join(f"{k} {v}" for k, v in line["code"]["versions"].items()) for line in lines})
    factors = sorted({f"{line['pool_factor']:g}" for line in lines if line.get("pool_factor")})
    first, last = min(line["date"] for line in lines), max(line["date"] for line in lines)
    out = [
        "# Recipes beside each other",
        "",
        f"{first} to {last}; {'; '.join(machines)}; commits {', '.join(commits)}.",
        *[f"{one}." for one in versions],
        "",
        "Students trained on synthetic rows, tested on real test records; delta 1e-6, labels declared, holdout 0.3.",
        "Several generations: mean ± standard deviation. One generation: the 95 % interval over test records (Wilson;",
        "bootstrap for balanced accuracy), which does not say how generations differ. Public texts of one generation",
        "are shared by all of its cells, so cells are paired. `auto is` names the recipe that `auto` stands for.",
        *(
            [f"Candidates a row: {', '.join(factors)}. A run by default writes more, and does better for it."]
            if factors
            else []
        ),
        "",
    ]
    for corpus, rows in sorted({(line["corpus"], line["rows"]) for line in lines}):
        out += _table(lines, corpus, rows, auto)
    return "\n".join(out).rstrip() + "\n"


def _table(lines: Sequence[Line], corpus: str, rows: int, auto: Callable[[str, float, int], str]) -> list[str]:
    own = [line for line in lines if (line["corpus"], line["rows"]) == (corpus, rows)]
    epsilons = sorted({line["epsilon"] for line in own if line["epsilon"] > 0})
    metric, records = own[0]["metric"].replace("_", " "), own[0]["test_records"]
    out = [f"## {corpus}, {rows} rows: {metric} on {records} test records", ""]
    for student in _TITLES:
        head = [f"student {_TITLES[student]}", *(f"epsilon {epsilon:g}" for epsilon in epsilons), "seconds"]
        out += [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
        for recipe in recipes_of(own):
            found = [of(own, corpus, rows, recipe, epsilon) for epsilon in epsilons]
            took = [line["seconds"] for cell in found for line in cell if "seconds" in line]
            shown = [_shown(cell, student) for cell in found]
            out.append(f"| {recipe} | {' | '.join(shown)} | {f'{mean(took):.0f}' if took else ''} |")
        if epsilons and "auto" not in recipes_of(own):
            out.append(f"| auto is | {' | '.join(auto(corpus, epsilon, rows) for epsilon in epsilons)} | |")
        peers = sorted({line["recipe"] for line in own if line.get("origin") == "peer"})
        for name in (*peers, FLOOR, EQUAL, CEILING):
            found = of(own, corpus, rows, name)
            if found:
                cells = [_shown(found, student)] + [""] * (len(epsilons) - 1)
                count = f", {found[0]['trained_rows']} records" if name == CEILING else ""
                out.append(f"| {name}{count} | {' | '.join(cells[: max(len(epsilons), 1)])} | |")
        out.append("")
    out += _teachers(own, corpus, rows, epsilons)
    out += _trained(own, corpus, rows)
    out += _beaten(own, corpus, rows)
    out += [
        f"* {line['recipe']}, epsilon {line['epsilon']:g}: {line['status']}: {line['reason']}"
        for line in latest(own)
        if line["status"] != "done"
    ]
    return [*out, ""]


def _teachers(lines: Sequence[Line], corpus: str, rows: int, epsilons: Sequence[float]) -> list[str]:
    """What the DP teacher that a recipe read off its release answers by itself, where it has one."""
    out = []
    for recipe in recipes_of(lines):
        cells = {e: [x["teacher"] for x in of(lines, corpus, rows, recipe, e) if x.get("teacher")] for e in epsilons}
        if any(cells.values()):
            shown = ", ".join(f"{mean(found):.3f} at epsilon {e:g}" for e, found in cells.items() if found)
            out.append(f"* the DP teacher of {recipe} itself: {shown}")
    return out


def _trained(lines: Sequence[Line], corpus: str, rows: int) -> list[str]:
    """Of recipes that train the language model: likelihood of real test text, and their texts without any choice."""
    out = []
    found = [
        line for line in latest(lines) if (line["corpus"], line["rows"]) == (corpus, rows) and "likelihood" in line
    ]
    for line in sorted(found, key=lambda line: (line["recipe"], line["epsilon"], line["generation"])):
        said, sampled = line["likelihood"], line["sampled"]
        gain, (before, after) = said["gain_per_token"], said["perplexity"]
        students = ", ".join(f"{_TITLES[name]} {_interval(sampled, name, line['metric'])}" for name in _TITLES)
        out.append(
            f"* the model that {line['recipe']} trained at epsilon {line['epsilon']:g}: perplexity of {gain['n']} real "
            f"test texts {before:.1f} before, {after:.1f} after; {gain['mean']:+.3f} ± "
            f"{1.96 * gain['standard_error']:.3f} nats a token (95 %, paired by text). "
            f"As sampled, {sampled['rows']} rows, nothing chosen: {students}"
        )
    return out


def _interval(line: Line, student: str, metric: str) -> str:
    value, low, high = line["scores"][student][metric]
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


def _beaten(lines: Sequence[Line], corpus: str, rows: int) -> list[str]:
    """Which recipes do not beat prompts alone at epsilon 4."""
    out = []
    floor = of(lines, corpus, rows, FLOOR)
    for recipe in recipes_of(lines):
        cell = of(lines, corpus, rows, recipe, 4.0)
        behind = [
            _TITLES[student]
            for student in _TITLES
            if values(cell, student)
            and values(floor, student)
            and mean(values(cell, student)) <= mean(values(floor, student))
        ]
        if behind:
            out.append(f"* {recipe} does not beat the zero-shot pool at epsilon 4 with: {', '.join(behind)}")
    return out


def _shown(lines: Sequence[Line], student: str) -> str:
    found = values(lines, student)
    if not found:
        return "; ".join(sorted({line["status"] for line in lines})) or ""
    if len(found) > 1:
        return f"{mean(found):.3f} ± {stdev(found):.3f} ({len(found)})"
    done = next(line for line in lines if line["status"] == "done")
    return _interval(done, student, done["metric"])
