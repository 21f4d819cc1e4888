"""Rescuing a damaged ledger: every row that can still be read, into a fresh one.

What is rescued may send an execution again, where the row that said it was sent is lost; it never drops one silently.
"""

import shutil
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from forwarder.errors import LedgerError
from forwarder.ledger.books import books
from forwarder.ledger.codec import digest, hours_down, instant, seconds_up, unpack
from forwarder.ledger.contract import Books
from forwarder.ledger.schema import DEAD, OWED, PURGED, SENT, connect, translated

# A key is a signed 64-bit number, and every table that can be large is in the order of such a key.
LOWEST, HIGHEST = -(2**63), 2**63 - 1

ROWS_AT_ONCE = 500

ENDINGS = ("", "-wal", "-shm")

MOST_CUT = 1000
"""Times its size that a file may have been longer; a header that says more is damaged itself."""

_TABLES = {"feeds": "feed", "executions": "key", "entries": "entry", "details": "entry"}


@dataclass(slots=True)
class Repaired:
    """`rows` were read and `lost` counts gaps that could not be, by table; `without_detail` are executionIds."""

    books: Books = field(default_factory=Books)
    rows: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    without_detail: list[str] = field(default_factory=list)
    kept_as: Path | None = None


def repair(file: Path) -> Repaired:
    """Put a fresh ledger in place of a damaged one, which is kept beside it. Raises LedgerError.

    Only while nothing runs on it.
    """
    fresh, copy = file.with_name(f"{file.name}.rescued"), file.with_name(f"{file.name}.copy")
    for leftover in (fresh, copy):
        _remove(leftover)
    done = Repaired()
    target = connect(fresh, create=True)
    try:
        source = _open_copy(file, copy)
        target.execute("BEGIN IMMEDIATE")
        for table, key in _TABLES.items():
            _copy(source, target, table, key, done)
        _copy_small(source, target, done)
        _reconcile(target, done)
        target.execute("COMMIT")
        done.books = books(target)
        source.close()
    except sqlite3.Error as error:
        raise translated(error, file) from None
    finally:
        target.close()
        _remove(copy)
    done.kept_as = _swap(file, fresh)
    return done


def _open_copy(file: Path, copy: Path) -> sqlite3.Connection:
    """A copy, as long as its header says it is: SQLite reads nothing of a file that is shorter. Raises LedgerError."""
    for ending in ("", "-wal"):
        if (part := _part(file, ending)).exists():
            shutil.copyfile(part, _part(copy, ending))
    with copy.open("r+b") as header:
        start = header.read(100)
        size = int.from_bytes(start[16:18]) * int.from_bytes(start[28:32])
        is_header = start.startswith(b"SQLite format 3\0") and size < MOST_CUT * copy.stat().st_size
        if is_header and size > copy.stat().st_size:
            header.truncate(size)
    source = sqlite3.connect(copy, isolation_level=None)
    try:
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    except sqlite3.DatabaseError:
        source.close()
        hint = "restore it from a backup; or move it and its .lock away, and begin anew"
        raise LedgerError(f"nothing of {file} can be read", hint=hint) from None
    return source


def _part(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)


def _remove(file: Path) -> None:
    for ending in ENDINGS:
        _part(file, ending).unlink(missing_ok=True)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str, key: str, done: Repaired) -> None:
    columns = [row[1] for row in target.execute(f"PRAGMA table_info({table})")]
    insert = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(columns))})"  # noqa: S608  # names of ours
    select = f"SELECT {', '.join(columns)} FROM {table} WHERE {key} >= ? ORDER BY {key} LIMIT ?"  # noqa: S608  # as above
    at: int | None = LOWEST
    where = columns.index(key)
    while at is not None:
        try:
            rows = source.execute(select, (at, ROWS_AT_ONCE)).fetchall()
        except sqlite3.DatabaseError:
            rows = _up_to_the_damage(source, select, at, where)
            done.lost[table] = done.lost.get(table, 0) + 1
            at = _beyond_the_damage(source, select, rows[-1][where] + 1 if rows else at)
        else:
            at = rows[-1][where] + 1 if len(rows) == ROWS_AT_ONCE else None
        target.executemany(insert, rows)
        done.rows[table] = done.rows.get(table, 0) + len(rows)


def _up_to_the_damage(source: sqlite3.Connection, select: str, at: int, where: int) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    try:
        while row := source.execute(select, (at, 1)).fetchone():
            rows.append(row)
            at = row[where] + 1
    except sqlite3.DatabaseError:
        return rows
    return rows


