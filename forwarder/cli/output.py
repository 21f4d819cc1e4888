"""What the verbs print: tables and words for a person, JSON for a pipe."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from forwarder.errors import ForwarderError

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: Any) -> None:
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "") -> None:
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, not markup: an error message may well hold brackets.
        table.add_row(*(Text(printable(cell)) for cell in row))
    Console(highlight=False).print(table)


def complain(error: ForwarderError) -> None:
    typer.echo(f"error: {printable(error.message)}", err=True)
    if error.hint:
        typer.echo(f"mend:  {printable(error.hint)}", err=True)


def printable(text: str) -> str:
    """What comes from outside must not move the cursor or colour the screen."""
    return "".join(character if character.isprintable() or character == "\n" else "�" for character in text)


def shown(time: datetime | None) -> str:
    return "–" if time is None else time.astimezone().isoformat(sep=" ", timespec="seconds")


def ago(time: datetime | None, now: datetime) -> str:
    if time is None:
        return "never"
    seconds = max(0, int((now - time).total_seconds()))
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"
