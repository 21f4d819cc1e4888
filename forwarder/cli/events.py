"""The commands `forwarder events list | show`."""

import asyncio
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
import typer

from forwarder.cli.output import JsonOption, echo, format_time, parse_option, print_json, print_table
from forwarder.errors import UsageError
from forwarder.event.failure import listed_error
from forwarder.event.idempotency import displayed_detail
from forwarder.event_search import MAX_SEARCHED_ENTRIES, SearchResult, parse_time, search
from forwarder.ledger import EntryFilter, StoredEntry, open_ledger
from forwarder.settings import ConfigSource, load_local
from forwarder.settings.duration import parse_duration

app = typer.Typer(
    name="events",
    no_args_is_help=True,
    help="The stored events: pending, sent and dead.\n\nExample: forwarder events list --state dead",
)

StateOption = Annotated[Literal["pending", "sent", "dead"] | None, typer.Option(help="Only events in this state.")]
SinceOption = Annotated[str | None, typer.Option(help="Only events found within this time before now: 24h.")]
FromOption = Annotated[
    str | None, typer.Option("--from", help="Only events found at or after this time: 2026-11-20T00:00:00Z.")
]
ToOption = Annotated[str | None, typer.Option(help="Only events found before this time.")]


@app.command("list")
def list_(
    context: typer.Context,
    state: StateOption = None,
    workflow: Annotated[str | None, typer.Option(help="Only events of this workflow.")] = None,
    since: SinceOption = None,
    from_: FromOption = None,
    to: ToOption = None,
    text: Annotated[
        str | None, typer.Option(help="Only events with this text in the message, code, block or an id.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_SEARCHED_ENTRIES, help="Largest number of events.")] = 50,
    *,
    as_json: JsonOption = False,
) -> None:
    """List stored events, newest first. --text searches only the newest 1,000 events that match the other options.

    Example: forwarder events list --state dead --since 24h --text timeout
    """
    start, end = _range(since, from_, to, datetime.now(UTC))
    found = asyncio.run(_search(context.obj, EntryFilter(state, workflow, start, end), text or ""))
    shown = found.entries[:limit]
    if as_json:
        print_json([_summary(each) for each in shown])
    elif shown:
        print_table(
            ("execution", "workflow", "found", "state", "message"),
            [
                (
                    each.entry.execution_id,
                    str(each.entry.feed),
                    format_time(each.recorded_at),
                    each.state,
                    listed_error(each.entry.detail).message,
                )
                for each in shown
            ],
            texts=("message",),
        )
    else:
        echo("no stored event matches")
    _print_rest(found, len(shown))


def _print_rest(found: SearchResult, shown: int) -> None:
    """Print that there are more events than those shown, if there are."""
    if shown < len(found.entries):
        echo(f"{shown} of {len(found.entries)} events are shown: --limit shows more", err=True)
    if found.is_truncated:
        echo("older events were not searched: --to searches those before a time", err=True)


@app.command()
def show(
    context: typer.Context,
    execution_id: Annotated[str, typer.Argument(metavar="ID")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Print an event: its state, times and error, or with --json also the detail.

    Example: forwarder events show 6daaa0cf1a3daa6c41b5-ef --json
    """
    stored = asyncio.run(_stored_entry(context.obj, execution_id))
    if stored is None:
        raise UsageError(
            f"no event with the executionId {execution_id} is stored", hint="`forwarder events list` lists all"
        )
    if as_json:
        detail = displayed_detail(stored.entry.detail, stored.send_number)
        print_json({**_summary(stored), "detail": msgspec.Raw(detail)})
        return
    for name, value in _summary(stored).items():
        if value not in (None, "", False):
            echo(f"{name.replace('_', ' ')}: {format_time(value) if isinstance(value, datetime) else value}")


def _range(
    since: str | None, from_: str | None, to: str | None, now: datetime
) -> tuple[datetime | None, datetime | None]:
    if since is not None and (from_ is not None or to is not None):
        raise UsageError("--since excludes --from and --to")
    if since is not None:
        return now - parse_option("--since", parse_duration, since), None
    start = None if from_ is None else parse_option("--from", parse_time, from_)
    return start, None if to is None else parse_option("--to", parse_time, to)


async def _search(config_source: ConfigSource, matching: EntryFilter, text: str) -> SearchResult:
    async with open_ledger(config_source, load_local(config_source)) as ledger:
        return await search(ledger, matching, text)


async def _stored_entry(config_source: ConfigSource, execution_id: str) -> StoredEntry | None:
    async with open_ledger(config_source, load_local(config_source)) as ledger:
        return await ledger.stored_entry(execution_id)


def _summary(stored: StoredEntry) -> dict[str, Any]:
    error = listed_error(stored.entry.detail)
    return {
        "execution_id": stored.entry.execution_id,
        "workflow_id": stored.entry.feed.workflow_id,
        "user_id": stored.entry.feed.user_id,
        "state": stored.state,
        "message": error.message,
        "code": error.code,
        "block_id": error.block_id,
        "time": stored.entry.time,
        "recorded_at": stored.recorded_at,
        "settled_at": stored.settled_at,
        "attempts": stored.attempts,
        "result": stored.result,
        "reason": stored.reason,
        "replay": stored.replay,
    }
