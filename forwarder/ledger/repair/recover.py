"""Rescuing a damaged ledger: every row that can still be read, into a fresh one.

What is rescued may send an execution again, where the row that said it was sent is lost; it never drops one silently.
"""

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from forwarder.atomicfile import rename
from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger.models import Counters
from forwarder.ledger.repair.open import ENDINGS, detect_format, open_copy, remove_files, with_ending
from forwarder.ledger.repair.salvage import read_table
from forwarder.ledger.repair.validate import TableValidator
from forwarder.ledger.sqlite import metadata, payloads
from forwarder.ledger.sqlite.causes import translate_error
from forwarder.ledger.sqlite.codec import ceil_to_seconds, digest, floor_to_hours, from_micros
from forwarder.ledger.sqlite.connection import DEAD, PENDING, PURGED, SENT, VERSION, connect, migrate
from forwarder.ledger.sqlite.counters import load_counters

DAMAGED_SUFFIX = ".damaged-"

PAYLOADS_PER_BATCH = 50
"""That are held in memory: each may be of a megabyte."""

_KEYED_TABLES = ("feeds", "executions", "entries", "payloads", "minutes")


@dataclass(slots=True)
class RecoveryResult:
    """`rows` were rescued and `lost` counts gaps and rows that could not be, by table; `lost_payload_ids` are
    executionIds.
    """

    counters: Counters = field(default_factory=Counters)
    rows: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    lost_payload_ids: list[str] = field(default_factory=list)
    damaged_copy: Path | None = None


def recover(file: Path) -> RecoveryResult:
    """Put a fresh ledger in place of a damaged one, which is kept beside it. Raises LedgerError, and leaves it then.

    Only while nothing runs on it. Cut short at any step, it is done by the next one.
    """
    fresh, copy = file.with_name(f"{file.name}.recovered"), file.with_name(f"{file.name}.copy")
    try:
        result = RecoveryResult() if not file.exists() and fresh.exists() else _recover(file, fresh, copy)
        result.damaged_copy = _swap(file, fresh)
    except OSError as error:
        hint = "make room on its disk, and its folder writable: a rescue takes as much again, twice"
        raise LedgerUnavailable(f"the ledger {file} cannot be rescued now: {error.strerror}", hint=hint) from None
    return result


def _recover(file: Path, fresh: Path, copy: Path) -> RecoveryResult:
    if not file.exists():
        raise LedgerError(f"there is no ledger {file} to rescue anything from", hint="restore it from a backup")
    result = RecoveryResult()
    for leftover in (fresh, copy):
        remove_files(leftover)
    try:
        _fill_fresh(file, fresh, copy, result)
    except BaseException:
        remove_files(fresh)
        raise
    finally:
        remove_files(copy)
    return result


def _fill_fresh(file: Path, fresh: Path, copy: Path, result: RecoveryResult) -> None:
    source = open_copy(file, copy)
    try:
        # Of the version of what is rescued, and brought up with it: a later one writes the same otherwise.
        target = connect(fresh, create=True, target_version=detect_format(source))
        try:
            target.execute("BEGIN IMMEDIATE")
            for table in _KEYED_TABLES:
                _copy_table(source, target, table, result)
            _copy_lags(source, target, result)
            _copy_counters_and_metadata(source, target, result)
            migrate(target, VERSION)
            _reconcile(target, result)
            target.execute("COMMIT")
            result.counters = load_counters(target)
        finally:
            target.close()
    except sqlite3.Error as error:
        raise translate_error(error, file) from None
    finally:
        source.close()


def _copy_table(source: sqlite3.Connection, target: sqlite3.Connection, table: str, result: RecoveryResult) -> None:
    validator = TableValidator(target, table)
    if not validator.columns:  # it came with a later version
        return
    insert = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(validator.columns))})"  # noqa: S608  # names of ours
    recovered = lost = 0
    for batch in read_table(source, table, validator.key, validator.columns):
        admitted = [row for row in batch.rows if validator.is_valid(row)]
        kept = max(0, target.executemany(insert, admitted).rowcount)
        recovered += kept
        lost += len(batch.rows) - kept + batch.gap
    result.rows[table] = recovered
    if lost:
        result.lost[table] = lost


def _copy_lags(source: sqlite3.Connection, target: sqlite3.Connection, result: RecoveryResult) -> None:
    """They have no key of one number, and there are few."""
    validator = TableValidator(target, "lags")
    if not validator.columns:
        return
    try:
        rows = [row for row in source.execute("SELECT * FROM lags") if validator.is_valid(row)]
    except sqlite3.DatabaseError:
        result.lost["lags"] = 1
        return
    result.rows["lags"] = max(0, target.executemany("INSERT OR IGNORE INTO lags VALUES (?, ?, ?)", rows).rowcount)


