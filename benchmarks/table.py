"""Results as a table: accuracies with their spread over generations, and as shares of real data's."""

from collections.abc import Mapping
from statistics import mean, stdev
from typing import Any


def markdown(results: Mapping[str, Any]) -> str:
    """The whole report."""
    lines = [
        "# Quality of synthetic rows",
        "",
        *[_around(name, one) for name, one in results["corpora"].items()],
        "",
        f"{results['rows']} synthetic rows, delta 1e-6. Several generations: mean ± one standard deviation. One:",
        "the 95 % interval over test records (bootstrap), which does not say how generations differ.",
        "`of real` compares with the same student trained on the train side that was measured. Accuracy on the test",
        "records; of text messages, where one class is rare, balanced accuracy. Both students are seen: the choice of",
        "rows reckons with what a TF-IDF and a MiniLM student would learn of them. `recipes.md` has a student that it",
        "does not see.",
        "",
        "| corpus | trained on | generations | TF-IDF (seen) | of real | MiniLM (seen) | of real | seconds |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, one in results["corpora"].items():
        done = [run for runs in one["epsilon"].values() for run in runs]
        real = {kind: mean(run["real"][kind] for run in done) for kind in ("words", "embedding")} if done else None
        lines.append(_row(name, "real, train side", [run["real"] for run in done], real))
        lines.append(_row(name, "real, all private", [one["references"]["real_all_private"]], real))
        lines.append(_row(name, "zero-shot pool (epsilon 0)", [one["references"]["zero_shot"]], real))
        majority = one["references"]["majority"]
        lines.append(f"| {name} | majority class | | {majority:.3f} | | {majority:.3f} | | |")
        for epsilon, runs in one["epsilon"].items():
            if runs:
                seconds = f"{mean(run['seconds'] for run in runs):.0f}"
                alone = runs[0].get("intervals") if len(runs) == 1 else None
                lines.append(_row(name, f"epsilon {epsilon}", [r["synthetic"] for r in runs], real, seconds, alone))
                teacher = _spread([run["teacher"] for run in runs])
                lines.append(f"| {name} | (DP teacher itself, epsilon {epsilon}) | {len(runs)} | {teacher} | | | | |")
    lines += [
        "",
        "| corpus | epsilon | near-duplicates | preambles | unfinished | echoes | commonest opening | lengths (TV) |",
    ]
    lines.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, one in results["corpora"].items():
        for epsilon, runs in one["epsilon"].items():
            if runs:
                keys = ("near_duplicates", "preambles", "unfinished", "echoes", "repeated_openings")
                shares = " | ".join(f"{mean(run['form'][key] for run in runs):.3f}" for key in keys)
                lines.append(f"| {name} | {epsilon} | {shares} | {mean(run['length_distance'] for run in runs):.3f} |")
    return "\n".join(lines) + "\n"


def _around(name: str, one: Mapping[str, Any]) -> str:
    around = one["circumstances"]
    versions = ", ".join(f"{package} {number}" for package, number in around["versions"].items())
    factor = around["performance"]["pool_factor"]
    tested = {run["tested"] for runs in one["epsilon"].values() for run in runs if "tested" in run}
    records = f" {max(tested):,} test records;" if tested else ""
    candidates = "candidates a row by the recipe's rule" if factor is None else f"{factor:g} candidates a row"
    return (
        f"* {name}:{records} {around['date']}, {_commits(one)}, {candidates}; {around['processor']}, "
        f"{around['cores']} cores, Python {around['python']}, {versions}."
    )


def _commits(one: Mapping[str, Any]) -> str:
    """Which code made the generations, by epsilon where they differ."""
    made = {
        epsilon: " and ".join(sorted({str(run.get("commit", one["commit"])) for run in runs}))
        for epsilon, runs in one["epsilon"].items()
        if runs
    }
    if len(set(made.values())) < 2:
        named = str(next(iter(made.values()), one["commit"]))
        return f"commits {named}" if " and " in named else f"commit {named}"
    return "commits " + ", ".join(f"{commits} (epsilon {epsilon})" for epsilon, commits in made.items())


def _row(
    name: str,
    what: str,
    scores: list[Mapping[str, float]],
    real: Mapping[str, float] | None,
    seconds: str = "",
    intervals: Mapping[str, list[float]] | None = None,
) -> str:
    cells = []
    for kind in ("words", "embedding"):
        values = [one[kind] for one in scores]
        around = f" ({intervals[kind][0]:.3f} to {intervals[kind][1]:.3f})" if intervals else ""
        cells += [_spread(values) + around, f"{mean(values) / real[kind]:.3f}" if values and real else ""]
    return f"| {name} | {what} | {len(scores)} | {' | '.join(cells)} | {seconds} |"


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    return f"{mean(values):.3f}" + (f" ± {stdev(values):.3f}" if len(values) > 1 else "")
