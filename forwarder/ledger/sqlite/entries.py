"""The side of intake: feeds, checkpoints, and executions that become owed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from forwarder.errors import LedgerError
from forwarder.ledger.models import DaemonStatus, FeedStatus, PollResult
from forwarder.ledger.sqlite import metadata, payloads, stats
from forwarder.ledger.sqlite.codec import (
    ceil_to_seconds,
    decode_checkpoint,
    digest,
    encode_checkpoint,
    floor_to_hours,
    from_micros,
    to_micros,
)
from forwarder.ledger.sqlite.connection import PENDING
from forwarder.ledger.sqlite.counters import add_to_counters
from forwarder.ledger.sqlite.payloads import EncodedPack
from forwarder.model import Checkpoint, Entry, Feed

_CHECKPOINT_COLUMNS = "watermark, floor, local_floor, full_scan_at, open_executions"

MAX_ROWS_PER_STATEMENT = 100
"""Of one statement. SQLite takes 32,766 values, and keeps the statements of the numbers that were seen."""


Digests = Mapping[str, tuple[int, int]]
"""Key and fingerprint by id."""


class IdSlot(NamedTuple):
    """Where an id is kept, or would be."""

    key: int
    fingerprint: int
    is_known: bool


def load_checkpoint(db: Connection, feed: Feed) -> Checkpoint:
    row = db.execute(
        f"SELECT {_CHECKPOINT_COLUMNS} FROM feeds WHERE workflow_id = ? AND user_id = ?",  # noqa: S608  # a constant of ours
        (feed.workflow_id, feed.user_id or ""),
    ).fetchone()
    if row is None:
        raise LedgerError(f"{feed} was never begun")
    return decode_checkpoint(row)


def add_feeds(db: Connection, checkpoints: Mapping[Feed, Checkpoint], discovered_at: datetime | None) -> None:
    forgotten_until = metadata.forgotten_floor(db)
    rows = []
    for feed, first in checkpoints.items():
        floor = first.floor if forgotten_until is None else max(first.floor or forgotten_until, forgotten_until)
        rows.append((feed.workflow_id, feed.user_id or "", *encode_checkpoint(replace(first, floor=floor))))
    db.executemany(
        f"INSERT INTO feeds (workflow_id, user_id, {_CHECKPOINT_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # as above
        " ON CONFLICT DO NOTHING",
        rows,
    )
    if discovered_at is not None:
        metadata.save_discovered_at(db, discovered_at)


def known_ids(db: Connection, execution_ids: Collection[str]) -> set[str]:
    digests = _digests(execution_ids)
    stored = _fingerprint_by_key(db, digests)
    found = {execution_id for execution_id, (key, fingerprint) in digests.items() if stored.get(key) == fingerprint}
    displaced = [
        execution_id
        for execution_id, (key, fingerprint) in digests.items()
        if stored.get(key, fingerprint) != fingerprint
    ]
    if displaced:  # which stand where another was
        found |= {execution_id for execution_id, slot in find_slots(db, displaced).items() if slot.is_known}
    return found


def record(
    db: Connection,
    feed: Feed,
    entries: Sequence[Entry],
    packs: Sequence[EncodedPack],
    now: datetime,
    new_checkpoint: Checkpoint | None,
) -> int:
    """`packs` are of the details of all the entries."""
    feed_id = find_feed_id(db, feed)
    by_id = {entry.execution_id: entry for entry in entries}
    slots = find_slots(db, by_id)
    new = [(by_id[execution_id], slot) for execution_id, slot in slots.items() if not slot.is_known]
    if new:
        first = _insert(db, feed_id, new, now) - len(new) + 1
        # What was packed and is known by now came from another feed meanwhile.
        fits = len(new) == len(entries)
        payloads.insert_packs(db, first, packs if fits else payloads.pack(entry.detail for entry, _ in new))
    add_to_counters(db, recorded=len(new), pending=len(new))
    stats.count_recorded(db, len(new), now)
    if new_checkpoint is not None:
        watermark, floor, local_floor, full_scan_at, open_executions = encode_checkpoint(new_checkpoint)
        # A floor only rises: forgetting may have raised it while the feed was being read.
        db.execute(
            """UPDATE feeds SET watermark = ?, floor = max(coalesce(floor, ?), coalesce(?, floor)), local_floor = ?,
                                full_scan_at = ?, open_executions = ? WHERE feed = ?""",
            (watermark, floor, floor, local_floor, full_scan_at, open_executions, feed_id),
        )
    return len(new)


def find_feed_id(db: Connection, feed: Feed) -> int:
    row = db.execute(
        "SELECT feed FROM feeds WHERE workflow_id = ? AND user_id = ?", (feed.workflow_id, feed.user_id or "")
    ).fetchone()
    if row is None:
        raise LedgerError(f"{feed} was never begun")
    return int(row[0])


def find_feed(db: Connection, execution_id: str) -> Feed | None:
    key, is_known = find_slot(db, execution_id)
    if not is_known:
        return None
    row = db.execute(
        "SELECT workflow_id, user_id FROM feeds JOIN executions USING (feed) WHERE key = ?", (key,)
    ).fetchone()
    return Feed(row[0], row[1] or None)


def save_switch(db: Connection, enabled: bool, skip: bool, now: datetime) -> bool | None:
    """Off → on with `skip`: every feed begins now, once the API's clock has told when that was."""
    before = metadata.enabled(db)
    if before is not enabled:
        metadata.save_enabled(db, enabled)
    if enabled and before is False and skip:
        db.execute("UPDATE feeds SET local_floor = ?", (to_micros(now),))
    return before


