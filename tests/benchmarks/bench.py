"""What a benchmark works with: it measures, prints, draws, and keeps the verdicts."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import quantiles

from tests.benchmarks import comparison, plot
from tests.benchmarks.comparison import Contest, Turn
from tests.benchmarks.goals import Classification
from tests.benchmarks.report import Report, number

Points = Sequence[tuple[float, float]]

PERCENTILES = (50, 90, 99)


class Bench:
    """Of one benchmark, called `name`; its plots are written into `folder`."""

    def __init__(self, name: str, report: Report, folder: Path, *, quick: bool) -> None:
        self.name = name
        self.folder = folder
        self.quick = quick
        self.rounds = 3 if quick else 7
        self.seconds = 0.1 if quick else 0.5
        """How long a turn takes."""
        self.verdicts: list[Classification] = []
        self._report = report

    def compare(
        self, title: str, unit: str, contestants: Mapping[str, Turn], *, against: str = "", pieces: int = 1
    ) -> Contest:
        """Ratios are told to the contestant `against`, or to the first.

        Each turn may be cut into so many pieces, in as many more rounds: what disturbs the machine for a moment then
        disturbs one of them all the less.
        """
        held = comparison.hold(contestants, rounds=pieces * self.rounds, seconds=self.seconds / pieces)
        other = against or next(iter(contestants))
        rows = [
            [name, number(held.median(name)), *map(number, held.spread(name)), f"{held.ratio(name, other):.2f} ×"]
            for name in contestants
        ]
        self._report.table(f"{title} ({unit})", ["", "median", "slowest", "fastest", f"to {other}"], rows)
        bars = {name: (held.median(name), *held.spread(name)) for name in contestants}
        self._draw(title, plot.bars(title, unit, bars))
        return held

    def quantiles(self, title: str, unit: str, samples: Mapping[str, Sequence[float]]) -> dict[str, dict[int, float]]:
        """The percentiles 50, 90 and 99 of each; at least two samples are needed."""
        found: dict[str, dict[int, float]] = {}
        for name, values in samples.items():
            cuts = quantiles(values, n=100, method="inclusive")
            found[name] = {percent: cuts[percent - 1] for percent in PERCENTILES}
        rows = [
            [name, *(number(found[name][percent]) for percent in PERCENTILES), number(max(values)), str(len(values))]
            for name, values in samples.items()
        ]
        heads = ["", *(f"p{percent}" for percent in PERCENTILES), "worst", "samples"]
        self._report.table(f"{title} ({unit})", heads, rows)
        lines = {name: plot.distribution(values) for name, values in samples.items()}
        self._draw(title, plot.lines(title, unit, "% of samples", lines))
        return found

    def curve(self, title: str, x: str, unit: str, lines: Mapping[str, Points]) -> None:
        """`x` names what grows; a point is its size and the figure there. Sizes are drawn on a logarithmic scale."""
        sizes = sorted({size for points in lines.values() for size, _ in points})
        figures = {name: dict(points) for name, points in lines.items()}
        rows = [
            [number(size), *(number(figures[name][size]) if size in figures[name] else "–" for name in lines)]
            for size in sizes
        ]
        self._report.table(f"{title} ({unit})", [x, *lines], rows)
        self._draw(title, plot.lines(title, x, unit, lines, logarithmic=True))

    def goal(
        self,
        goal: int,
        what: str,
        figure: float,
        *,
        unit: str = "×",
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        verdict = Classification(goal, what, figure, unit, at_least, at_most)
        self.verdicts.append(verdict)
        self._report.verdicts([verdict])

    def note(self, text: str) -> None:
        self._report.line(text)

    def _draw(self, title: str, svg: str) -> None:
        name = re.sub(r"[^a-z0-9]+", "-", f"{self.name} {title}".lower()).strip("-")
        (self.folder / f"{name}.svg").write_text(svg)
