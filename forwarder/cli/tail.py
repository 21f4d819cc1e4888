"""The command `forwarder tail`."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal

import typer
from rich.console import Console
from rich.text import Text

from forwarder.cli.output import JsonOption, echo, parse_option, print_json_line
from forwarder.clock import SystemClock
from forwarder.errors import INTERRUPTED_EXIT_CODE, LedgerUnavailable
from forwarder.event.failure import listed_error
from forwarder.event_search import search
from forwarder.ledger import EntryFilter, Ledger, LedgerPlace, StoredEntry, ledger_place
from forwarder.printable import printable
from forwarder.runtime import handle_signals
from forwarder.settings import ConfigSource, load_local
from forwarder.settings.duration import parse_duration

POLL_SECONDS: Final = 0.5

RETRY_SECONDS: Final = 5.0
"""The time between two attempts while a shared ledger cannot be reached."""

PAGE_ENTRIES: Final = 100

ID_COLUMNS: Final = 24

Kind = Literal["found", "sent"]
Changes = AsyncGenerator[tuple[Kind, StoredEntry], None]


def tail(
    context: typer.Context,
    since: Annotated[
        str | None, typer.Option(help="First print the failures found within this time before now: 10m.")
    ] = None,
    *,
    as_json: JsonOption = False,
) -> None:
    """Print one line for each failure that is found and for each event that is sent, until Ctrl-C.

    It waits for a ledger that does not exist yet. --since prints at most the newest 1,000 failures.

    Example: forwarder tail --since 10m
    """
    start = None if since is None else datetime.now(UTC) - parse_option("--since", parse_duration, since)
    asyncio.run(_follow(context.obj, start, _JsonLines() if as_json else _TextLines()))
    raise typer.Exit(INTERRUPTED_EXIT_CODE)


class _TextLines:
    """The lines for a person: cut to the width of a terminal, and whole in a pipe, because logs are searched."""

    def __init__(self) -> None:
        self._console = Console(highlight=False)
        self._workflow_columns = 0

    def print(self, kind: Kind, stored: StoredEntry) -> None:
        workflow = printable(stored.entry.feed.workflow_id)
        self._workflow_columns = max(self._workflow_columns, len(workflow))
        line = Text.assemble(
            (f"{_time(kind, stored).astimezone():%H:%M:%S}", "dim"),
            "  ",
            (kind.ljust(len("found")), "green" if kind == "sent" else "red"),
            "  ",
            (workflow.ljust(self._workflow_columns), "cyan"),
            "  ",
            (printable(stored.entry.execution_id).ljust(ID_COLUMNS), "dim"),
            "  ",
            ("again: ", "yellow") if _is_replay(kind, stored) else "",
            printable(listed_error(stored.entry.detail).message),
        )
        layout: dict[str, Any] = (
            {"no_wrap": True, "overflow": "ellipsis"} if self._console.is_terminal else {"soft_wrap": True}
        )
        self._console.print(line, **layout)


class _JsonLines:
    """The lines for a program: one JSON object each."""

    def print(self, kind: Kind, stored: StoredEntry) -> None:
        entry, error = stored.entry, listed_error(stored.entry.detail)
        line = {
            "kind": kind,
            "at": _time(kind, stored),
            "execution_id": entry.execution_id,
            "workflow_id": entry.feed.workflow_id,
            "user_id": entry.feed.user_id,
            "message": error.message,
            "code": error.code,
            "replay": _is_replay(kind, stored),
            "event_id": stored.result if kind == "sent" else "",
        }
        print_json_line(line)


def _time(kind: Kind, stored: StoredEntry) -> datetime:
    return stored.settled_at if kind == "sent" and stored.settled_at else stored.recorded_at


def _is_replay(kind: Kind, stored: StoredEntry) -> bool:
    return kind == "sent" and stored.replay


async def _follow(config_source: ConfigSource, start: datetime | None, lines: _TextLines | _JsonLines) -> None:
    settings = load_local(config_source)
    stop = asyncio.Event()
    with handle_signals(stop=stop.set):
        place = ledger_place(config_source, settings)
        is_new = await _wait_for_ledger(place, stop)
        if stop.is_set():
            return
        async with place.open() as ledger:
            # A new ledger is read from its beginning: a failure may be found before it is opened here.
            position = None if is_new else await ledger.last_activity()
            echo("following: Ctrl-C ends it", err=True)
            earlier = [] if is_new or start is None else await _found_since(ledger, start)
            for stored in earlier:
                lines.print("found", stored)
            printed_ids = {stored.entry.execution_id for stored in earlier}
            async with aclosing(changes_after(ledger, position, stop)) as changes:
                async for kind, stored in changes:
                    if kind == "sent" or stored.entry.execution_id not in printed_ids:
                        lines.print(kind, stored)


async def _wait_for_ledger(place: LedgerPlace, stop: asyncio.Event) -> bool:
    """Wait until the ledger exists or `stop` is set. Return whether it did not exist.

    Raise LedgerError if it was lost.
    """
    if await asyncio.to_thread(place.exists):
        return False
    echo(f"waiting for the ledger {place}: `forwarder run` or `forwarder once` creates it", err=True)
    while not stop.is_set() and not await asyncio.to_thread(place.exists):
        await SystemClock().wait(stop, POLL_SECONDS)
    return True


async def _found_since(ledger: Ledger, start: datetime) -> list[StoredEntry]:
    """Return the newest failures that were found since then, oldest first."""
    return list(reversed((await search(ledger, EntryFilter(recorded_from=start))).entries))


async def changes_after(ledger: Ledger, position: str | None, stop: asyncio.Event) -> Changes:
    """Yield each failure that is found and each event that is sent after a position, in the order of their times."""
    failure = ""
    while not stop.is_set():
        try:
            activity = await ledger.activity(position, PAGE_ENTRIES)
        except LedgerUnavailable as error:
            if failure != error.message:
                failure = error.message
                echo(f"waiting: {failure}", err=True)
            await SystemClock().wait(stop, RETRY_SECONDS)
            continue
        failure = ""
        position = activity.position
        changes: list[tuple[Kind, StoredEntry]] = [("found", stored) for stored in activity.recorded]
        changes += [("sent", stored) for stored in activity.sent]
        for kind, stored in sorted(changes, key=lambda change: _time(*change)):
            yield kind, stored
        if not changes:
            await SystemClock().wait(stop, POLL_SECONDS)
