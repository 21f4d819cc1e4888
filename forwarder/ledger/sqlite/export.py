"""The reading of all executions of a ledger in a fixed order, to copy them to another store."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Any

from forwarder.ledger import attempts
from forwarder.ledger.attempts import Attempts
from forwarder.ledger.codec import read_send_number
from forwarder.ledger.models import EntryState
from forwarder.ledger.sqlite import payloads
from forwarder.ledger.sqlite.migrations import PURGED, STATE_NAMES
from forwarder.model import Feed

BATCH_ROWS = 100

_ENTRIES = """
SELECT entry, workflow_id, user_id, execution_id, state, time, recorded_at, due_at, settled_at, bus,
       attempts, unclassified_attempts, send_number, history, result, reason
FROM entries JOIN feeds USING (feed)
WHERE entry > ? AND (state = 0) = ? ORDER BY entry LIMIT ?"""

_IDS = """
SELECT key, fingerprint, workflow_id, user_id, outcome, stopped, recorded FROM executions JOIN feeds USING (feed)
WHERE entry IS NULL AND (:last IS NULL OR key > :last) ORDER BY key LIMIT :limit"""


@dataclass(frozen=True, slots=True)
class ExportedEntry:
    """An execution whose payload is stored. Times are in microseconds since 1970."""

    execution_id: str
    feed: Feed
    state: EntryState
    time: int
    recorded_at: int
    due_at: int
    settled_at: int
    bus: str
    attempts: int
    unclassified_attempts: int
    send_number: int
    history: Attempts
    result: str
    reason: str
    detail: bytes


@dataclass(frozen=True, slots=True)
class ExportedId:
    """An execution of which only the digest is stored, as hexadecimal digits. Times are in microseconds since 1970."""

    digest: str
    feed: Feed
    is_purged: bool
    stopped: int
    recorded_at: int


def entries(db: Connection, *, pending: bool) -> Iterator[list[ExportedEntry]]:
    """Yield the pending entries, or all others whose payload is stored, in the order of recording, in batches."""
    last = 0
    while rows := db.execute(_ENTRIES, (last, pending, BATCH_ROWS)).fetchall():
        last = rows[-1][0]
        details = payloads.details_of(db, [row[0] for row in rows])
        yield [_entry(row, details.get(row[0], b"")) for row in rows]


def ids(db: Connection) -> Iterator[list[ExportedId]]:
    """Yield the executions whose payload is no longer stored, in batches."""
    last: int | None = None
    while rows := db.execute(_IDS, {"last": last, "limit": BATCH_ROWS}).fetchall():
        last = rows[-1][0]
        yield [_id(row) for row in rows]


def hex_digest(key: int, fingerprint: int) -> str:
    """Return the 112 bits of a digest that a row keeps, as hexadecimal digits."""
    return f"{key % 2**64:016x}{fingerprint % 2**48:012x}"


def _entry(row: Sequence[Any], detail: bytes) -> ExportedEntry:
    _, workflow_id, user_id, execution_id, state, time, recorded_at, due_at, settled_at, bus = row[:10]
    attempt_count, unclassified, send_number, history, result, reason = row[10:]
    return ExportedEntry(
        execution_id,
        Feed(workflow_id, user_id or None),
        STATE_NAMES[state],
        time,
        recorded_at,
        due_at,
        settled_at or recorded_at,
        bus or "",
        attempt_count,
        unclassified,
        read_send_number(send_number),
        attempts.readable(history),
        result or "",
        reason or "",
        detail,
    )


def _id(row: Sequence[Any]) -> ExportedId:
    key, fingerprint, workflow_id, user_id, outcome, stopped, recorded = row
    feed = Feed(workflow_id, user_id or None)
    return ExportedId(
        hex_digest(key, fingerprint), feed, outcome == PURGED, stopped * 1_000_000, recorded * 3_600_000_000
    )
