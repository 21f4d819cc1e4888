"""The side of intake: feeds, checkpoints, and executions that become owed."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from sqlite3 import Connection

from forwarder.errors import LedgerError
from forwarder.ledger import minutes, notes
from forwarder.ledger.books import count
from forwarder.ledger.codec import (
    checkpoint_of,
    checkpoint_row,
    digest,
    hours_down,
    instant,
    micros,
    pack,
    seconds_up,
)
from forwarder.ledger.contract import FeedStatus, Pulse, Reading
from forwarder.ledger.schema import OWED
from forwarder.model import Checkpoint, Entry, Feed

_CHECKPOINT = "watermark, floor, since, deep_at, open"


def checkpoint(db: Connection, feed: Feed) -> Checkpoint:
    row = db.execute(
        f"SELECT {_CHECKPOINT} FROM feeds WHERE workflow_id = ? AND user_id = ?",  # noqa: S608  # a constant of ours
        (feed.workflow_id, feed.user_id or ""),
    ).fetchone()
    if row is None:
        raise LedgerError(f"{feed} was never begun")
    return checkpoint_of(row)


def begin_new(db: Connection, new: Mapping[Feed, Checkpoint], discovered_at: datetime | None) -> None:
    forgotten = notes.forgotten_floor(db)
    rows = []
    for feed, first in new.items():
        floor = first.floor if forgotten is None else max(first.floor or forgotten, forgotten)
        rows.append((feed.workflow_id, feed.user_id or "", *checkpoint_row(replace(first, floor=floor))))
    db.executemany(
        f"INSERT INTO feeds (workflow_id, user_id, {_CHECKPOINT}) VALUES (?, ?, ?, ?, ?, ?, ?)"  # noqa: S608  # as above
        " ON CONFLICT DO NOTHING",
        rows,
    )
    if discovered_at is not None:
        notes.note_discovery(db, discovered_at)


def known(db: Connection, execution_ids: Collection[str]) -> set[str]:
    return {execution_id for execution_id in execution_ids if look_up(db, execution_id)[1]}


def record(db: Connection, feed: Feed, entries: Sequence[Entry], now: datetime, moved_to: Checkpoint | None) -> int:
    number = feed_number(db, feed)
    new = 0
    for entry in entries:
        key, is_known = look_up(db, entry.execution_id)
        if not is_known:
            _insert(db, key, number, entry, now)
            new += 1
    count(db, recorded=new, owed=new)
    minutes.count_recorded(db, new, now)
    if moved_to is not None:
        watermark, floor, since, deep_at, opens = checkpoint_row(moved_to)
        # A floor only rises: forgetting may have raised it while the feed was being read.
        db.execute(
            """UPDATE feeds SET watermark = ?, floor = max(coalesce(floor, ?), coalesce(?, floor)), since = ?,
                                deep_at = ?, open = ? WHERE feed = ?""",
            (watermark, floor, floor, since, deep_at, opens, number),
        )
    return new


def feed_number(db: Connection, feed: Feed) -> int:
    row = db.execute(
        "SELECT feed FROM feeds WHERE workflow_id = ? AND user_id = ?", (feed.workflow_id, feed.user_id or "")
    ).fetchone()
    if row is None:
        raise LedgerError(f"{feed} was never begun")
    return int(row[0])


def find(db: Connection, execution_id: str) -> Feed | None:
    key, is_known = look_up(db, execution_id)
    if not is_known:
        return None
    row = db.execute(
        "SELECT workflow_id, user_id FROM feeds JOIN executions USING (feed) WHERE key = ?", (key,)
    ).fetchone()
    return Feed(row[0], row[1] or None)


def switch(db: Connection, enabled: bool, skip: bool, now: datetime) -> bool | None:
    """Off → on with `skip`: every feed begins now, once the API's clock has told when that was."""
    before = notes.enabled(db)
    if before is not enabled:
        notes.note_enabled(db, enabled)
    if enabled and before is False and skip:
        db.execute("UPDATE feeds SET since = ?", (micros(now),))
    return before


def feeds(db: Connection) -> list[FeedStatus]:
    rows = db.execute(
        f"SELECT workflow_id, user_id, read_at, read_error, {_CHECKPOINT} FROM feeds ORDER BY 1, 2"  # noqa: S608  # as above
    )
    return [
        FeedStatus(
            Feed(workflow_id, user_id or None),
            checkpoint_of(tuple(row)),
            None if read_at is None else Reading(instant(read_at), read_error or ""),
        )
        for workflow_id, user_id, read_at, read_error, *row in rows
    ]


def note(db: Connection, pulse: Pulse, readings: Mapping[Feed, Reading]) -> None:
    notes.note_pulse(db, pulse)
    db.executemany(
        "UPDATE feeds SET read_at = ?, read_error = ? WHERE workflow_id = ? AND user_id = ?",
        [
            (micros(reading.at), reading.error, feed.workflow_id, feed.user_id or "")
            for feed, reading in readings.items()
        ],
    )


def look_up(db: Connection, execution_id: str) -> tuple[int, bool]:
    """The key under which an id is kept, or would be: the next free one should two ids ever share 64 bits."""
    key, proof = digest(execution_id)
    while True:
        row = db.execute("SELECT proof FROM executions WHERE key = ?", (key,)).fetchone()
        if row is None:
            return key, False
        if row[0] == proof:
            return key, True
        key += 1


def _insert(db: Connection, key: int, feed: int, entry: Entry, now: datetime) -> None:
    at = micros(now)
    row = db.execute(
        "INSERT INTO entries (key, execution_id, feed, state, time, recorded_at, due_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (key, entry.execution_id, feed, OWED, micros(entry.time), at, at),
    )
    db.execute("INSERT INTO details VALUES (?, ?)", (row.lastrowid, pack(entry.detail)))
    db.execute(
        "INSERT INTO executions VALUES (?, ?, ?, ?, NULL, ?, ?)",
        (key, digest(entry.execution_id)[1], feed, row.lastrowid, seconds_up(entry.time), hours_down(now)),
    )
