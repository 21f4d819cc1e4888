"""The report in plain text, on stdout and for the report file."""

import sys
from collections.abc import Sequence

from tests.benchmarks.goals import GOALS, GoalResult


def number(value: float) -> str:
    """Format a number with three significant digits."""
    if value >= 1000 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"  # three digits


class Report:
    def __init__(self) -> None:
        self.text = ""

    def line(self, text: str = "") -> None:
        self.text += text + "\n"
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def head(self, text: str) -> None:
        self.line()
        self.line(text)
        self.line("=" * len(text))

    def table(self, title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Print a table. The first column has text, the others have figures."""
        self.line()
        self.line(title)
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        for row in (heads, ["-" * width for width in widths], *rows):
            words, *figures = row
            cells = [words.ljust(widths[0])]
            cells += [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
            self.line("  " + "  ".join(cells).rstrip())

    def goal_results(self, goal_results: Sequence[GoalResult]) -> None:
        for result in goal_results:
            sign, threshold = result.threshold
            figures = f"{number(result.figure)} {result.unit}, {sign} {number(threshold)} required"
            self.line(f"  goal {result.goal}: {'holds' if result.holds else 'MISSED'}  {result.what}: {figures}")

    def summary(self, goal_results: Sequence[GoalResult]) -> None:
        """Print the result of each goal, including goals that were not measured."""
        self.head("goals")
        for goal, what in GOALS.items():
            mine = [goal_result for goal_result in goal_results if goal_result.goal == goal]
            status = (
                "not measured" if not mine else "holds" if all(goal_result.holds for goal_result in mine) else "MISSED"
            )
            self.line(f"{goal}. {what}: {status}")
            self.goal_results(mine)