def _beyond_the_damage(source: sqlite3.Connection, select: str, at: int) -> int | None:
    """The next key from which rows can be read, or None: found in strides, for the keys between are beyond counting."""
    stride = 1
    while not _can_read(source, select, at + stride):
        stride *= 2
        if at + stride > HIGHEST:
            return None
    low, high = at + stride // 2, at + stride
    while low < high:
        middle = (low + high) // 2
        if _can_read(source, select, middle):
            high = middle
        else:
            low = middle + 1
    return high


def _can_read(source: sqlite3.Connection, select: str, at: int) -> bool:
    try:
        source.execute(select, (at, 1)).fetchone()
    except sqlite3.DatabaseError:
        return False
    return True


def _copy_small(source: sqlite3.Connection, target: sqlite3.Connection, done: Repaired) -> None:
    for table in ("counters", "notes"):
        try:
            rows = source.execute(f"SELECT name, value FROM {table}").fetchall()  # noqa: S608  # as above
        except sqlite3.DatabaseError:
            done.lost[table] = 1
        else:
            target.executemany(f"INSERT OR REPLACE INTO {table} VALUES (?, ?)", rows)  # noqa: S608  # as above


def _reconcile(db: sqlite3.Connection, done: Repaired) -> None:
    """Make the rows agree again, leaning to sending twice, and write the books anew."""
    _keep_what_was_sent(db)
    # An entry without its detail cannot be sent: it is named, and forgotten, so that a reading may find it again.
    gone = "FROM entries WHERE entry NOT IN (SELECT entry FROM details)"
    done.without_detail = [row[0] for row in db.execute(f"SELECT execution_id {gone}")]  # a text of ours
    db.execute(f"DELETE {gone}")  # as above
    db.execute("DELETE FROM details WHERE entry NOT IN (SELECT entry FROM entries)")
    db.execute("DELETE FROM executions WHERE entry IS NOT NULL AND entry NOT IN (SELECT entry FROM entries)")
    _know_again(db)
    held = dict(db.execute("SELECT state, count(*) FROM entries GROUP BY state"))
    ended = dict(db.execute("SELECT outcome, count(*) FROM executions WHERE entry IS NULL GROUP BY outcome"))
    forgotten = db.execute("SELECT value FROM counters WHERE name = 'forgotten'").fetchone()[0]
    counted = {
        "owed": held.get(OWED, 0),
        "sent": held.get(SENT, 0) + ended.get(SENT, 0),
        "dead": held.get(DEAD, 0),
        "purged": ended.get(PURGED, 0),
        "forgotten": forgotten,
    }
    counted["recorded"] = sum(counted.values())
    db.executemany("INSERT OR REPLACE INTO counters VALUES (?, ?)", list(counted.items()))


def _keep_what_was_sent(db: sqlite3.Connection) -> None:
    """What was sent stays sent, even where its detail is lost."""
    sent = "SELECT entry FROM entries WHERE state = 1 AND entry NOT IN (SELECT entry FROM details)"
    db.execute(f"UPDATE executions SET entry = NULL, outcome = 1 WHERE entry IN ({sent})")  # noqa: S608  # a text of ours
    db.execute(f"DELETE FROM entries WHERE entry IN ({sent})")  # noqa: S608  # as above


def _know_again(db: sqlite3.Connection) -> None:
    """Entries whose feed or whose id is not known any more tell both themselves."""
    rows = db.execute(
        """SELECT entry, key, execution_id, feed, time, recorded_at, body FROM entries JOIN details USING (entry)
           WHERE key NOT IN (SELECT key FROM executions) OR feed NOT IN (SELECT feed FROM feeds)"""
    ).fetchall()
    for entry, key, execution_id, feed, time, recorded_at, body in rows:
        told = msgspec.json.decode(unpack(body))
        db.execute(
            "INSERT OR IGNORE INTO feeds (feed, workflow_id, user_id) VALUES (?, ?, ?)",
            (feed, told["workflowId"], told.get("userId", "")),
        )
        stopped, recorded = seconds_up(instant(time)), hours_down(instant(recorded_at))
        db.execute(
            "INSERT OR IGNORE INTO executions VALUES (?, ?, ?, ?, NULL, ?, ?)",
            (key, digest(execution_id)[1], feed, entry, stopped, recorded),
        )


def _swap(file: Path, fresh: Path) -> Path:
    kept = file.with_name(f"{file.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    try:
        for ending in ENDINGS:
            if (part := _part(file, ending)).exists():
                part.rename(_part(kept, ending))
        fresh.rename(file)
    except OSError as error:
        raise LedgerError(f"the rescued ledger {fresh} cannot take its place: {error.strerror}") from None
    return kept
