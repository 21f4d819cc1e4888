"""Ledgers that remember a great many ids: as after years, made in a minute.

Keys are digests, so random numbers stand for ids nobody will ask for; the others are told by `an_id`. They come in no
order, as in life: a table filled in order would be denser than one ever gets.
"""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forwarder.ledger import SqliteLedger
from forwarder.ledger.sqlite.codec import ceil_to_seconds, digest, floor_to_hours
from forwarder.model import Checkpoint, Feed
from tests.benchmarks.once import copied

FEED = Feed("w-0")
CHUNK = 100_000
AGO = timedelta(days=1)
ASKED = 200_000
"""Of the remembered ids, how many are known by name."""


def an_id(number: int) -> str:
    return f"remembered-{number:08d}-ef"


def remember(file: Path, ids: int) -> Path:
    """A ledger with so many ids, sent and let go of, recorded and stopped a day ago."""
    return copied(f"remembered-{ids}.db", lambda made: _remember(made, ids), file)


def _remember(file: Path, ids: int) -> None:
    asyncio.run(_make(file))
    db = sqlite3.connect(file, isolation_level=None)
    # In one transaction that is held in memory: pages that are filled in no order would be written again and again.
    for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1500000"):
        db.execute(f"PRAGMA {setting}")
    at = datetime.now(UTC) - AGO
    common = (ceil_to_seconds(at), floor_to_hours(at))
    by_name = min(ids, ASKED)
    db.execute("BEGIN")
    for start in range(0, ids, CHUNK):
        count = min(CHUNK, ids - start)
        named = max(0, min(by_name - start, count))
        rows = [(*digest(an_id(number)), *common) for number in range(start, start + named)]
        db.executemany("INSERT INTO executions VALUES (?, ?, 1, NULL, 1, ?, ?)", rows)
        db.execute(
            """WITH RECURSIVE many(number) AS (SELECT 1 UNION ALL SELECT number + 1 FROM many LIMIT ?)
               INSERT INTO executions SELECT random(), random() >> 16, 1 + abs(random() % 200), NULL, 1, ?, ?
               FROM many WHERE number <= ?""",
            (max(1, count - named), *common, count - named),
        )
    db.execute("UPDATE counters SET value = value + ? WHERE name IN ('recorded', 'sent')", (ids,))
    db.execute("COMMIT")
    db.execute("PRAGMA journal_mode = WAL")
    db.close()


async def _make(file: Path) -> None:
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
