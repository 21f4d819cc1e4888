"""The output of the demo: a title, numbered steps, one line for each event, and short results."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from forwarder.demo.fake_aws import Event
from forwarder.printable import printable

_MARGIN = "   "
_ID_WIDTH = 24
_ADDRESS_LABEL_WIDTH = 16


@dataclass(slots=True)
class ConsoleOutput:
    """The printer of all output. Text from outside is printed without control characters."""

    console: Console
    workflow_width: int
    _steps: int = field(default=0, init=False)

    def title(self, title: str, subtitle: str) -> None:
        self.console.print()
        self._sentence("", Text(title, style="bold"))
        self._sentence("", Text(subtitle, style="dim"))

    def step(self, sentence: str) -> None:
        self._steps += 1
        self.console.print()
        self._sentence(Text(str(self._steps), style="bold cyan"), Text(sentence, style="bold"))

    def flow(self, *stations: tuple[str, str]) -> None:
        """Print the path of an event from left to right. Each station is a name and an address, which may be empty."""
        parts = [Text.assemble((name, "bold cyan"), " " if at else "", (at, "dim")) for name, at in stations]
        self._sentence("", Text("  →  ").join(parts))

    def event(self, event: Event, *, again: bool) -> None:
        """Print the time, workflow, execution and error message of an event."""
        line = Text.assemble(
            _MARGIN,
            (f"{event.time:%H:%M:%S}", "dim"),
            "  ",
            (printable(event.workflow_id).ljust(self.workflow_width), "cyan"),
            "  ",
            (printable(event.execution_id).ljust(_ID_WIDTH), "dim"),
            "  ",
            ("again: ", "yellow") if again else "",
            printable(event.message),
        )
        self._line(line)

    def command(self, arguments: str) -> None:
        self._line(Text.assemble(_MARGIN, ("$ ", "dim"), (arguments, "green")))

    def edit(self, file: str, before: str, after: str) -> None:
        self._line(Text.assemble(_MARGIN, (f"{file}  ", "dim"), (before, "red"), ("  →  ", "dim"), (after, "green")))

    def result(self, text: str) -> None:
        self._sentence("", Text.assemble(("✓ ", "bold green"), text))

    def note(self, text: str) -> None:
        self._sentence("", Text(text, style="dim"))

    def error(self, text: str) -> None:
        self._sentence("", Text.assemble(("✗ ", "bold red"), printable(text)))

    def log(self, lines: Iterable[str]) -> None:
        lines = list(lines)
        if lines:
            self.note("The last lines of the daemon's log:")
        for line in lines:
            self.console.print(Text.assemble(_MARGIN * 2, (printable(line), "dim")), soft_wrap=True)

    def table(self, rows: Iterable[tuple[str, int, str]]) -> None:
        table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
        table.add_column(width=len(_MARGIN) - 2)
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(style="bold", justify="right", no_wrap=True)
        table.add_column(style="dim")
        for name, number, meaning in rows:
            table.add_row("", name, str(number), meaning)
        self.console.print(table)

    def addresses(self, rows: Iterable[tuple[str, str]]) -> None:
        """Print one address per line. Lines are never wrapped, so that they can be copied."""
        for name, address in rows:
            self.console.print(
                Text.assemble(_MARGIN, (name.ljust(_ADDRESS_LABEL_WIDTH), "cyan"), address),
                soft_wrap=True,
                highlight=False,
            )

    @contextmanager
    def busy(self, sentence: str) -> Iterator[None]:
        """Show a spinner on a terminal, or print one line elsewhere."""
        if self.console.is_terminal:
            with self.console.status(Text(sentence, style="dim"), spinner="dots"):
                yield
        else:
            self.note(sentence)
            yield

    def _sentence(self, mark: Text | str, text: Text) -> None:
        """Print a sentence after a mark. Wrap it on a terminal, and keep it on one line elsewhere."""
        if not self.console.is_terminal:
            self._line(Text.assemble(mark, " " * (len(_MARGIN) - len(mark)), text))
            return
        grid = Table.grid()
        grid.add_column(width=len(_MARGIN))
        grid.add_column()
        grid.add_row(mark, text)
        self.console.print(grid)

    def _line(self, line: Text) -> None:
        # Lines of a log are kept whole, because logs are searched. Lines on a terminal are cut to its width.
        if self.console.is_terminal:
            self.console.print(line, no_wrap=True, overflow="ellipsis", highlight=False)
        else:
            self.console.print(line, soft_wrap=True, highlight=False)