def _copy_counters_and_metadata(source: sqlite3.Connection, target: sqlite3.Connection, result: RecoveryResult) -> None:
    """Of the counters only what no row tells, and of the metadata what can be read."""
    for table in ("counters", "metadata"):
        try:
            rows = source.execute(f"SELECT name, value FROM {table}").fetchall()  # noqa: S608  # names of ours
        except sqlite3.DatabaseError:
            result.lost[table] = 1
            continue
        if table == "counters":
            kept = [row for row in rows if row[0] == "forgotten" and isinstance(row[1], int) and row[1] >= 0]
            target.executemany("UPDATE counters SET value = ? WHERE name = ?", [(row[1], row[0]) for row in kept])
            lost = not kept
        else:
            kept = [row for row in rows if metadata.is_valid(*row)]
            target.executemany("INSERT OR REPLACE INTO metadata VALUES (?, ?)", kept)
            lost = len(kept) < len(rows)
        if lost:
            result.lost[table] = 1


def _reconcile(db: sqlite3.Connection, result: RecoveryResult) -> None:
    """Make the rows agree again, leaning to sending twice, and write the counters anew."""
    payloads.restore_numbers(db)
    unreadable = (msgspec.json.encode(payloads.unreadable_entries(db)).decode(),)
    _preserve_sent(db, unreadable)
    # An entry without its detail cannot be sent: it is named, and forgotten, so that a reading may find it again.
    condition = "FROM entries WHERE entry IN (SELECT value FROM json_each(?))"
    rows = db.execute(f"SELECT execution_id {condition} ORDER BY entry", unreadable)  # a text of ours
    result.lost_payload_ids = [execution_id for (execution_id,) in rows]
    db.execute(f"DELETE {condition}", unreadable)  # as above
    payloads.delete_orphans(db)
    db.execute("DELETE FROM executions WHERE entry IS NOT NULL AND entry NOT IN (SELECT entry FROM entries)")
    _restore_ids(db)
    held_by_state = dict(db.execute("SELECT state, count(*) FROM entries GROUP BY state"))
    ended_by_outcome = dict(db.execute("SELECT outcome, count(*) FROM executions WHERE entry IS NULL GROUP BY outcome"))
    forgotten = db.execute("SELECT value FROM counters WHERE name = 'forgotten'").fetchone()[0]
    counted = {
        "pending": held_by_state.get(PENDING, 0),
        "sent": held_by_state.get(SENT, 0) + ended_by_outcome.get(SENT, 0),
        "dead": held_by_state.get(DEAD, 0),
        "purged": ended_by_outcome.get(PURGED, 0),
        "forgotten": forgotten,
    }
    counted["recorded"] = sum(counted.values())
    db.executemany("INSERT OR REPLACE INTO counters VALUES (?, ?)", list(counted.items()))


def _preserve_sent(db: sqlite3.Connection, unreadable: tuple[str]) -> None:
    """What was sent stays sent, even where its detail is lost."""
    sent = "SELECT entry FROM entries WHERE state = 1 AND entry IN (SELECT value FROM json_each(?))"
    db.execute(f"UPDATE executions SET entry = NULL, outcome = 1 WHERE entry IN ({sent})", unreadable)  # noqa: S608  # a text of ours
    db.execute(f"DELETE FROM entries WHERE entry IN ({sent})", unreadable)  # noqa: S608  # as above


def _restore_ids(db: sqlite3.Connection) -> None:
    """Entries whose feed or whose id is not known any more tell both themselves."""
    rows = db.execute(
        """SELECT entry, key, execution_id, feed, time, recorded_at FROM entries
           WHERE key NOT IN (SELECT key FROM executions) OR feed NOT IN (SELECT feed FROM feeds)"""
    ).fetchall()
    for start in range(0, len(rows), PAYLOADS_PER_BATCH):
        some = rows[start : start + PAYLOADS_PER_BATCH]
        payloads_by_entry = payloads.load_payloads(db, [row[0] for row in some])
        for entry, key, execution_id, feed, time, recorded_at in some:
            decoded = _decoded(payloads_by_entry[entry])
            db.execute(
                "INSERT OR IGNORE INTO feeds (feed, workflow_id, user_id) VALUES (?, ?, ?)",
                (feed, str(decoded.get("workflowId", "")), str(decoded.get("userId", ""))),
            )
            stopped, recorded = ceil_to_seconds(from_micros(time)), floor_to_hours(from_micros(recorded_at))
            db.execute(
                "INSERT OR IGNORE INTO executions VALUES (?, ?, ?, ?, NULL, ?, ?)",
                (key, digest(execution_id)[1], feed, entry, stopped, recorded),
            )


def _decoded(detail: bytes) -> dict[str, Any]:
    """The detail, or nothing where it is damaged: then it becomes a dead letter once it is taken."""
    try:
        decoded = msgspec.json.decode(detail)
    except (ValueError, RecursionError):
        return {}
    return decoded if isinstance(decoded, dict) else {}


def _swap(file: Path, fresh: Path) -> Path:
    """First of all the ledger itself goes: while there is none nothing starts, nor reads its log without it."""
    unfinished = [
        kept for kept in file.parent.glob(f"{file.name}{DAMAGED_SUFFIX}*") if not kept.name.endswith(ENDINGS[1:])
    ]
    if file.exists():
        kept = file.with_name(f"{file.name}{DAMAGED_SUFFIX}{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
    else:
        kept = max(unfinished, default=file.with_name(f"{file.name}{DAMAGED_SUFFIX}0"))
    for ending in ENDINGS:
        if (existing := with_ending(file, ending)).exists():
            rename(existing, with_ending(kept, ending))
    rename(fresh, file)
    return kept
