"""Output of the commands: lines and tables for a person, JSON for a pipe."""

import shutil
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, TypeVar

import msgspec
import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forwarder.errors import ForwarderError, UsageError
from forwarder.printable import escaped, printable
from forwarder.systemd import prioritized
from forwarder.time_format import format_age

T = TypeVar("T")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

UNLIMITED_COLUMNS = 100_000
"""The width of a table in a pipe. It is so large that each row stays on one line."""


MIN_TEXT_COLUMNS = 20
"""The least width to which a text is cut. If the terminal is still too narrow, it breaks the line."""

GAP_COLUMNS = 2
"""The width of the space between two columns."""


def echo(text: str, *, err: bool = False) -> None:
    """Print a text on one line, without control characters. Commands print every text with it.

    Any text may come from outside.
    """
    typer.echo(printable(text), err=err)


def print_json(value: Any) -> None:
    typer.echo(escaped(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))


def print_json_line(value: Any) -> None:
    """Print a JSON document on one line, for a stream of documents."""
    typer.echo(escaped(msgspec.json.encode(value).decode()))


def print_table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, texts: Collection[str] = (), title: str = ""
) -> None:
    """Print a table with one line for each row.

    If a terminal is too narrow, the columns `texts` are cut with an ellipsis. Other columns are never cut, so that an
    id can be copied. In a pipe, no column is cut.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    widest = [max(cell_len(row[number]) for row in [columns, *cells]) for number in range(len(columns))]
    limit = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED_COLUMNS
    whole = sum(GAP_COLUMNS + (0 if name in texts else width) for name, width in zip(columns, widest, strict=True))
    room = max(MIN_TEXT_COLUMNS, (limit - whole) // max(1, len(texts)))
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for name, width in zip(columns, widest, strict=True):
        table.add_column(name, no_wrap=True, width=min(width, room) if name in texts else width)
    for row in cells:
        # Text, not markup: an error message may well hold brackets.
        table.add_row(*(Text(cell, overflow="ellipsis") for cell in row))
    console = Console(highlight=False, width=UNLIMITED_COLUMNS)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        typer.echo(line.rstrip())


def print_error(error: ForwarderError) -> None:
    echo(prioritized(f"error: {error.message}", "error"), err=True)
    if error.hint:
        echo(prioritized(f"hint:  {error.hint}", "error"), err=True)


def parse_option(name: str, parse: Callable[[str], T], value: str) -> T:
    """Return the value of an option. Raise UsageError, with the option's name, if it is invalid."""
    try:
        return parse(value)
    except ValueError as error:
        raise UsageError(f"{name} {error}") from None


def format_time(time: datetime | None) -> str:
    return "–" if time is None else time.astimezone().isoformat(sep=" ", timespec="seconds")


def format_ago(time: datetime | None, now: datetime) -> str:
    return "never" if time is None else f"{format_age(time, now)} ago"
