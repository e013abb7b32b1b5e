"""Memory of a training step as a picture: over the physical batch, and over the logical one. Plain SVG."""

from collections.abc import Mapping, Sequence
from typing import Any

_COLOURS = {"plain": "#7f7f7f", "private": "#d55e00", "recomputed": "#0072b2", "rounded": "#009e73"}
"""Okabe and Ito's, told apart by colour-blind readers."""
_TITLES = {
    "physical": ("physical", "rows a pass, 32 records a step"),
    "logical": ("logical", "records a step, 8 rows a pass"),
}
_WIDTH, _HEIGHT, _LEFT, _TOP, _GAP = 260, 190, 60, 50, 70


def memory_svg(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """One panel a curve on one scale, so that slopes compare: MiB that a step adds to what the process held before."""
    most = max(point["above_start_gib"] for points in curves.values() for point in points) * 1024 * 1.05
    width, height = _LEFT + len(curves) * (_WIDTH + _GAP), _TOP + _HEIGHT + 50
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="11" role="img" aria-label="Memory of a step against batch sizes">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
    ]
    for i, (kind, colour) in enumerate(_COLOURS.items()):
        out.append(f'<line x1="{_LEFT + i * 110}" y1="12" x2="{_LEFT + i * 110 + 24}" y2="12" stroke="{colour}"/>')
        out.append(f'<text x="{_LEFT + i * 110 + 30}" y="16">{kind}</text>')
    for column, (curve, points) in enumerate(curves.items()):
        out += _panel(points, curve, _LEFT + column * (_WIDTH + _GAP), most)
    return "\n".join([*out, "</svg>"]) + "\n"


def _panel(points: Sequence[Mapping[str, Any]], curve: str, left: float, most: float) -> list[str]:
    along, title = _TITLES[curve]
    sizes = sorted({point[along] for point in points})
    out = [
        f'<rect x="{left}" y="{_TOP}" width="{_WIDTH}" height="{_HEIGHT}" fill="none" stroke="#999"/>',
        f'<text x="{left}" y="{_TOP - 8}" font-weight="bold">MiB over {title}</text>',
    ]
    for mib in range(0, int(most) + 1, 50):
        y = _TOP + _HEIGHT * (1 - mib / most)
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{mib}</text>')
        out.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + _WIDTH}" y2="{y:.1f}" stroke="#e5e5e5"/>')
    for size in sizes:
        x = left + _WIDTH * size / sizes[-1] * 0.95
        out.append(f'<text x="{x:.1f}" y="{_TOP + _HEIGHT + 14}" text-anchor="middle">{size}</text>')
    for kind, colour in _COLOURS.items():
        own = sorted((point[along], point["above_start_gib"] * 1024) for point in points if point["kind"] == kind)
        places = [(left + _WIDTH * n / sizes[-1] * 0.95, _TOP + _HEIGHT * (1 - mib / most)) for n, mib in own]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        out += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
    return out
