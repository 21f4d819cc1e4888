"""The bench of a benchmark: it measures, prints tables, draws plots, and keeps the results of goals."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import quantiles

from tests.benchmarks import comparison, plot
from tests.benchmarks.comparison import Comparison, Turn
from tests.benchmarks.goals import GoalResult
from tests.benchmarks.report import Report, number

Points = Sequence[tuple[float, float]]

PERCENTILES = (50, 90, 99)


class Bench:
    """The bench of the benchmark `name`. Its plots are written to `folder`."""

    def __init__(self, name: str, report: Report, folder: Path, *, quick: bool, full: bool = False) -> None:
        self.name = name
        self.folder = folder
        self.quick = quick
        self.full = full
        self.rounds = 3 if quick else 7
        self.seconds = 0.1 if quick else 0.5
        """The length of a turn."""
        self.goal_results: list[GoalResult] = []
        self._report = report

    def compare(
        self, title: str, unit: str, contestants: Mapping[str, Turn], *, against: str = "", pieces: int = 1
    ) -> Comparison:
        """Measure all contestants in turns, and return their rates.

        Ratios refer to the contestant `against`, or to the first. With `pieces`, each turn is divided into so many
        shorter ones in as many more rounds, so that a short disturbance of the machine affects one contestant less.
        """
        result = comparison.run_turns(contestants, rounds=pieces * self.rounds, seconds=self.seconds / pieces)
        other = against or next(iter(contestants))
        rows = [
            [name, number(result.median(name)), *map(number, result.spread(name)), f"{result.ratio(name, other):.2f} ×"]
            for name in contestants
        ]
        self._report.table(f"{title} ({unit})", ["", "median", "slowest", "fastest", f"to {other}"], rows)
        bars = {name: (result.median(name), *result.spread(name)) for name in contestants}
        self._draw(title, plot.bars(title, unit, bars))
        return result

    def quantiles(self, title: str, unit: str, samples: Mapping[str, Sequence[float]]) -> dict[str, dict[int, float]]:
        """Return the percentiles 50, 90 and 99 of each contestant, which needs at least two samples."""
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
        """Report figures at growing sizes. `x` names the size, a point is (size, figure), the scale is logarithmic."""
        sizes = sorted({size for points in lines.values() for size, _ in points})
        figures = {name: dict(points) for name, points in lines.items()}
        rows = [
            [number(size), *(number(figures[name][size]) if size in figures[name] else "–" for name in lines)]
            for size in sizes
        ]
        self._report.table(f"{title} ({unit})", [x, *lines], rows)
        self._draw(title, plot.lines(title, x, unit, lines, logarithmic=True))

    def small_multiples(self, title: str, x: str, unit: str, panels: Mapping[str, Mapping[str, Points]]) -> None:
        """Draw a panel of lines at growing sizes for each name, as `curve` does for one."""
        self._draw(title, plot.small_multiples(title, x, unit, panels, logarithmic=True))

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
        goal_result = GoalResult(goal, what, figure, unit, at_least, at_most)
        self.goal_results.append(goal_result)
        self._report.goal_results([goal_result])

    def table(self, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._report.table(title, heads, rows)

    def note(self, text: str) -> None:
        self._report.line(text)

    def _draw(self, title: str, svg: str) -> None:
        name = re.sub(r"[^a-z0-9]+", "-", f"{self.name} {title}".lower()).strip("-")
        (self.folder / f"{name}.svg").write_text(svg)
