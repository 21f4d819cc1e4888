"""The creation of ledgers with very many known ids, as after years, in a minute.

Keys are digests, so most rows have random numbers, and only `NAMED_IDS` rows have digests of ids from `named_id`. The
rows are inserted in random order as in production. A table that is filled in order would be denser.
"""

import asyncio
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

from forwarder.ledger import SqliteLedger
from forwarder.ledger.codec import ceil_to_seconds, digest, floor_to_hours
from forwarder.model import Checkpoint, Feed
from tests.benchmarks.file_cache import copy_cached

FEED = Feed("w-0")
CHUNK = 100_000
AGO = timedelta(days=1)
NAMED_IDS = 200_000
"""The number of ids whose digests are real, so that they can be checked."""


def named_id(number: int) -> str:
    return f"known-{number:08d}-ef"


def create_history(file: Path, ids: int) -> Path:
    """Create a ledger with so many ids of sent entries, which stopped and were recorded a day ago, without payloads."""
    return copy_cached(f"known-{ids}.db", lambda made: _create_history(made, ids), file)


def _create_history(file: Path, ids: int) -> None:
    asyncio.run(_create_ledger(file))
    db = sqlite3.connect(file, isolation_level=None)
    # One transaction in memory, because random inserts would write the same pages repeatedly.
    for setting in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1500000"):
        db.execute(f"PRAGMA {setting}")
    at = datetime.now(UTC) - AGO
    common = (ceil_to_seconds(at), floor_to_hours(at))
    by_name = min(ids, NAMED_IDS)
    db.execute("BEGIN")
    for start in range(0, ids, CHUNK):
        count = min(CHUNK, ids - start)
        named = max(0, min(by_name - start, count))
        rows = [(*digest(named_id(number)), *common) for number in range(start, start + named)]
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


async def _create_ledger(file: Path) -> None:
    async with SqliteLedger(file, create=True) as ledger:
        await ledger.add_feeds({FEED: Checkpoint()})
