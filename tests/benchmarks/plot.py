"""The plots in SVG: bars with their spread, and lines. They are plain text, so that they can be compared."""

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import cycle

from tests.benchmarks.report import number

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT, LEFT, RIGHT, TOP = 720, 260, 70, 40, 40
PANEL_LEFT, PANEL_RIGHT = 40, 15
"""The margins of one of several panels."""

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
    shapes = [_text(10, 20, title, bold=True), *_axes_and_lines(LEFT, WIDTH - LEFT - RIGHT, x, y, points, logarithmic)]
    return _svg(TOP + HEIGHT + 60 + len(points) * 16, [*shapes, *_legend(points)])


def small_multiples(
    title: str, x: str, y: str, panels: Mapping[str, Mapping[str, Points]], *, logarithmic: bool = False
) -> str:
    """Draw a panel of lines for each name, side by side. Each has its own scale of y, which begins at 0."""
    wide = WIDTH / len(panels)
    shapes = [_text(10, 20, title, bold=True)]
    for index, (name, points) in enumerate(panels.items()):
        left = index * wide + PANEL_LEFT
        shapes += _axes_and_lines(left, wide - PANEL_LEFT - PANEL_RIGHT, x, f"{name} ({y})", points, logarithmic)
    names = list(dict.fromkeys(name for points in panels.values() for name in points))
    return _svg(TOP + HEIGHT + 60 + len(names) * 16, [*shapes, *_legend(names)])


def _axes_and_lines(
    left: float, wide: float, x: str, y: str, points: Mapping[str, Points], logarithmic: bool
) -> list[str]:
    """Return the shapes of one area of lines. `left` and `wide` are its place and width."""
    scaled = (lambda size: math.log10(max(size, 1))) if logarithmic else float
    sizes = [scaled(size) for line in points.values() for size, _ in line]
    least, most = min(sizes), max(sizes)
    top = max((value for line in points.values() for _, value in line), default=0) or 1

    def across(size: float) -> float:
        return left + (scaled(size) - least) / ((most - least) or 1) * wide

    def up(value: float) -> float:
        return TOP + HEIGHT - value / top * HEIGHT

    shapes = [_text(left, TOP - 6, y), _text(left + wide, TOP + HEIGHT + 34, x, "end")]
    for part in range(5):
        value = top * part / 4
        shapes += [_line(left, up(value), left + wide, up(value), "#d0d7de")]
        shapes += [_text(left - 6, up(value) + 4, number(value), "end")]
    for size in _label_positions([size for line in points.values() for size, _ in line], logarithmic=logarithmic):
        shapes.append(_text(across(size), TOP + HEIGHT + 18, number(size), "middle"))
    for line, colour in zip(points.values(), cycle(COLOURS), strict=False):
        path = " ".join(f"{across(size):.1f},{up(value):.1f}" for size, value in line)
        shapes.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return shapes


def _legend(names: Iterable[str]) -> list[str]:
    return [
        _text(LEFT + 10, TOP + HEIGHT + 52 + index * 16, name, colour=colour)
        for index, (name, colour) in enumerate(zip(names, cycle(COLOURS), strict=False))
    ]


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
