"""The checks of the logs API: its address, the key, and each workflow."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence

from pydantic import SecretStr

from forwarder.alloy.client import LogsClient
from forwarder.alloy.discovery import discover
from forwarder.clock import Clock
from forwarder.diagnostics.results import CheckResult, to_forwarder_error
from forwarder.errors import (
    ForwarderError,
    PageUndecodable,
    PageUnreadable,
    SettingsError,
    SourceError,
    SourceRefused,
    SourceUnavailable,
)
from forwarder.intake.source_health import NO_WORKFLOWS, NO_WORKFLOWS_HINT
from forwarder.model import Feed
from forwarder.settings.models import AlloySettings
from forwarder.vault import ALLOY_API_KEY, missing_secret_error

LOGS_API, WORKFLOWS = "logs API", "workflows"
"""The names of the checks."""

MAX_CHECKED_FEEDS = 100
"""Feeds whose first page is requested. The others are counted in the message."""

MAX_NAMED_FEEDS = 5
"""Feeds that one error message names. The others are counted."""

FeedError = SourceError | None
"""The error of the request for the first page of a feed, or None if the page was returned."""


async def check_source(settings: AlloySettings, key: SecretStr | None, clock: Clock) -> AsyncIterator[CheckResult]:
    """Yield the check of the logs API and, if it responds, the check of the workflows.

    If the settings name nothing to watch, yield the latter in any case.
    """
    watches_nothing = not settings.source.workflows and not settings.source.discover
    no_workflows = CheckResult(WORKFLOWS, error=SettingsError(NO_WORKFLOWS, hint=NO_WORKFLOWS_HINT))
    if key is None:
        yield CheckResult(LOGS_API, error=missing_secret_error(ALLOY_API_KEY))
        if watches_nothing:
            yield no_workflows
        return
    try:
        async with LogsClient(settings.source, key, clock) as client:
            feeds = await _watched_feeds(client, settings)
            errors = await _request_first_pages(client, feeds[:MAX_CHECKED_FEEDS], settings)
    except Exception as error:  # noqa: BLE001  # a bug in one check must not hide the others
        yield CheckResult(LOGS_API, error=to_forwarder_error(error))
        if watches_nothing:
            yield no_workflows
        return
    yield CheckResult(LOGS_API, f"{settings.source.base_url} responds, and accepts the key")
    if not feeds:
        yield no_workflows
    elif failed := {feed: error for feed, error in errors.items() if isinstance(error, SourceError)}:
        yield CheckResult(WORKFLOWS, error=_workflows_error(failed, len(errors)))
    else:
        yield CheckResult(WORKFLOWS, _responded_message(len(errors), len(feeds)))


async def _watched_feeds(client: LogsClient, settings: AlloySettings) -> list[Feed]:
    """Return the feeds of the settings and of the discovery. Without any, request the users, to try the key."""
    feeds: list[Feed] = list(settings.source.workflows)
    if settings.source.discover:
        feeds += (await discover(client)).feeds
    if not feeds:
        with contextlib.suppress(PageUnreadable):  # the API responded, and did not refuse the key
            await client.list_users()
    return list(dict.fromkeys(feeds))


async def _request_first_pages(
    client: LogsClient, feeds: Sequence[Feed], settings: AlloySettings
) -> Mapping[Feed, FeedError]:
    """Return the error of each feed, or None. Raise SourceError if the API fails for every feed."""
    errors: dict[Feed, FeedError] = {}
    remaining = iter(feeds)
    if first := next(remaining, None):
        errors[first] = await _request_first_page(client, first, settings)
        if isinstance(error := errors[first], (SourceRefused, SourceUnavailable)):
            raise error  # the requests of other feeds would fail in the same way

    async def request_remaining() -> None:
        for feed in remaining:
            errors[feed] = await _request_first_page(client, feed, settings)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(settings.source.concurrency):
            tasks.create_task(request_remaining())
    if errors and all(isinstance(error, PageUnreadable) for error in errors.values()):
        raise next(error for error in errors.values() if isinstance(error, PageUnreadable))
    return {feed: errors[feed] for feed in feeds}


async def _request_first_page(client: LogsClient, feed: Feed, settings: AlloySettings) -> FeedError:
    try:
        await client.fetch_page(feed, 0, settings.source.page_size)
    except PageUndecodable:  # a poll reads the records of such a page one by one
        return None
    except SourceError as error:
        return error
    return None


def _workflows_error(failed: Mapping[Feed, SourceError], checked: int) -> ForwarderError:
    """Return one error that names the first failed feeds. It has the hint and the exit code of the worst."""
    worst = max(failed.values(), key=lambda error: error.exit_code)
    named = [f"{feed}: {error.message}" for feed, error in list(failed.items())[:MAX_NAMED_FEEDS]]
    if len(failed) > MAX_NAMED_FEEDS:
        named.append(f"{len(failed) - MAX_NAMED_FEEDS} others")
    message = f"{len(failed)} of {checked} cannot be polled: {'; '.join(named)}"
    kind = SourceRefused if isinstance(worst, SourceRefused) else SourceError
    return kind(message, hint=worst.hint)


def _responded_message(responded: int, watched: int) -> str:
    untried = watched - responded
    return f"{responded} of {watched} responded{f'; {untried} were not tried' if untried else ''}"
