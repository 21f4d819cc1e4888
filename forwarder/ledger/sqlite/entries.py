"""The recording of failed executions as pending entries, once per execution id."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from sqlite3 import Connection

from forwarder.ledger.codec import ceil_to_seconds, floor_to_hours, to_micros
from forwarder.ledger.compression import compress
from forwarder.ledger.sqlite import counters, identities, payloads
from forwarder.ledger.sqlite.feeds import feed_number, save_checkpoint
from forwarder.ledger.sqlite.identities import IdRow, find_id, find_ids
from forwarder.ledger.sqlite.migrations import PENDING
from forwarder.ledger.sqlite.store import SqliteStore
from forwarder.model import Checkpoint, Entry, Feed

MAX_STATEMENT_ROWS = 100
"""Rows of one INSERT. SQLite allows 32,766 values, and caches the statement for each number of rows."""

MAX_BLOCKING_BYTES = 200_000
"""The limit of the details that are compressed on the event loop. Up to here, a thread would cost more time."""


class EntryStore(SqliteStore):
    """The operations that record executions and find them again."""

    async def known_ids(self, execution_ids: Collection[str]) -> set[str]:
        if not execution_ids:
            return set()
        return await self._writer.read(partial(identities.known_ids, execution_ids=execution_ids))

    async def record(
        self, feed: Feed, entries: Sequence[Entry], *, now: datetime, checkpoint: Checkpoint | None = None
    ) -> int:
        # The ledger's thread does not compress, because every other operation would wait for it.
        is_small = sum(len(entry.detail) for entry in entries) <= MAX_BLOCKING_BYTES
        bodies = _compress(entries) if is_small else await asyncio.to_thread(_compress, entries)

        def insert(db: Connection) -> int:
            number = feed_number(db, feed)
            rows = find_ids(db, [entry.execution_id for entry in entries])
            new = {
                entry.execution_id: (entry, rows[entry.execution_id], body)
                for entry, body in zip(entries, bodies, strict=True)
                if not rows[entry.execution_id].is_known
            }
            if new:
                added = [(entry, row) for entry, row, _ in new.values()]
                first = _insert(db, number, added, now)
                payloads.insert(db, first, [body for *_, body in new.values()])
            counters.add(db, recorded=len(new), pending=len(new))
            if checkpoint is not None:
                save_checkpoint(db, number, checkpoint)
            return len(new)

        recorded = await self._writer.write(insert)
        self._traffic.count_recorded(recorded, now)
        return recorded

    async def find_feed(self, execution_id: str) -> Feed | None:
        def find(db: Connection) -> Feed | None:
            key, _, is_known = find_id(db, execution_id)
            row = db.execute(
                "SELECT workflow_id, user_id FROM feeds JOIN executions USING (feed) WHERE key = ?", (key,)
            ).fetchone()
            return Feed(row[0], row[1] or None) if is_known and row else None

        return await self._writer.read(find)


def _compress(entries: Sequence[Entry]) -> list[bytes]:
    return [compress(entry.detail) for entry in entries]


def _insert(db: Connection, feed: int, new: Sequence[tuple[Entry, IdRow]], now: datetime) -> int:
    """Insert pending entries and their ids. Return the number of the first entry; the numbers are consecutive."""
    starts = range(0, len(new), MAX_STATEMENT_ROWS)
    return min(_insert_some(db, feed, new[start : start + MAX_STATEMENT_ROWS], now) for start in starts)


def _insert_some(db: Connection, feed: int, new: Sequence[tuple[Entry, IdRow]], now: datetime) -> int:
    """Insert with one statement for each table, because each statement costs time. Return the first number."""
    at, hour = to_micros(now), floor_to_hours(now)
    last = db.execute(
        f"""INSERT INTO entries (key, execution_id, feed, state, time, recorded_at, due_at)
            VALUES {_placeholders("(?, ?, ?, ?, ?, ?, ?)", new)}""",  # noqa: S608  # placeholders only
        [
            value
            for entry, row in new
            for value in (row.key, entry.execution_id, feed, PENDING, to_micros(entry.time), at, at)
        ],
    ).lastrowid
    # AUTOINCREMENT gives consecutive numbers, since this transaction is the only writer.
    first = (last or 0) - len(new) + 1
    db.execute(
        f"INSERT INTO executions VALUES {_placeholders('(?, ?, ?, ?, NULL, ?, ?)', new)}",  # noqa: S608  # placeholders only
        [
            value
            for number, (entry, row) in enumerate(new, first)
            for value in (row.key, row.fingerprint, feed, number, ceil_to_seconds(entry.time), hour)
        ],
    )
    return first


def _placeholders(row: str, rows: Sequence[object]) -> str:
    return ", ".join([row] * len(rows))
