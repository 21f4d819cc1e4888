"""Rescuing a damaged ledger: every row that can still be read, into a fresh one.

What is rescued may send an execution again, where the row that said it was sent is lost; it never drops one silently.
"""

import shutil
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.files import rename
from forwarder.ledger import details, notes
from forwarder.ledger.books import books
from forwarder.ledger.codec import digest, hours_down, instant, seconds_up
from forwarder.ledger.contract import Books
from forwarder.ledger.salvage import readable
from forwarder.ledger.schema import DEAD, NEWER, OWED, PURGED, SENT, VERSION, bring_up, connect, translated, version
from forwarder.ledger.soundness import Rules

ENDINGS = ("", "-wal", "-shm")

MOST_CUT = 1000
"""Times its size that a file may have been longer; a header that says more is damaged itself."""

KEPT = ".damaged-"

_TABLES = ("feeds", "executions", "entries", "details", "minutes")


@dataclass(slots=True)
class Repaired:
    """`rows` were rescued and `lost` counts gaps and rows that could not be, by table; `without_detail` are
    executionIds.
    """

    books: Books = field(default_factory=Books)
    rows: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    without_detail: list[str] = field(default_factory=list)
    kept_as: Path | None = None


def repair(file: Path) -> Repaired:
    """Put a fresh ledger in place of a damaged one, which is kept beside it. Raises LedgerError, and leaves it then.

    Only while nothing runs on it. Cut short at any step, it is done by the next one.
    """
    fresh, copy = file.with_name(f"{file.name}.rescued"), file.with_name(f"{file.name}.copy")
    try:
        done = Repaired() if not file.exists() and fresh.exists() else _rescue(file, fresh, copy)
        done.kept_as = _swap(file, fresh)
    except OSError as error:
        hint = "make room on its disk, and its folder writable: a rescue takes as much again, twice"
        raise LedgerUnavailable(f"the ledger {file} cannot be rescued now: {error.strerror}", hint=hint) from None
    return done


def _rescue(file: Path, fresh: Path, copy: Path) -> Repaired:
    if not file.exists():
        raise LedgerError(f"there is no ledger {file} to rescue anything from", hint="restore it from a backup")
    done = Repaired()
    for leftover in (fresh, copy):
        _remove(leftover)
    try:
        _fill(file, fresh, copy, done)
    except BaseException:
        _remove(fresh)
        raise
    finally:
        _remove(copy)
    return done


def _fill(file: Path, fresh: Path, copy: Path, done: Repaired) -> None:
    source = _open_copy(file, copy)
    try:
        # Of the version of what is rescued, and brought up with it: a later one writes the same otherwise.
        target = connect(fresh, create=True, at=version(source))
        try:
            target.execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                _copy(source, target, table, done)
            _copy_lags(source, target, done)
            _copy_small(source, target, done)
            bring_up(target, VERSION)
            _reconcile(target, done)
            target.execute("COMMIT")
            done.books = books(target)
        finally:
            target.close()
    except sqlite3.Error as error:
        raise translated(error, file) from None
    finally:
        source.close()


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
    # A text that is none any more is no reason to lose its row.
    source.text_factory = lambda text: text.decode(errors="replace")
    try:
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        written_by = version(source)
    except sqlite3.DatabaseError:
        written_by = 0
    if 0 < written_by <= VERSION:
        return source
    source.close()
    if written_by > VERSION:
        raise LedgerError(f"the ledger {file} was written by a newer forwarder", hint=NEWER)
    hint = "restore it from a backup; or move it and its .lock away, and begin anew"
    raise LedgerError(f"nothing of {file} can be read", hint=hint)


def _part(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)


def _remove(file: Path) -> None:
    for ending in ENDINGS:
        _part(file, ending).unlink(missing_ok=True)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str, done: Repaired) -> None:
    rules = Rules(target, table)
    if not rules.columns:  # it came with a later version
        return
    insert = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(rules.columns))})"  # noqa: S608  # names of ours
    rescued = lost = 0
    for found in readable(source, table, rules.key, rules.columns):
        admitted = [row for row in found.rows if rules.admit(row)]
        kept = max(0, target.executemany(insert, admitted).rowcount)
        rescued += kept
        lost += len(found.rows) - kept + found.gap
    done.rows[table] = rescued
    if lost:
        done.lost[table] = lost


