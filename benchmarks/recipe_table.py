"""The recipe benchmark as Markdown: one table a corpus, recipes by epsilon, between the floor and the ceiling."""

from collections.abc import Sequence
from statistics import mean

from benchmarks.recipe_floor import Auto, Majority, above_floor
from benchmarks.recipe_lines import (
    CEILING,
    EQUAL,
    FLOOR,
    STUDENTS,
    WHOLE_RUN,
    Line,
    cells_of,
    commits,
    interval,
    latest,
    of,
    recipes_of,
    seen_by,
    shown,
)


def markdown(lines: Sequence[Line], auto: Auto, majority: Majority) -> str:
    """The whole report."""
    whole = _whole([line for line in lines if line.get("origin") == WHOLE_RUN])
    lines = cells_of(lines)
    machines = sorted({line["machine"] for line in lines})
    versions = sorted({", ".join(f"{k} {v}" for k, v in line["code"]["versions"].items()) for line in lines})
    factors = sorted({f"{line['pool_factor']:g}" for line in lines if line.get("pool_factor")})
    dates = sorted(line["date"] for line in latest(lines))
    out = [
        "# Recipes beside each other",
        "",
        f"{dates[0]} to {dates[-1]}; {'; '.join(machines)}; {len(commits(lines))} commits, see `code`.",
        *[f"{one}." for one in versions],
        whole,
        "",
        "Students trained on synthetic rows, tested on real test records; delta 1e-6, labels declared, holdout 0.3.",
        "Several generations: mean ± standard deviation. One generation: the 95 % interval over test records (Wilson;",
        "bootstrap for balanced accuracy), which does not say how generations differ. Public texts of one generation",
        "are shared by the cells that one run makes. `auto is` names the recipe that `auto` stands for.",
        "`code` is the commit that made a row's cells: rows are like for like when it is the same. A row with cells of",
        "several commits is **mixed**; which is which stands below the tables.",
        "A recipe that sees a student chooses rows by that student's view of text, or tries class shares out on it, so",
        "that student's table flatters the recipe.",
        *(
            [f"Candidates a row: {', '.join(factors)}. A run by default writes more, and does better for it."]
            if factors
            else []
        ),
        "",
    ]
    out += above_floor(lines, auto, majority)
    for corpus, rows in sorted({(line["corpus"], line["rows"]) for line in lines}):
        out += _table(lines, corpus, rows, auto, majority(corpus))
    return "\n".join(out).rstrip() + "\n"


def _whole(runs: Sequence[Line]) -> str:
    """How long the newest run took that made every cell."""
    found = [line for line in runs if line["in_one_go"]]
    if not found:
        return "No run kept here made all cells of `make bench-recipes` in one go, so how long that takes is not known."
    last = found[-1]
    return (
        f"All that `make bench-recipes` runs, in one go: {last['cells']} cells of {last['rows']} rows in "
        f"{last['seconds'] / 60:.1f} minutes of wall time, {last['start']} to {last['end']}; "
        f"{last['machine']}, threads: {last['threads']}; commit {last['code']['commit']}."
    )


