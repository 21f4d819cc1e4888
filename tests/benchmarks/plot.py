"""The plots in SVG: bars with their spread, and lines. They are plain text, so that they can be compared."""

import math
from collections.abc import Mapping, Sequence
from html import escape
from itertools import cycle

from tests.benchmarks.report import number

Points = Sequence[tuple[float, float]]

WIDTH, LEFT, RIGHT, TOP = 720, 70, 40, 40
COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a")
STYLE = "font-family:sans-serif;font-size:12px"
DOTS = 200
"""The maximum number of points of a distribution, approximately."""

MAX_LABELS = 8
"""The number of labels that fit below the axis."""


def bars(title: str, unit: str, values: Mapping[str, tuple[float, float, float]]) -> str:
    """Draw the median, slowest and fastest of each name, from top to bottom."""
    row, left = 26, 240
    scale = (WIDTH - left - 90) / max(fastest for _, _, fastest in values.values())
    shapes = []
    for index, (name, (median, slowest, fastest)) in enumerate(values.items()):
        y = TOP + index * row
        shapes += [
            _text(left - 8, y + 14, name, anchor="end"),
            f'<rect x="{left}" y="{y + 3}" width="{median * scale:.1f}" height="{row - 10}" fill="{COLOURS[0]}"/>',
            _line(left + slowest * scale, y + 11, left + fastest * scale, y + 11),
            _text(left + max(median, fastest) * scale + 6, y + 14, number(median)),
        ]
    height = TOP + len(values) * row + 30
    return _svg(height, [_text(10, 20, title, bold=True), *shapes, _text(left, height - 10, unit)])


def lines(title: str, x: str, y: str, points: Mapping[str, Points], *, logarithmic: bool = False) -> str:
    """Draw a line for each name. The scale of x may be logarithmic. The scale of y begins at 0."""
    scaled = (lambda size: math.log10(max(size, 1))) if logarithmic else float
    sizes = [scaled(size) for line in points.values() for size, _ in line]
    least, most = min(sizes), max(sizes)
    top = max((value for line in points.values() for _, value in line), default=0) or 1
    wide, high = WIDTH - LEFT - RIGHT, 260

    def across(size: float) -> float:
        return LEFT + (scaled(size) - least) / ((most - least) or 1) * wide

    def up(value: float) -> float:
        return TOP + high - value / top * high

    shapes = [_text(10, 20, title, bold=True), _text(LEFT, TOP - 6, y), _text(WIDTH - RIGHT, TOP + high + 34, x, "end")]
    for part in range(5):
        value = top * part / 4
        shapes += [_line(LEFT, up(value), WIDTH - RIGHT, up(value), "#d0d7de")]
        shapes += [_text(LEFT - 6, up(value) + 4, number(value), "end")]
    for size in _label_positions([size for line in points.values() for size, _ in line], logarithmic=logarithmic):
        shapes.append(_text(across(size), TOP + high + 18, number(size), "middle"))
    for index, ((name, line), colour) in enumerate(zip(points.items(), cycle(COLOURS), strict=False)):
        path = " ".join(f"{across(size):.1f},{up(value):.1f}" for size, value in line)
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        shapes.append(_text(LEFT + 10, TOP + high + 52 + index * 16, name, colour=colour))
    return _svg(TOP + high + 60 + len(points) * 16, shapes)


def distribution(values: Sequence[float]) -> Points:
    """Return points (value, percentage of values that are not greater)."""
    ordered = sorted(values)
    step = max(1, len(ordered) // DOTS)
    return [(value, 100 * (index + 1) / len(ordered)) for index, value in enumerate(ordered)][::-step][::-1]


def _label_positions(sizes: Sequence[float], *, logarithmic: bool) -> list[float]:
    """Return the positions of the labels: the sizes themselves, or equal steps."""
    distinct = sorted(set(sizes))
    if not logarithmic:
        return [distinct[0] + (distinct[-1] - distinct[0]) * part / 4 for part in range(5)]
    return distinct if len(distinct) <= MAX_LABELS else distinct[:: len(distinct) // MAX_LABELS + 1]


def _text(x: float, y: float, text: str, anchor: str = "start", *, bold: bool = False, colour: str = "#1f2328") -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, colour: str = "#1f2328") -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"/>'


def _svg(height: float, shapes: Sequence[str]) -> str:
    body = "\n".join(shapes)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height:.0f}" style="{STYLE}">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n{body}\n</svg>\n'
    )
