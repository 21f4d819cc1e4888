"""The queries of single entries and of the traffic, for display, and the daemon's saved status."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from sqlite3 import Connection
from typing import Any

import msgspec

from forwarder.ledger.codec import from_micros, from_optional_micros, read_send_number, to_micros
from forwarder.ledger.models import DaemonStatus, PollResult, StoredEntry, Traffic
from forwarder.ledger.retention_gap import RetentionGap
from forwarder.ledger.sqlite import metadata, payloads
from forwarder.ledger.sqlite.identities import find_id
from forwarder.ledger.sqlite.migrations import PENDING, STATE_NAMES
from forwarder.ledger.sqlite.store import SqliteStore
from forwarder.model import Entry, Feed

_SELECT = """
    SELECT entry, execution_id, workflow_id, user_id, time, state, recorded_at, settled_at, attempts, result, reason,
           send_number
    FROM entries LEFT JOIN feeds USING (feed)
"""


class QueryStore(SqliteStore):
    """The operations that only display needs."""

    async def stored_entry(self, execution_id: str) -> StoredEntry | None:
        query = f"{_SELECT} WHERE entry = (SELECT entry FROM executions WHERE key = ?)"  # noqa: S608  # a constant

        def load(db: Connection) -> StoredEntry | None:
            key, _, is_known = find_id(db, execution_id)
            found = _load(db, db.execute(query, (key,)).fetchall()) if is_known else []
            return found[0] if found else None

        return await self._writer.read(load)

    async def traffic(self, *, now: datetime) -> Traffic:
        return await self._writer.read(partial(self._traffic.merged_with, now=now))

    async def save_daemon_status(self, status: DaemonStatus, poll_results: Mapping[Feed, PollResult]) -> None:
        def save(db: Connection) -> None:
            metadata.save_daemon_status(db, status)
            db.executemany(
                "UPDATE feeds SET polled_at = ?, poll_error = ?, poll_interval = ?, poll_reason = ?"
                " WHERE workflow_id = ? AND user_id = ?",
                [
                    (
                        to_micros(each.at),
                        each.error,
                        each.interval_seconds,
                        each.reason,
                        feed.workflow_id,
                        feed.user_id or "",
                    )
                    for feed, each in poll_results.items()
                ],
            )

        await self._writer.write(save)

    async def daemon_status(self) -> DaemonStatus | None:
        return await self._writer.read(metadata.daemon_status)

    async def save_retention_gap(self, gap: RetentionGap) -> None:
        await self._writer.write(lambda db: metadata.save_retention_gap(db, gap))

    async def retention_gap(self) -> RetentionGap | None:
        return await self._writer.read(metadata.retention_gap)


def load_entries(db: Connection, entries: Sequence[int]) -> list[StoredEntry]:
    """Return the stored entries with these numbers, in this order."""
    query = f"{_SELECT} WHERE entry IN (SELECT value FROM json_each(?))"  # noqa: S608  # a constant
    rows = {row[0]: row for row in db.execute(query, (msgspec.json.encode(list(entries)).decode(),))}
    return _load(db, [rows[entry] for entry in entries if entry in rows])


def _load(db: Connection, rows: Sequence[tuple[Any, ...]]) -> list[StoredEntry]:
    details = payloads.details_of(db, [row[0] for row in rows])
    # Without a readable detail, `claim` makes the entry a dead letter.
    return [_stored_entry(row, details.get(row[0], b"null")) for row in rows]


def _stored_entry(row: tuple[Any, ...], detail: bytes) -> StoredEntry:
    _, execution_id, workflow_id, user_id, time, state, recorded_at, settled_at, attempts, *ended, send_number = row
    # The result of a pending entry that was sent before no longer counts.
    result, reason = ended if state != PENDING else ("", "")
    return StoredEntry(
        Entry(execution_id, Feed(workflow_id or "", user_id or None), from_micros(time), detail),
        STATE_NAMES[state],
        recorded_at=from_micros(recorded_at),
        settled_at=from_optional_micros(settled_at),
        attempts=attempts,
        result=result or "",
        reason=reason or "",
        send_number=read_send_number(send_number),
    )
