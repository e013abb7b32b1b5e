"""The recipe benchmark as a picture: utility against epsilon, between prompts alone and real records. Plain SVG."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from html import escape
from statistics import mean
from typing import Any

from benchmarks.recipe_lines import CEILING, FLOOR, Line, cells_of, of, recipes_of, values

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#000000")
"""Okabe and Ito's, told apart by colour-blind readers."""
_STUDENTS = {"words": "TF-IDF student", "encoder": "MiniLM student", "static": "static-embedding student"}
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 250, 190, 60, 64, 50


def svg(lines: Sequence[Line]) -> str:
    """One panel for each corpus and student, at the number of rows of which a corpus has most cells."""
    lines = cells_of(lines)
    corpora = sorted({line["corpus"] for line in lines})
    recipes = recipes_of(lines)
    colours = {name: _COLOURS[i % len(_COLOURS)] for i, name in enumerate(recipes)}
    width = max(_LEFT + len(corpora) * (_WIDTH + _GAP), 840)
    height = _TOP + len(_STUDENTS) * (_HEIGHT + _GAP) + 10
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11" role="img" aria-label="Utility of synthetic rows against epsilon">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, name in enumerate([*recipes, "zero-shot pool (epsilon 0)", "real records"]):
        x, y = _LEFT + i % 4 * 190, 14 + i // 4 * 16
        dash = {len(recipes): ' stroke-dasharray="2 3"', len(recipes) + 1: ' stroke-dasharray="7 3"'}.get(i, "")
        out.append(_line(x, y - 4, x + 24, y - 4, colours.get(name, "#444"), dash))
        out.append(f'<text x="{x + 30}" y="{y}">{escape(name)}</text>')
    for row, student in enumerate(_STUDENTS):
        for column, corpus in enumerate(corpora):
            left, top = _LEFT + column * (_WIDTH + _GAP), _TOP + row * (_HEIGHT + _GAP)
            out += _panel([line for line in lines if line["corpus"] == corpus], corpus, student, left, top, colours)
    return "\n".join([*out, "</svg>"]) + "\n"


def _panel(
    lines: Sequence[Line], corpus: str, student: str, left: float, top: float, colours: dict[str, str]
) -> list[str]:
    # References stand at epsilon 0, another tool's too, and that one made another number of rows.
    private = [line for line in lines if line["epsilon"] > 0]
    if not private:
        return []
    rows, _ = Counter(sorted((line["rows"] for line in private), reverse=True)).most_common(1)[0]
    epsilons = sorted({line["epsilon"] for line in private if line["rows"] == rows})
    found: dict[str, list[tuple[float, list[float]]]] = {
        recipe: [(e, values(of(lines, corpus, rows, recipe, e), student)) for e in epsilons]
        for recipe in recipes_of(lines)
    }
    level = {name: values(of(lines, corpus, rows, name), student) for name in (FLOOR, CEILING)}
    every = [v for points in found.values() for _, vs in points for v in vs] + [v for vs in level.values() for v in vs]
    if not every:
        return []
    low, high = math.floor(min(every) * 20 - 0.2) / 20, math.ceil(max(every) * 20 + 0.2) / 20
    first, last = math.log2(epsilons[0]) - 0.3, math.log2(epsilons[-1]) + 0.3

    def place(epsilon: float, value: float) -> tuple[float, float]:
        x = left + (math.log2(epsilon) - first) / (last - first) * _WIDTH
        return x, top + (high - value) / (high - low) * _HEIGHT

    metric = lines[0]["metric"].replace("_", " ")
    out = [
        f'<rect x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>',
        f'<text x="{left}" y="{top - 6}" font-weight="bold">{escape(corpus)}, {_STUDENTS[student]}</text>',
        f'<text x="{left + _WIDTH}" y="{top + _HEIGHT + 30}" text-anchor="end">{metric}, {rows} rows</text>',
    ]
    for step in range(round((high - low) * 20) + 1):
        value = low + step / 20
        _, y = place(epsilons[0], value)
        if step % max(1, round((high - low) * 20) // 6) == 0:
            out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.2f}</text>')
            out.append(_line(left, y, left + _WIDTH, y, "#e5e5e5"))
    for epsilon in epsilons:
        x, _ = place(epsilon, low)
        out.append(f'<text x="{x:.1f}" y="{top + _HEIGHT + 14}" text-anchor="middle">ε {epsilon:g}</text>')
    for name, dash in ((FLOOR, "2 3"), (CEILING, "7 3")):
        if level[name]:
            _, y = place(epsilons[0], mean(level[name]))
            out.append(_line(left, y, left + _WIDTH, y, "#444", f' stroke-dasharray="{dash}"'))
    for recipe, points in found.items():
        out += _curve([(e, vs) for e, vs in points if vs], place, colours[recipe])
    return out


def _curve(
    points: Sequence[tuple[float, list[float]]], place: Callable[[float, float], tuple[float, float]], colour: str
) -> list[str]:
    """Means joined by a line; where there are several generations, a bar from the least to the most."""
    out = []
    for epsilon, found in points:
        x, y = place(epsilon, mean(found))
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>')
        if len(found) > 1:
            out.append(_line(x, place(epsilon, min(found))[1], x, place(epsilon, max(found))[1], colour))
    path = " ".join("{:.1f},{:.1f}".format(*place(epsilon, mean(found))) for epsilon, found in points)
    return [*out, f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>']


def _line(x1: float, y1: float, x2: float, y2: float, colour: str, more: Any = "") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'
