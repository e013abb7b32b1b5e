"""Ablation lines as a table: differences over test records, beside what writing the candidates again does.

A difference has the interval of the test records that both rows answer, for the pools at hand; rows that write anew
also differ by the luck of their sampling, so such a difference counts only when it exceeds both. What the head of the
report says of redraws, pools and releases is read off the lines. It runs nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.switches import SWITCHES, Switch
from privdistill.evaluation.intervals import paired_difference

__all__ = ["markdown", "unpacked"]

_STUDENTS = ("words", "encoder", "static")
_AGAIN = "candidates written again"
_SHARED, _REFINED, _ANEW, _OWN = "the same", "the same, refined", "others", "own release"
_BY_NAME = {switch.name: switch for switch in SWITCHES}
Line = Mapping[str, Any]
Group = Mapping[tuple[str, int], Line]


def markdown(lines: Sequence[Line]) -> str:
    """The whole report, from the newest line of every row."""
    groups: dict[tuple[Any, ...], dict[tuple[str, int], Line]] = {}
    for line in lines:
        group = groups.setdefault((line["corpus"], line["epsilon"], line["rows"]), {})
        if group and next(iter(group.values()))["release"] != line["release"]:
            group.clear()  # another release: rows of the old one cannot be compared with it
        group[line["switch"], line["redraw"]] = line
    out = ["# What each part of `distribution` is worth", "", *_around(groups), ""]
    for (corpus, epsilon, rows), found in groups.items():
        out += [f"## {corpus}, epsilon {epsilon:g}, {rows} rows", "", *_table(found), ""]
    return "\n".join(out)


def unpacked(bits: str, n: int) -> np.ndarray:
    """Hits (n,) of one student."""
    return np.unpackbits(np.frombuffer(bytes.fromhex(bits), dtype=np.uint8))[:n].astype(np.float64)


def _around(groups: Mapping[tuple[Any, ...], Group]) -> Iterator[str]:
    """When and by what the rows were made, and how to read them."""
    lines = [line for found in groups.values() for line in found.values()]
    last = max(lines, key=lambda line: str(line["date"]))
    versions = ", ".join(f"{name} {number}" for name, number in last["code"]["versions"].items())
    commits = ", ".join(sorted({line["code"]["commit"] for line in lines}))
    yield f"{last['date']}, {last['machine']}, {versions}; commits {commits}."
    yield ""
    shown = {switch.name for switch in SWITCHES} & {line["switch"] for line in lines if line["status"] == "done"}
    kinds = {_kind(_BY_NAME[name]) for name in shown}
    most = max((len(_done(found, name)) for found in groups.values() for name in shown), default=0)
    yield "".join(
        (
            "Rows of a corpus are post-processing of one release",
            f"; one with an `{_OWN}`, and those compared with it, of another, from candidates of its own. "
            if _OWN in kinds
            else ". ",
            "Accuracy on the holdout side of the private part (never the test part); differences in points to the row "
            "named, with the 95 % interval over the test records that both answer",
            ", averaged over the redraws that both have. " if most > 1 else ". ",
            *_boldness(groups, kinds),
            "Rows are many and the interval is each row's own: one in twenty exceeds it by chance. `power` is that of "
            "the noised counts by which rows were divided among classes: where it is not that of the row named, the "
            "difference is one of class shares too. Seconds are those of making the rows, whatever else ran.",
        )
    )


def _boldness(groups: Mapping[tuple[Any, ...], Group], kinds: set[str]) -> Iterator[str]:
    """The rule of `_cell` in words, as far as rows of these kinds are there."""
    yield "**Bold**: beyond that interval"
    others = " or ".join(f"`{kind}`" for kind in (_ANEW, _REFINED) if kind in kinds)
    if others:
        pools = {key[0]: len(_pools(found)) for key, found in groups.items()}
        known = " and ".join(f"{count} pools on {corpus}" for corpus, count in pools.items() if count > 1)
        unknown = ", ".join(corpus for corpus, count in pools.items() if count < 2)
        yield f"; where candidates are {others}, also beyond what writing the same again may do by chance"
        yield f" (Student's t 95 % with the deviation of one pool, from {known})" if known else ""
        yield f" (not known on {unknown}, one pool: no such row is bold there)" if unknown else ""
    yield ". "
    if _OWN in kinds:
        yield f"A row with an `{_OWN}` is never bold: what another draw of the noise does is not known. "


def _table(found: Group) -> Iterator[str]:
    luck = _luck(found)
    yield "| switch | against | candidates | redraws | power | " + " | ".join(_STUDENTS) + " | seconds |"
    yield "| --- | --- | --- | --- | --- |" + " --- |" * (len(_STUDENTS) + 1)
    for switch in SWITCHES:
        done = _done(found, switch.name)
        for one in (switch, *_evenly(switch, done, found)):
            yield from _row(one, done, found, luck)
    yield ""
    if luck:
        told = ", ".join(f"{student} {100 * value:.1f}" for student, value in luck.items())
        yield (
            f"Writing the same candidates again moves accuracy by (standard deviation of one pool, from "
            f"{len(_pools(found))} pools, points): {told}."
        )
    else:
        yield "How much writing the candidates again moves a score is not known yet: it needs two pools."


def _row(switch: Switch, done: Mapping[int, Line], found: Group, luck: Mapping[str, float]) -> Iterator[str]:
    tried = [line for (name, _), line in found.items() if name == switch.name]
    if not tried:
        return
    against = " | " if switch.name == switch.against else f"{switch.against} | {_kind(switch)}"
    head = f"| {switch.name} | {against} | {len(done)} |"
    if not done:
        yield f"{head} | failed: {tried[0]['reason']} | | | |"
        return
    seconds = f"{np.mean([line['seconds'] for line in done.values()]):.0f}"
    cells = [_cell(switch, student, done, found, luck.get(student)) for student in _STUDENTS]
    yield f"{head} {_powers(done)} | {' | '.join(cells)} | {seconds} |"


def _evenly(switch: Switch, done: Mapping[int, Line], found: Group) -> Iterator[Switch]:
    """The same row against one that divides rows among classes as it does, where its own base does not."""
    name = f"{switch.against}, classes by power {_powers(done)}"
    if _kind(switch) == _REFINED and _powers(done) != _powers(_done(found, switch.against)) and _done(found, name):
        yield replace(switch, against=name)


def _kind(switch: Switch) -> str:
    """What a row shares with the one it is compared with."""
    base = _BY_NAME[switch.against]
    if switch.recipe != base.recipe:
        return _OWN
    if switch.refinement != base.refinement:
        return _REFINED
    return _ANEW if switch.writes else _SHARED


def _done(found: Group, name: str) -> dict[int, Line]:
    """Redraw -> line, of one switch."""
    return {redraw: line for (own, redraw), line in found.items() if own == name and line["status"] == "done"}


def _powers(done: Mapping[int, Line]) -> str:
    """The power of class shares of each redraw, in order, said once where it is the same."""
    powers = [done[redraw].get("facts", {}).get("class_share_exponent") for redraw in sorted(done)]
    return ", ".join(dict.fromkeys(f"{power:g}" for power in powers if power is not None))


def _cell(switch: Switch, student: str, done: Mapping[int, Line], found: Group, luck: float | None) -> str:
    n = next(iter(done.values()))["tested"]
    if switch.name == switch.against:
        return f"{np.mean([unpacked(line['hits'][student], n).mean() for line in done.values()]):.3f}"
    base = _done(found, switch.against)
    pairs = [redraw for redraw in done if redraw in base]
    if not pairs:
        return "no row to compare with"
    ours, theirs = (np.mean([unpacked(lines[r]["hits"][student], n) for r in pairs], axis=0) for lines in (done, base))
    gap = paired_difference(ours, theirs)
    shown = f"{100 * gap.value:+.1f} ({100 * gap.low:+.1f} to {100 * gap.high:+.1f})"
    chance = _chance(_kind(switch), luck, len(_pools(found)), len(pairs))
    if chance is not None and (gap.low > 0 or gap.high < 0) and abs(gap.value) > chance:
        return f"**{shown}**"
    return shown


def _chance(kind: str, luck: float | None, pools: int, pairs: int) -> float | None:
    """How far two means of so many pools may differ by the luck of sampling; None where that is not known.

    Refined candidates are only in part others than unrefined ones: for them it is more than need be.
    """
    from scipy import stats

    if kind == _SHARED:
        return 0.0
    if kind == _OWN or luck is None:
        return None
    return float(stats.t.ppf(0.975, pools - 1)) * luck * float(np.sqrt(2 / pairs))


def _pools(found: Group) -> list[Line]:
    """The lines whose pools were written the same way, under one release."""
    return [*_done(found, "distribution").values(), *_done(found, _AGAIN).values()]


def _luck(found: Group) -> dict[str, float]:
    """Standard deviation of one pool's accuracy, from all pools that were written the same way."""
    same = _pools(found)
    if len(same) < 2:
        return {}
    return {
        student: float(np.std([unpacked(line["hits"][student], line["tested"]).mean() for line in same], ddof=1))
        for student in _STUDENTS
    }
