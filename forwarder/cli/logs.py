"""`forwarder logs`"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from forwarder.cli.output import AsJson, print_json, print_table, shown
from forwarder.cli.source import ask
from forwarder.model import Execution, Feed, Verdict
from forwarder.settings import Settings

if TYPE_CHECKING:  # what asks the logs API and looks into its answers takes a while to load, and few verbs need it
    from forwarder.alloy.client import LogsClient

MOST_PAGES = 1000
LONGEST_MESSAGE = 200


class _AsSaid(msgspec.Struct):
    data: list[msgspec.Raw]


def logs(
    context: typer.Context,
    workflow_id: Annotated[str, typer.Argument(metavar="WORKFLOW_ID")],
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Only those that failed.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="How many to show at the most.")] = 30,
    user: Annotated[str | None, typer.Option(help="Only those of this user.")] = None,
    as_json: AsJson = False,
) -> None:
    """The latest executions of a workflow, as the Error Logging API tells them.

    Example: forwarder logs 64f1a2 --failed --limit 10
    """
    feed = Feed(workflow_id, user)
    found = ask(context, lambda client, settings: _latest(client, settings, feed, limit, failed=failed))
    if as_json:
        print_json([said for _, _, said in found])
        return
    print_table(
        ("execution", "started", "duration", "status", "error"),
        [_row(execution, verdict) for execution, verdict, _ in found],
        texts=("error",),
    )


async def _latest(
    client: "LogsClient", settings: Settings, feed: Feed, limit: int, *, failed: bool
) -> list[tuple[Execution, Verdict, Any]]:
    from forwarder.intake.selection import Selection  # noqa: PLC0415  # as above

    selection = Selection.of(settings.source)
    found: list[tuple[Execution, Verdict, Any]] = []
    async with aclosing(_all(client, feed, settings.source.page_size)) as executions:
        async for execution, said in executions:
            verdict = selection.judge(execution)
            if not failed or verdict is Verdict.FAILED:
                found.append((execution, verdict, said))
            if len(found) == limit:
                break
    return found


async def _all(client: "LogsClient", feed: Feed, size: int) -> AsyncGenerator[tuple[Execution, Any], None]:
    """Each execution once, newest first, and as the API said it."""
    met: set[str] = set()
    for number in range(MOST_PAGES):
        page = await client.page(feed, number, size)
        said = _as_said(page.body)
        fresh = [execution for execution in page.records.executions if execution.id not in met]
        if page.records.empty or (not fresh and number > 1):
            return
        for execution in fresh:
            met.add(execution.id)
            yield execution, said.get(execution.id, {"executionId": execution.id})


def _as_said(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        raws = msgspec.json.decode(body, type=_AsSaid).data
        return {msgspec.json.decode(raw, type=Execution).id: raw for raw in raws}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _row(execution: Execution, verdict: Verdict) -> tuple[str, ...]:
    from forwarder.intake.shaping import error_of  # noqa: PLC0415  # as above

    duration = execution.stop - execution.start if execution.start and execution.stop else None
    message = error_of(execution)["message"] if verdict is Verdict.FAILED else ""
    return (
        execution.id,
        shown(execution.start),
        "–" if duration is None else f"{duration.total_seconds():.1f} s",
        execution.status or verdict.value,
        message[:LONGEST_MESSAGE],
    )