def feeds(db: Connection) -> list[FeedStatus]:
    rows = db.execute(
        f"SELECT workflow_id, user_id, polled_at, poll_error, {_CHECKPOINT_COLUMNS} FROM feeds ORDER BY 1, 2"  # noqa: S608  # as above
    )
    return [
        FeedStatus(
            Feed(workflow_id, user_id or None),
            decode_checkpoint(tuple(row)),
            None if polled_at is None else PollResult(from_micros(polled_at), poll_error or ""),
        )
        for workflow_id, user_id, polled_at, poll_error, *row in rows
    ]


def save_daemon_status(db: Connection, daemon_status: DaemonStatus, polls: Mapping[Feed, PollResult]) -> None:
    metadata.save_daemon_status(db, daemon_status)
    db.executemany(
        "UPDATE feeds SET polled_at = ?, poll_error = ? WHERE workflow_id = ? AND user_id = ?",
        [(to_micros(poll.at), poll.error, feed.workflow_id, feed.user_id or "") for feed, poll in polls.items()],
    )


def find_slot(db: Connection, execution_id: str) -> tuple[int, bool]:
    """The key under which an id is kept, or would be, and whether it is."""
    slot = find_slots(db, [execution_id])[execution_id]
    return slot.key, slot.is_known


def find_slots(db: Connection, execution_ids: Iterable[str]) -> dict[str, IdSlot]:
    """Where ids are kept, or would be: under the next free key should two of them ever share 64 bits."""
    digests = _digests(execution_ids)
    stored = _fingerprint_by_key(db, digests)
    slots: dict[str, IdSlot] = {}
    for execution_id, (key, fingerprint) in digests.items():
        while stored.get(key, fingerprint) != fingerprint:
            key += 1  # noqa: PLW2901  # the place that was meant is another's
            row = db.execute("SELECT fingerprint FROM executions WHERE key = ?", (key,)).fetchone()
            if row is not None:
                stored[key] = row[0]
        slots[execution_id] = IdSlot(key, fingerprint, is_known=key in stored)
        # Those that are new go in together: the next must see the place of this one as taken.
        stored[key] = fingerprint
    return slots


def _digests(execution_ids: Iterable[str]) -> Digests:
    return {execution_id: digest(execution_id) for execution_id in execution_ids}


def _fingerprint_by_key(db: Connection, digests: Digests) -> dict[int, int]:
    """Of their keys those that are taken, with the fingerprints of the ids that took them."""
    keys = msgspec.json.encode([key for key, _ in digests.values()]).decode()
    rows = db.execute("SELECT key, fingerprint FROM executions WHERE key IN (SELECT value FROM json_each(?))", (keys,))
    return dict(rows.fetchall())


def _insert(db: Connection, feed: int, new: Sequence[tuple[Entry, IdSlot]], now: datetime) -> int:
    """The number of the last; those of the others are the numbers before it."""
    return max(
        _insert_rows(db, feed, new[start : start + MAX_ROWS_PER_STATEMENT], now)
        for start in range(0, len(new), MAX_ROWS_PER_STATEMENT)
    )


def _insert_rows(db: Connection, feed: int, new: Sequence[tuple[Entry, IdSlot]], now: datetime) -> int:
    """A statement for each table, however many rows: beside so little work for each, statements are what costs."""
    at, hour = to_micros(now), floor_to_hours(now)
    last = db.execute(
        f"""INSERT INTO entries (key, execution_id, feed, state, time, recorded_at, due_at)
            VALUES {_rows("(?, ?, ?, ?, ?, ?, ?)", new)}""",  # noqa: S608  # marks only
        [
            value
            for entry, slot in new
            for value in (slot.key, entry.execution_id, feed, PENDING, to_micros(entry.time), at, at)
        ],
    ).lastrowid
    # Numbers are given in order and never again, and nobody else writes meanwhile.
    first = (last or 0) - len(new) + 1
    db.execute(
        f"INSERT INTO executions VALUES {_rows('(?, ?, ?, ?, NULL, ?, ?)', new)}",  # noqa: S608  # as above
        [
            value
            for entry_number, (entry, slot) in enumerate(new, first)
            for value in (slot.key, slot.fingerprint, feed, entry_number, ceil_to_seconds(entry.time), hour)
        ],
    )
    return last or 0


def _rows(placeholders: str, rows: Sequence[object]) -> str:
    return ", ".join([placeholders] * len(rows))
