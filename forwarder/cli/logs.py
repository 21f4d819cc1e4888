"""The command `forwarder logs`."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from forwarder.cli._logs_client import call_logs_api
from forwarder.cli.output import JsonOption, format_time, print_json, print_table
from forwarder.model import Classification, Execution, Feed
from forwarder.settings.models import AlloySettings
from forwarder.untrusted_json import JSON_ERRORS

if TYPE_CHECKING:  # httpx takes a while to load, and few commands need it
    from forwarder.alloy.client import LogsClient

MAX_PAGES = 1000
MAX_MESSAGE_CHARACTERS = 200


class _RawPage(msgspec.Struct):
    data: list[msgspec.Raw]


def logs(
    context: typer.Context,
    workflow_id: Annotated[str, typer.Argument(metavar="WORKFLOW_ID")],
    *,
    failed: Annotated[bool, typer.Option("--failed", help="Only failed executions.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Largest number of executions.")] = 30,
    user: Annotated[str | None, typer.Option(help="Only executions of this user.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Print the latest executions of a workflow, as the Error Logging API returns them.

    Example: forwarder logs 64f1a2 --failed --limit 10
    """
    feed = Feed(workflow_id, user)
    found = call_logs_api(context, lambda client, settings: _latest(client, settings, feed, limit, failed=failed))
    if as_json:
        print_json([raw for _, _, raw in found])
        return
    print_table(
        ("execution", "started", "duration", "status", "error"),
        [_row(execution, classification) for execution, classification, _ in found],
        texts=("error",),
    )


async def _latest(
    client: "LogsClient", settings: AlloySettings, feed: Feed, limit: int, *, failed: bool
) -> list[tuple[Execution, Classification, Any]]:
    from forwarder.intake.classify import Classifier  # noqa: PLC0415  # as above

    classifier = Classifier.from_settings(settings.source)
    found: list[tuple[Execution, Classification, Any]] = []
    async with aclosing(_executions(client, feed, settings.source.page_size)) as executions:
        async for execution, raw in executions:
            classification = classifier.classify(execution)
            if not failed or classification is Classification.FAILED:
                found.append((execution, classification, raw))
            if len(found) == limit:
                break
    return found


async def _executions(client: "LogsClient", feed: Feed, size: int) -> AsyncGenerator[tuple[Execution, Any], None]:
    """Yield each execution once, newest first, with its raw JSON."""
    yielded_ids: set[str] = set()
    for number in range(MAX_PAGES):
        page = await client.fetch_page(feed, number, size)
        raw_records = _raw_records(page.body)
        fresh = [execution for execution in page.records.executions if execution.id not in yielded_ids]
        if page.records.is_empty or (not fresh and number > 1):
            return
        for execution in fresh:
            yielded_ids.add(execution.id)
            yield execution, raw_records.get(execution.id, {"executionId": execution.id})


def _raw_records(body: bytes) -> dict[str, msgspec.Raw]:
    try:
        raws = msgspec.json.decode(body, type=_RawPage).data
        return {msgspec.json.decode(raw, type=Execution).id: raw for raw in raws}
    except JSON_ERRORS:
        return {}


def _row(execution: Execution, classification: Classification) -> tuple[str, ...]:
    from forwarder.intake.transform import unredacted_error  # noqa: PLC0415  # as above

    duration = execution.stop - execution.start if execution.start and execution.stop else None
    message = unredacted_error(execution)["message"] if classification is Classification.FAILED else ""
    return (
        execution.id,
        format_time(execution.start),
        "–" if duration is None else f"{duration.total_seconds():.1f} s",
        execution.status or classification.value,
        message[:MAX_MESSAGE_CHARACTERS],
    )
