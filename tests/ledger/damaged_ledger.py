"""A ledger file to damage, and functions that read it afterwards."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import TypeVar

from forwarder.ledger import Counters, Dead, DeadLetter, Sent, SqliteLedger
from forwarder.model import Checkpoint, ClaimedEntry, Feed
from tests.factories import FEED, entry
from tests.virtual_clock import NOON

T = TypeVar("T")

OTHER = Feed("w-2", "u-1")
COUNT = 120
PAGE = 4096


def detail(number: int) -> bytes:
    """Return 2 KB that do not compress, so that each detail has nearly a page of the file."""
    noise = Random(number).randbytes(1000).hex()  # noqa: S311 - repeatable noise
    return f'{{"executionId":"e-{number:03}","workflowId":"w-1","noise":"{noise}"}}'.encode()


def fill(file: Path) -> None:
    """Create a ledger with 120 pending, 10 sent and 10 dead entries, and two feeds with their checkpoints."""

    async def work() -> None:
        async with SqliteLedger(file, create=True) as ledger:
            await ledger.add_feeds({FEED: Checkpoint(), OTHER: Checkpoint(watermark=NOON)})
            failures = [entry(f"e-{number:03}", detail=detail(number)) for number in range(COUNT + 20)]
            await ledger.record(FEED, failures, now=NOON, checkpoint=Checkpoint(watermark=NOON, floor=NOON))
            claimed = await ledger.claim(20, now=NOON)
            settlements = [
                Sent(each.token, "id") if int(str(each.token)) % 2 else Dead(each.token, "No", "no") for each in claimed
            ]
            await ledger.settle(settlements, now=NOON)

    asyncio.run(work())


WHOLE = Counters(recorded=COUNT + 20, pending=COUNT, sent=10, dead=10)


def pages(file: Path, *names: str) -> list[int]:
    """Return the root pages of tables or indexes, because a damaged root hides the most rows."""
    with closing(sqlite3.connect(file)) as db:
        roots = dict(db.execute("SELECT name, rootpage FROM sqlite_schema"))
    return [roots[name] for name in names]


def damage_page(file: Path, page: int, content: bytes = b"\xa5" * PAGE) -> None:
    with file.open("r+b") as raw:
        raw.seek((page - 1) * PAGE)
        raw.write(content)


def claim_all(file: Path) -> list[ClaimedEntry]:
    return _query(file, lambda ledger: ledger.claim(1000, now=NOON + timedelta(days=1)))


def checkpoints(file: Path) -> dict[Feed, Checkpoint]:
    return {status.feed: status.checkpoint for status in _query(file, lambda ledger: ledger.feeds())}


def load_dead_letters(file: Path) -> list[DeadLetter]:
    return _query(file, lambda ledger: ledger.dead_letters())


def known_ids(file: Path, *ids: str) -> set[str]:
    return _query(file, lambda ledger: ledger.known_ids(ids))


def _query(file: Path, query: Callable[[SqliteLedger], Awaitable[T]]) -> T:
    async def run() -> T:
        async with SqliteLedger(file) as ledger:
            return await query(ledger)

    return asyncio.run(run())