def _table(lines: Sequence[Line], corpus: str, rows: int, auto: Auto, majority: float) -> list[str]:
    own = [line for line in lines if (line["corpus"], line["rows"]) == (corpus, rows)]
    epsilons = sorted({line["epsilon"] for line in own if line["epsilon"] > 0})
    metric, records = own[0]["metric"].replace("_", " "), own[0]["test_records"]
    peers = sorted({line["recipe"] for line in own if line.get("origin") == "peer"})
    out = [f"## {corpus}, {rows} rows: {metric} on {records} test records", ""]
    for student, title in STUDENTS.items():
        settings = [f"epsilon {epsilon:g}" for epsilon in epsilons]
        head = [f"student {title} ({seen_by(own, student)})", *settings, "reference", "seconds", "code"]
        out += [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
        out += [_row(own, recipe, student, epsilons) for recipe in recipes_of(own)]
        if epsilons and "auto" not in recipes_of(own):
            out.append(f"| auto is | {' | '.join(auto(corpus, epsilon, rows) for epsilon in epsilons)} | | | |")
        out += [_row(own, name, student, epsilons) for name in (*peers, FLOOR, EQUAL, CEILING) if _any(own, name)]
        out += [f"| majority class |{' |' * len(epsilons)} {majority:.3f} | | |", ""]
    out += _mixed(own)
    out += _teachers(own, corpus, rows, epsilons)
    out += _trained(own, corpus, rows)
    out += [_peer(line) for line in latest(own) if line.get("origin") == "peer"]
    out += [
        f"* {line['recipe']}, epsilon {line['epsilon']:g}: {line['status']}: {line['reason']}"
        for line in latest(own)
        if line["status"] != "done"
    ]
    return [*out, ""]


def _any(lines: Sequence[Line], recipe: str) -> bool:
    return any(line["recipe"] == recipe for line in lines)


def _row(lines: Sequence[Line], recipe: str, student: str, epsilons: Sequence[float]) -> str:
    """A recipe, or what has no epsilon of ours (0 in the lines): a reference, a peer."""
    found = [line for line in latest(lines) if line["recipe"] == recipe]
    cells = [shown([line for line in found if line["epsilon"] == epsilon], student) for epsilon in (*epsilons, 0.0)]
    took = [line["seconds"] for line in found if "seconds" in line]
    count = f", {found[0]['trained_rows']} records" if recipe == CEILING else ""
    code = commits(found)
    made = next(iter(code)) if len(code) == 1 else "**mixed**"
    return f"| {recipe}{count} | {' | '.join(cells)} | {f'{mean(took):.0f}' if took else ''} | {made} |"


def _mixed(lines: Sequence[Line]) -> list[str]:
    """Rows of several commits, and which cells are of which."""
    out = []
    for name in sorted({line["recipe"] for line in lines}):
        code = commits([line for line in lines if line["recipe"] == name])
        if len(code) > 1:
            ordered = sorted(code.items(), key=lambda one: one[1])
            told = (f"{commit} (epsilon {', '.join(f'{e:g}' for e in found)})" for commit, found in ordered)
            out.append(f"* code of {name} is mixed: {', '.join(told)}")
    return out


def _peer(line: Line) -> str:
    """What another tool said of its run, and whether its students tell the classes apart."""
    facts = line["peer"]
    told = ", ".join(f"{name} {interval(line, student, 'balanced_accuracy')}" for student, name in STUDENTS.items())
    measured = {name: line["scores"][student]["balanced_accuracy"] for student, name in STUDENTS.items()}
    # Short of perfect, balanced accuracy has no spread over test records only when every record gets the same answer.
    single = ", ".join(name for name, (_, low, high) in measured.items() if low == high < 1)
    return (
        f"* {line['recipe']}: {line['rows']} rows, {facts['empty_rows']} of them without text; "
        f"epsilon {facts['epsilon_claimed']} at delta {facts['delta']:g} by its own account, "
        f"{facts['records']} records, {facts['epochs']:g} epochs, {facts['training_seconds']:.0f} of "
        f"{facts['seconds']:.0f} seconds training. Balanced accuracy of its students: {told}"
        + (f"; one class is all that is answered by {single}" if single else "")
    )


def _teachers(lines: Sequence[Line], corpus: str, rows: int, epsilons: Sequence[float]) -> list[str]:
    """What the DP teacher that a recipe read off its release answers by itself, where it has one."""
    out = []
    for recipe in recipes_of(lines):
        cells = {e: [x["teacher"] for x in of(lines, corpus, rows, recipe, e) if x.get("teacher")] for e in epsilons}
        if any(cells.values()):
            told = ", ".join(f"{mean(found):.3f} at epsilon {e:g}" for e, found in cells.items() if found)
            out.append(f"* the DP teacher of {recipe} itself: {told}")
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
        students = ", ".join(f"{title} {interval(sampled, name, line['metric'])}" for name, title in STUDENTS.items())
        out.append(
            f"* the model that {line['recipe']} trained at epsilon {line['epsilon']:g}: perplexity of {gain['n']} real "
            f"test texts {before:.1f} before, {after:.1f} after; {gain['mean']:+.3f} ± "
            f"{1.96 * gain['standard_error']:.3f} nats a token (95 %, paired by text). "
            f"As sampled, {sampled['rows']} rows, nothing chosen: {students}"
        )
    return out