def _copy_lags(source: sqlite3.Connection, target: sqlite3.Connection, done: Repaired) -> None:
    """They have no key of one number, and there are few."""
    rules = Rules(target, "lags")
    if not rules.columns:
        return
    try:
        rows = [row for row in source.execute("SELECT * FROM lags") if rules.admit(row)]
    except sqlite3.DatabaseError:
        done.lost["lags"] = 1
        return
    done.rows["lags"] = max(0, target.executemany("INSERT OR IGNORE INTO lags VALUES (?, ?, ?)", rows).rowcount)


def _copy_small(source: sqlite3.Connection, target: sqlite3.Connection, done: Repaired) -> None:
    """Of the counters only what no row tells, and of the notes those that can be read."""
    for table in ("counters", "notes"):
        try:
            rows = source.execute(f"SELECT name, value FROM {table}").fetchall()  # noqa: S608  # names of ours
        except sqlite3.DatabaseError:
            done.lost[table] = 1
            continue
        if table == "counters":
            kept = [row for row in rows if row[0] == "forgotten" and isinstance(row[1], int) and row[1] >= 0]
            target.executemany("UPDATE counters SET value = ? WHERE name = ?", [(row[1], row[0]) for row in kept])
            lost = not kept
        else:
            kept = [row for row in rows if notes.is_sound(*row)]
            target.executemany("INSERT OR REPLACE INTO notes VALUES (?, ?)", kept)
            lost = len(kept) < len(rows)
        if lost:
            done.lost[table] = 1


def _reconcile(db: sqlite3.Connection, done: Repaired) -> None:
    """Make the rows agree again, leaning to sending twice, and write the books anew."""
    missing = details.missing(db)
    _keep_what_was_sent(db, missing)
    # An entry without its detail cannot be sent: it is named, and forgotten, so that a reading may find it again.
    for entry in missing:
        for (execution_id,) in db.execute("DELETE FROM entries WHERE entry = ? RETURNING execution_id", (entry,)):
            done.without_detail.append(execution_id)
    details.tidy(db)
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


def _keep_what_was_sent(db: sqlite3.Connection, missing: Iterable[int]) -> None:
    """What was sent stays sent, even where its detail is lost."""
    for entry in missing:
        if db.execute("DELETE FROM entries WHERE entry = ? AND state = ?", (entry, SENT)).rowcount:
            db.execute("UPDATE executions SET entry = NULL, outcome = ? WHERE entry = ?", (SENT, entry))


def _know_again(db: sqlite3.Connection) -> None:
    """Entries whose feed or whose id is not known any more tell both themselves."""
    rows = db.execute(
        """SELECT entry, key, execution_id, feed, time, recorded_at FROM entries
           WHERE key NOT IN (SELECT key FROM executions) OR feed NOT IN (SELECT feed FROM feeds)"""
    ).fetchall()
    held = details.details_of(db, [row[0] for row in rows])
    for entry, key, execution_id, feed, time, recorded_at in rows:
        told = _decoded(held[entry])
        db.execute(
            "INSERT OR IGNORE INTO feeds (feed, workflow_id, user_id) VALUES (?, ?, ?)",
            (feed, str(told.get("workflowId", "")), str(told.get("userId", ""))),
        )
        stopped, recorded = seconds_up(instant(time)), hours_down(instant(recorded_at))
        db.execute(
            "INSERT OR IGNORE INTO executions VALUES (?, ?, ?, ?, NULL, ?, ?)",
            (key, digest(execution_id)[1], feed, entry, stopped, recorded),
        )


def _decoded(detail: bytes) -> dict[str, Any]:
    """The detail, or nothing where it is damaged: then it becomes a dead letter once it is taken."""
    try:
        told = msgspec.json.decode(detail)
    except (ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _swap(file: Path, fresh: Path) -> Path:
    """First of all the ledger itself goes: while there is none nothing starts, nor reads its log without it."""
    begun = [kept for kept in file.parent.glob(f"{file.name}{KEPT}*") if not kept.name.endswith(ENDINGS[1:])]
    if file.exists():
        kept = file.with_name(f"{file.name}{KEPT}{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
    else:
        kept = max(begun, default=file.with_name(f"{file.name}{KEPT}0"))
    for ending in ENDINGS:
        if (part := _part(file, ending)).exists():
            rename(part, _part(kept, ending))
    rename(fresh, file)
    return kept
