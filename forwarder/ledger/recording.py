"""The side of intake: feeds, checkpoints, and executions that become owed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from sqlite3 import Connection
from typing import NamedTuple

import msgspec

from forwarder.errors import LedgerError
from forwarder.ledger import details, minutes, notes
from forwarder.ledger.books import count
from forwarder.ledger.codec import (
    checkpoint_of,
    checkpoint_row,
    digest,
    hours_down,
    instant,
    micros,
    seconds_up,
)
from forwarder.ledger.details import Packed
from forwarder.ledger.nouns import FeedStatus, Pulse, Reading
from forwarder.ledger.schema import OWED
from forwarder.model import Checkpoint, Entry, Feed

_CHECKPOINT = "watermark, floor, since, deep_at, open"

MOST_ROWS = 100
"""Of one statement. SQLite takes 32,766 values, and keeps the statements of the numbers that were seen."""


Digests = Mapping[str, tuple[int, int]]
"""Key and proof by id."""


class Place(NamedTuple):
    """Where an id is kept, or would be."""

    key: int
    proof: int
    is_known: bool


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
    digests = _digests(execution_ids)
    held = _held(db, digests)
    found = {execution_id for execution_id, (key, proof) in digests.items() if held.get(key) == proof}
    others = [execution_id for execution_id, (key, proof) in digests.items() if held.get(key, proof) != proof]
    if others:  # which stand where another was
        found |= {execution_id for execution_id, place in look_up_all(db, others).items() if place.is_known}
    return found


def record(
    db: Connection,
    feed: Feed,
    entries: Sequence[Entry],
    packs: Sequence[Packed],
    now: datetime,
    moved_to: Checkpoint | None,
) -> int:
    """`packs` are of the details of all the entries."""
    number = feed_number(db, feed)
    by_id = {entry.execution_id: entry for entry in entries}
    places = look_up_all(db, by_id)
    new = [(by_id[execution_id], place) for execution_id, place in places.items() if not place.is_known]
    if new:
        first = _insert(db, number, new, now) - len(new) + 1
        # What was packed and is known by now came from another feed meanwhile.
        fits = len(new) == len(entries)
        details.insert(db, first, packs if fits else details.packed(entry.detail for entry, _ in new))
    count(db, recorded=len(new), owed=len(new))
    minutes.count_recorded(db, len(new), now)
    if moved_to is not None:
        watermark, floor, since, deep_at, opens = checkpoint_row(moved_to)
        # A floor only rises: forgetting may have raised it while the feed was being read.
        db.execute(
            """UPDATE feeds SET watermark = ?, floor = max(coalesce(floor, ?), coalesce(?, floor)), since = ?,
                                deep_at = ?, open = ? WHERE feed = ?""",
            (watermark, floor, floor, since, deep_at, opens, number),
        )
    return len(new)


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
    """The key under which an id is kept, or would be, and whether it is."""
    place = look_up_all(db, [execution_id])[execution_id]
    return place.key, place.is_known


def look_up_all(db: Connection, execution_ids: Iterable[str]) -> dict[str, Place]:
    """Where ids are kept, or would be: under the next free key should two of them ever share 64 bits."""
    digests = _digests(execution_ids)
    held = _held(db, digests)
    places: dict[str, Place] = {}
    for execution_id, (key, proof) in digests.items():
        while held.get(key, proof) != proof:
            key += 1  # noqa: PLW2901  # the place that was meant is another's
            row = db.execute("SELECT proof FROM executions WHERE key = ?", (key,)).fetchone()
            if row is not None:
                held[key] = row[0]
        places[execution_id] = Place(key, proof, is_known=key in held)
        # Those that are new go in together: the next must see the place of this one as taken.
        held[key] = proof
    return places


def _digests(execution_ids: Iterable[str]) -> Digests:
    return {execution_id: digest(execution_id) for execution_id in execution_ids}


def _held(db: Connection, digests: Digests) -> dict[int, int]:
    """Of their keys those that are taken, with the proofs of who took them."""
    keys = msgspec.json.encode([key for key, _ in digests.values()]).decode()
    rows = db.execute("SELECT key, proof FROM executions WHERE key IN (SELECT value FROM json_each(?))", (keys,))
    return dict(rows.fetchall())


def _insert(db: Connection, feed: int, new: Sequence[tuple[Entry, Place]], now: datetime) -> int:
    """The number of the last; those of the others are the numbers before it."""
    return max(_insert_some(db, feed, new[start : start + MOST_ROWS], now) for start in range(0, len(new), MOST_ROWS))


def _insert_some(db: Connection, feed: int, new: Sequence[tuple[Entry, Place]], now: datetime) -> int:
    """A statement for each table, however many rows: beside so little work for each, statements are what costs."""
    at, hour = micros(now), hours_down(now)
    last = db.execute(
        f"""INSERT INTO entries (key, execution_id, feed, state, time, recorded_at, due_at)
            VALUES {_rows("(?, ?, ?, ?, ?, ?, ?)", new)}""",  # noqa: S608  # marks only
        [
            value
            for entry, place in new
            for value in (place.key, entry.execution_id, feed, OWED, micros(entry.time), at, at)
        ],
    ).lastrowid
    # Numbers are given in order and never again, and nobody else writes meanwhile.
    first = (last or 0) - len(new) + 1
    db.execute(
        f"INSERT INTO executions VALUES {_rows('(?, ?, ?, ?, NULL, ?, ?)', new)}",  # noqa: S608  # as above
        [
            value
            for number, (entry, place) in enumerate(new, first)
            for value in (place.key, place.proof, feed, number, seconds_up(entry.time), hour)
        ],
    )
    return last or 0


def _rows(marks: str, rows: Sequence[object]) -> str:
    return ", ".join([marks] * len(rows))
