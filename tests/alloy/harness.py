"""The logs client, connected to a fake or hostile API."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Protocol

from pydantic import SecretStr

from forwarder.alloy.client import LogsClient
from forwarder.model import Feed
from tests.factories import some_settings
from tests.fakes.alloy import API_KEY, MIB
from tests.virtual_clock import QuickClock

FEED = Feed("w")


class Listener(Protocol):
    @property
    def url(self) -> str: ...


@asynccontextmanager
async def open_client(
    alloy: Listener, clock: QuickClock | None = None, *, key: str = API_KEY, **source: Any
) -> AsyncIterator[LogsClient]:
    settings = some_settings(
        source={"base_url": alloy.url, "timeout": "3s", "max_body_bytes": MIB, "requests_per_second": 1000, **source}
    ).source
    async with LogsClient(settings, SecretStr(key), clock or QuickClock()) as client:
        yield client


async def ids(client: LogsClient, number: int = 0, limit: int = 2, feed: Feed = FEED) -> str:
    page = await client.fetch_page(feed, number, limit)
    return "".join(each.id for each in page.records.executions)
