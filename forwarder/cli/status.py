"""`forwarder status`"""

import asyncio
import contextlib
from datetime import UTC, datetime
from typing import Any

import typer

from forwarder.cli.output import AsJson, ago, echo, print_json, print_table
from forwarder.errors import LedgerError, SettingsError
from forwarder.ledger import Books, FeedStatus, Ledger, is_running, ledger_file, open_ledger, require_ledger
from forwarder.settings import LocalSettings, Place, load, load_local

PATIENCE = 2.0
"""Seconds that a running forwarder has to answer."""


def status(context: typer.Context, *, as_json: AsJson = False) -> None:
    """How it does: the switch, the parts, the books, and when each feed was read last. Works while it runs.

    Example: forwarder status --json
    """
    place: Place = context.obj
    try:
        settings: LocalSettings | None = load_local(place)
    except SettingsError:
        settings = None
    found = asyncio.run(_look(place, settings))
    if as_json:
        print_json(found)
    else:
        _print(found)


async def _look(place: Place, valid: LocalSettings | None) -> dict[str, Any]:
    # A running forwarder goes on with its last good settings while the file is being mended, and so does this.
    settings = valid or LocalSettings()
    pulse, feeds, oldest, books, switched = None, list[FeedStatus](), None, Books(), None
    require_ledger(ledger_file(place, settings))
    if ledger_file(place, settings).exists():  # before the first run there is none, and that is no error
        async with open_ledger(place, settings) as ledger:
            if is_running(ledger_file(place, settings)):
                await _ask(ledger)
            pulse = await ledger.pulse()
            feeds = await ledger.feeds()
            oldest = await ledger.oldest_owed()
            books = await ledger.books()
            switched = await ledger.switched()
    running = is_running(ledger_file(place, settings))
    return {
        "enabled": settings.enabled if valid else switched,
        "settings_error": _settings_error(place),
        "running": running,
        "pid": pulse.pid if running and pulse else None,
        "told_at": pulse.at if pulse else None,
        "parts": pulse.parts if pulse and running else {},
        "books": books,
        "oldest_owed_at": oldest,
        "last_reading_at": max((feed.reading.at for feed in feeds if feed.reading), default=None),
        "feeds": [
            {
                "workflow_id": each.feed.workflow_id,
                "user_id": each.feed.user_id,
                "read_at": each.reading.at if each.reading else None,
                "error": each.reading.error if each.reading else "",
                "watermark": each.checkpoint.watermark,
                "open": len(each.checkpoint.open),
            }
            for each in feeds
        ],
    }


async def _ask(ledger: Ledger) -> None:
    """Ask the running forwarder how it does, and wait a little: one that hangs or has a full disk tells nothing."""
    before = await ledger.pulse()
    with contextlib.suppress(LedgerError, TimeoutError):
        await ledger.ask(now=datetime.now(UTC))
        async with asyncio.timeout(PATIENCE):
            while await ledger.pulse() == before:  # noqa: ASYNC110  # it is another process that answers
                await asyncio.sleep(0.02)


def _settings_error(place: Place) -> str:
    try:
        load(place)
    except SettingsError as error:
        return error.message
    return ""


def _print(found: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    echo(f"switched {'on' if found['enabled'] else 'off'}, {_process(found)}")
    if found["settings_error"]:
        echo(f"settings not valid: {found['settings_error']}")
    echo(f"last reading {ago(found['last_reading_at'], now)}")
    books = found["books"]
    oldest = f", the oldest recorded {ago(found['oldest_owed_at'], now)}" if books.owed else ""
    echo(f"{books.owed} owed{oldest}; {books.sent} sent, {books.dead} dead, {books.recorded} ever recorded")
    if found["parts"]:
        echo("")
    for name, part in found["parts"].items():  # no table: a reason and its hint are shown whole at any width
        echo(f"{name:<10}{part['state']:<10}{part['why']}".rstrip())
        if part["mend"]:
            echo(f"{'':<20}hint: {part['mend']}")
    if not found["feeds"]:
        return
    echo("")
    print_table(
        ("workflow", "user", "last reading", "watermark", "open", "problem"),
        [
            (
                *(
                    feed["workflow_id"],
                    feed["user_id"] or "",
                    ago(feed["read_at"], now),
                    ago(feed["watermark"], now),
                ),
                *(str(feed["open"]), feed["error"]),
            )
            for feed in found["feeds"]
        ],
        texts=("problem",),
    )


def _process(found: dict[str, Any]) -> str:
    return f"running as process {found['pid']}" if found["running"] else "not running"
