"""Tables in plain text, as they are found: on stdout, and kept for the report file."""

import sys
from collections.abc import Sequence

from tests.benchmarks.goals import GOALS, Classification


def number(value: float) -> str:
    """Three digits that count."""
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
        """The first column is words, the others are figures."""
        self.line()
        self.line(title)
        widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
        for row in (heads, ["-" * width for width in widths], *rows):
            words, *figures = row
            cells = [words.ljust(widths[0])]
            cells += [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
            self.line("  " + "  ".join(cells).rstrip())

    def verdicts(self, verdicts: Sequence[Classification]) -> None:
        for verdict in verdicts:
            sign, threshold = verdict.threshold
            figures = f"{number(verdict.figure)} {verdict.unit}, {sign} {number(threshold)} wanted"
            self.line(f"  goal {verdict.goal}: {'holds' if verdict.holds else 'MISSED'}  {verdict.what}: {figures}")

    def summary(self, verdicts: Sequence[Classification]) -> None:
        """Each goal, whether anything was measured of it or not."""
        self.head("goals")
        for goal, what in GOALS.items():
            mine = [verdict for verdict in verdicts if verdict.goal == goal]
            told = "not measured" if not mine else "holds" if all(verdict.holds for verdict in mine) else "MISSED"
            self.line(f"{goal}. {what}: {told}")
            self.verdicts(mine)
