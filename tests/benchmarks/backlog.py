"""The creation of ledgers with a backlog of pending entries, recorded as intake records them."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from forwarder.ledger import SqliteLedger
from forwarder.model import Checkpoint, Entry, Feed
from tests.benchmarks.file_cache import copy_cached

FEED = Feed("w-0")
PAGE = 1000


def create_backlog(file: Path, entries: int, *, size: int = 1024) -> Path:
    """Create a ledger with pending entries whose detail has `size` bytes."""
    return copy_cached(
        f"pending-{entries}-{size}.db", lambda made: asyncio.run(_create_backlog(made, entries, size)), file
    )


async def _create_backlog(file: Path, entries: int, size: int) -> None:
    now = datetime.now(UTC)
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
        for start in range(0, entries, PAGE):
            numbers = range(start, min(start + PAGE, entries))
            await ledger.record(FEED, [Entry(f"pending-{each:07d}", FEED, now, detail(each, size)) for each in numbers],
                                now=now)  # fmt: skip


def detail(number: int, size: int) -> bytes:
    """Return a detail that compresses as an event does, to about a third."""
    start = f'{{"version":"1","executionId":"pending-{number:07d}","workflowId":"w-0","forwarder":{{}},"results":"'
    words = " ".join(f"{number * (at + 7919) % 99_991:x} order" for at in range(size // 10))
    return (start + words)[: size - 2].encode() + b'"}'
