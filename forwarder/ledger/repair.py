"""Rescuing a damaged ledger: every row that can still be read, into a fresh one.

What is rescued may send an execution again, where the row that said it was sent is lost; it never drops one silently.
"""

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.files import rename
from forwarder.ledger import details, notes
from forwarder.ledger.books import books
from forwarder.ledger.causes import translated
from forwarder.ledger.codec import digest, hours_down, instant, seconds_up
from forwarder.ledger.damaged import ENDINGS, open_copy, part, remove, written_by
from forwarder.ledger.nouns import Books
from forwarder.ledger.salvage import readable
from forwarder.ledger.schema import DEAD, OWED, PURGED, SENT, VERSION, bring_up, connect
from forwarder.ledger.soundness import Rules

KEPT = ".damaged-"

DETAILS_AT_ONCE = 50
"""That are held in memory: each may be of a megabyte."""

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
        remove(leftover)
    try:
        _fill(file, fresh, copy, done)
    except BaseException:
        remove(fresh)
        raise
    finally:
        remove(copy)
    return done


def _fill(file: Path, fresh: Path, copy: Path, done: Repaired) -> None:
    source = open_copy(file, copy)
    try:
        # Of the version of what is rescued, and brought up with it: a later one writes the same otherwise.
        target = connect(fresh, create=True, at=written_by(source))
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
    details.renumber(db)
    missing = (msgspec.json.encode(details.missing(db)).decode(),)
    _keep_what_was_sent(db, missing)
    # An entry without its detail cannot be sent: it is named, and forgotten, so that a reading may find it again.
    gone = "FROM entries WHERE entry IN (SELECT value FROM json_each(?))"
    rows = db.execute(f"SELECT execution_id {gone} ORDER BY entry", missing)  # a text of ours
    done.without_detail = [execution_id for (execution_id,) in rows]
    db.execute(f"DELETE {gone}", missing)  # as above
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


def _keep_what_was_sent(db: sqlite3.Connection, missing: tuple[str]) -> None:
    """What was sent stays sent, even where its detail is lost."""
    sent = "SELECT entry FROM entries WHERE state = 1 AND entry IN (SELECT value FROM json_each(?))"
    db.execute(f"UPDATE executions SET entry = NULL, outcome = 1 WHERE entry IN ({sent})", missing)  # noqa: S608  # a text of ours
    db.execute(f"DELETE FROM entries WHERE entry IN ({sent})", missing)  # noqa: S608  # as above


def _know_again(db: sqlite3.Connection) -> None:
    """Entries whose feed or whose id is not known any more tell both themselves."""
    rows = db.execute(
        """SELECT entry, key, execution_id, feed, time, recorded_at FROM entries
           WHERE key NOT IN (SELECT key FROM executions) OR feed NOT IN (SELECT feed FROM feeds)"""
    ).fetchall()
    for start in range(0, len(rows), DETAILS_AT_ONCE):
        some = rows[start : start + DETAILS_AT_ONCE]
        held = details.details_of(db, [row[0] for row in some])
        for entry, key, execution_id, feed, time, recorded_at in some:
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
        if (there := part(file, ending)).exists():
            rename(there, part(kept, ending))
    rename(fresh, file)
    return kept
