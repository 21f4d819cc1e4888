"""The command `forwarder replay`."""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from forwarder.cli.output import JsonOption, echo, parse_option, print_json
from forwarder.clock import SystemClock
from forwarder.errors import INTERRUPTED_EXIT_CODE, LedgerLocked, UsageError
from forwarder.event_search import parse_time
from forwarder.ledger import Ledger, LedgerPlace, ReplayCounts, TimeWindow, ledger_place, open_ledger
from forwarder.runtime import handle_signals
from forwarder.settings import ConfigSource, LocalSettings, load_local
from forwarder.settings.duration import parse_duration

PROGRESS_INTERVAL_SECONDS = 0.2

RUNNING_CHECK_SECONDS = 2.0
"""The interval at which the command checks whether the forwarder that is to send the events still runs."""

RESTART_SECONDS = 10.0
"""The time in which an ended forwarder is restarted. The unit for systemd does this after 5 s."""

Selection = TimeWindow | list[str]
"""The events to replay: those of a time window, or those with these executionIds."""


def replay(
    context: typer.Context,
    execution_ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID…", help="executionIds of the events, instead of a period.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(help="Events of executions that stopped within this time before now: 24h.")
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option("--from", help="Events of executions that stopped at or after this time: 2026-11-20T00:00:00Z."),
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="Events of executions that stopped before this time [default: now].")
    ] = None,
    workflow: Annotated[str | None, typer.Option(help="Only events of this workflow.")] = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print how many would be sent.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask for confirmation.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Send the named events, or those of a period, again. An event is stored for `payload_retention` after it was sent.

    Each event is marked with detail.forwarder.replay = true. A running daemon sends them. If none runs, or if it ends
    meanwhile, this command does.

    Example: forwarder replay --since 24h --workflow 64f1a2 --dry-run
    """
    config_source: ConfigSource = context.obj
    settings = load_local(config_source)
    selected: Selection
    if execution_ids:
        if any(value is not None for value in (since, from_, to, workflow)):
            raise UsageError("name executionIds or a period, not both")
        selected = list(dict.fromkeys(execution_ids))
    else:
        selected = _window(since, from_, to, workflow, datetime.now(UTC))
    found = asyncio.run(_find_replayable(config_source, settings, selected))
    if as_json:
        print_json({"available": found.available, "expired": found.expired, "dry_run": dry_run})
    else:
        _print_replayable(found, settings)
    if dry_run or not found.available:
        return
    if not yes:
        _confirm(found)
    asyncio.run(_replay(config_source, settings, selected))


def _window(since: str | None, from_: str | None, to: str | None, workflow: str | None, now: datetime) -> TimeWindow:
    if since is not None and (from_ is not None or to is not None):
        raise UsageError("--since excludes --from and --to")
    if since is not None:
        start = now - parse_option("--since", parse_duration, since)
    elif from_ is not None:
        start = parse_option("--from", parse_time, from_)
    else:
        raise UsageError("name executionIds or a time: --since 24h, or --from T with or without --to T")
    end = now if to is None else parse_option("--to", parse_time, to)
    if start >= end:
        raise UsageError("the time ends before it begins")
    return TimeWindow(start, end, workflow)


async def _find_replayable(config_source: ConfigSource, settings: LocalSettings, selected: Selection) -> ReplayCounts:
    """Return how many events can be sent again. Raise UsageError if a named one cannot."""
    async with open_ledger(config_source, settings) as ledger:
        if isinstance(selected, TimeWindow):
            return await ledger.replay_counts(selected)
        for execution_id in selected:
            stored = await ledger.stored_entry(execution_id)
            if stored is None:
                raise UsageError(
                    f"no event with the executionId {execution_id} is stored",
                    hint="`forwarder events list` lists them; ledger.payload_retention sets how long they are stored",
                )
            if stored.state != "sent":
                hint = f"`forwarder dead-letters retry {execution_id}`" if stored.state == "dead" else ""
                raise UsageError(f"the event {execution_id} is {stored.state}, not sent", hint=hint)
        return ReplayCounts(len(selected), {})


def _print_replayable(found: ReplayCounts, settings: LocalSettings) -> None:
    echo(f"{_events(found.available)} can be sent again")
    for workflow_id, count in found.expired.items():
        kept = settings.ledger.payload_retention
        echo(f"not stored any more (payload_retention is {kept}): {count} of workflow {workflow_id}")


def _events(count: int) -> str:
    return f"{count} event{'' if count == 1 else 's'}"


def _confirm(found: ReplayCounts) -> None:
    if not sys.stdin.isatty():
        raise UsageError(
            "standard input is no terminal, so nobody can confirm",
            hint="give --yes, or --dry-run to see what would be sent",
        )
    typer.confirm(f"send {_events(found.available)} again?", abort=True)


async def _replay(config_source: ConfigSource, settings: LocalSettings, selected: Selection) -> None:
    async with open_ledger(config_source, settings) as ledger:
        now = datetime.now(UTC)
        if isinstance(selected, TimeWindow):
            count = await ledger.replay(selected, now=now)
        else:
            count = await ledger.replay_executions(selected, now=now)
        if (await ledger.members()).is_shared and await ledger.saved_switch() is False:
            echo("all processes are switched off: they are pending until `forwarder enable --fleet`", err=True)
            return
        if not settings.enabled:
            echo("switched off: they are pending, and sent when it is on again (`forwarder enable`)", err=True)
            return
        stop = asyncio.Event()
        with handle_signals(stop=stop.set):
            await _wait_until_sent(config_source, settings, ledger, count, stop)
        if stop.is_set():
            echo(f"stopped: {await ledger.pending_replays()} of {count} are still pending, and sent later", err=True)
            raise typer.Exit(INTERRUPTED_EXIT_CODE)


async def _wait_until_sent(
    config_source: ConfigSource, settings: LocalSettings, ledger: Ledger, count: int, stop: asyncio.Event
) -> None:
    """Wait until `count` events are sent, or `stop` is set. Send them if no forwarder runs, or none runs any more."""
    place = ledger_place(config_source, settings)
    columns = (TextColumn("sent again"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        bar = progress.add_task("", total=count)

        async def show_during(work: asyncio.Task[None]) -> bool:
            """Show the progress until all events are sent, `work` has ended or `stop` is set. Return if any are not."""
            while (remaining := await ledger.pending_replays()) and not work.done() and not stop.is_set():
                progress.update(bar, completed=count - remaining)
                await SystemClock().wait(stop, PROGRESS_INTERVAL_SECONDS)
            progress.update(bar, completed=count - remaining)
            return remaining > 0

        while True:
            waiting = asyncio.create_task(_wait_until_none_runs(place))
            try:
                if not await show_during(waiting) or stop.is_set():
                    return
            finally:
                waiting.cancel()
            await waiting
            sending = asyncio.create_task(_deliver(config_source))
            await show_during(sending)
            if stop.is_set():
                sending.cancel()  # what is in flight ends first
                await asyncio.wait([sending])
                return
            try:
                await sending
            except LedgerLocked:
                continue  # a forwarder was started meanwhile, and sends them
            return


async def _wait_until_none_runs(place: LedgerPlace) -> None:
    """Return at once if no forwarder runs on a ledger, otherwise when all have ended and none was restarted.

    One that shares a table and was killed counts as running until its last heartbeat is old.
    """
    clock = SystemClock()
    while await place.is_running():
        while await place.is_running():
            await clock.sleep(RUNNING_CHECK_SECONDS)
        await clock.sleep(RESTART_SECONDS)


async def _deliver(config_source: ConfigSource) -> None:
    from forwarder.once import deliver_pending  # noqa: PLC0415  # the AWS SDK takes a while to load

    await deliver_pending(config_source, SystemClock(), timedelta(hours=1))
