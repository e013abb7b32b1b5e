"""Ablation lines as a table: paired differences over test records, beside what writing the candidates again does.

A difference has the interval of paired records for the pools at hand; rows that write anew also differ by the luck of
their sampling, so a difference counts only when it exceeds both. It runs nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.switches import SWITCHES, Switch
from privdistill.evaluation.intervals import paired_difference

__all__ = ["markdown", "unpacked"]

_STUDENTS = ("words", "encoder", "static")
_AGAIN = "candidates written again"
Lines = Sequence[Mapping[str, Any]]


def markdown(lines: Lines) -> str:
    """The whole report, from the newest line of every row."""
    groups: dict[tuple[Any, ...], dict[tuple[str, int], Mapping[str, Any]]] = {}
    for line in lines:
        group = groups.setdefault((line["corpus"], line["epsilon"], line["rows"]), {})
        if group and next(iter(group.values()))["release"] != line["release"]:
            group.clear()  # another release: rows of the old one cannot be paired with it
        group[line["switch"], line["redraw"]] = line
    out = ["# What each part of `distribution` is worth", "", *_around(lines), ""]
    for (corpus, epsilon, rows), found in groups.items():
        out += [f"## {corpus}, epsilon {epsilon:g}, {rows} rows", "", *_table(found), ""]
    return "\n".join(out)


def unpacked(bits: str, n: int) -> np.ndarray:
    """Hits (n,) of one student."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(bits), dtype=np.uint8))[:n].astype(np.float64)


def _around(lines: Lines) -> Iterator[str]:
    last = lines[-1]
    versions = ", ".join(f"{name} {number}" for name, number in last["code"]["versions"].items())
    commits = ", ".join(sorted({line["code"]["commit"] for line in lines}))
    yield f"{last['date']}, {last['machine']}, {versions}; commits {commits}."
    yield ""
    yield (
        "Every row of a corpus is post-processing of one release. Accuracy on the holdout side of the private part "
        "(never the test part); differences in points to the row named, with the 95 % interval over paired records, "
        "averaged over redraws. **Bold**: beyond that interval and beyond twice the deviation that writing the same "
        "candidates again causes (two or more redraws needed; without, nothing is bold). Rows are many and the "
        "interval is each row's own: one in twenty exceeds it by chance."
    )


def _table(found: Mapping[tuple[str, int], Mapping[str, Any]]) -> Iterator[str]:
    luck = _luck(found)
    yield "| switch | against | redraws | " + " | ".join(_STUDENTS) + " | seconds |"
    yield "| --- | --- | --- |" + " --- |" * (len(_STUDENTS) + 1)
    for switch in SWITCHES:
        own = {redraw: line for (name, redraw), line in found.items() if name == switch.name}
        done = {redraw: line for redraw, line in own.items() if line["status"] == "done"}
        if not own:
            continue
        if not done:
            yield f"| {switch.name} | | 0 | failed: {next(iter(own.values()))['reason']} | | | |"
            continue
        seconds = f"{np.mean([line['seconds'] for line in done.values()]):.0f}"
        cells = [_cell(switch, student, done, found, luck.get(student)) for student in _STUDENTS]
        against = "" if switch.name == switch.against else switch.against
        yield f"| {switch.name} | {against} | {len(done)} | {' | '.join(cells)} | {seconds} |"
    yield ""
    if luck:
        told = ", ".join(f"{student} {100 * value:.1f}" for student, value in luck.items())
        yield f"Writing the same candidates again moves accuracy by (standard deviation of one pool, points): {told}."
    else:
        yield "How much writing the candidates again moves a score is not known yet: it needs two redraws."


def _cell(
    switch: Switch,
    student: str,
    done: Mapping[int, Mapping[str, Any]],
    found: Mapping[tuple[str, int], Mapping[str, Any]],
    luck: float | None,
) -> str:
    n = next(iter(done.values()))["tested"]
    if switch.name == switch.against:
        return f"{np.mean([unpacked(line['hits'][student], n).mean() for line in done.values()]):.3f}"
    pairs = [redraw for redraw in done if found.get((switch.against, redraw), {}).get("status") == "done"]
    if not pairs:
        return "no row to compare with"
    ours, theirs = (
        np.mean([unpacked(line["hits"][student], n) for line in lines], axis=0)
        for lines in ([done[r] for r in pairs], [found[switch.against, r] for r in pairs])
    )
    gap = paired_difference(ours, theirs)
    shown = f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    shared = not switch.writes and switch.refinement == "none"
    chance = 0.0 if shared else None if luck is None else 2 * luck * np.sqrt(2 / len(pairs))
    if luck is not None and chance is not None and (gap.low > 0 or gap.high < 0) and abs(gap.value) > chance:
        return f"**{shown}**"
    return shown


def _luck(found: Mapping[tuple[str, int], Mapping[str, Any]]) -> dict[str, float]:
    """Standard deviation of one pool's accuracy, from all pools that were written the same way."""
    same = [line for (name, _), line in found.items() if name in ("distribution", _AGAIN) and line["status"] == "done"]
    if len(same) < 2:
        return {}
    return {
        student: float(np.std([unpacked(line["hits"][student], line["tested"]).mean() for line in same], ddof=1))
        for student in _STUDENTS
    }
