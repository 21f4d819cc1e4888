"""Recovery of a damaged ledger: every row that can be read is copied into a new one.

After a recovery an execution may be sent again, if the row that recorded its settlement is lost. Nothing is dropped
silently.
"""

import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from forwarder.atomicfile import rename
from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger.models import Counters
from forwarder.ledger.repair.damaged_file import ENDINGS, open_copy, remove, with_ending
from forwarder.ledger.repair.reconcile import reconcile
from forwarder.ledger.repair.salvage import readable_ranges
from forwarder.ledger.repair.validate import TableRules
from forwarder.ledger.sqlite import counters, metadata
from forwarder.ledger.sqlite.causes import translate_error
from forwarder.ledger.sqlite.connection import connect

KEPT_ENDING = ".damaged-"

_TABLES = ("feeds", "executions", "entries", "payloads", "minutes")
"""The tables whose key is one number, by which the readable rows around damage can be found."""


@dataclass(slots=True)
class RecoveryResult:
    """The result of a recovery.

    `rows` counts the copied rows by table, and `lost` gaps and rows that were not copied. `lost_payload_ids` has the
    executionIds of entries whose payload is lost. `damaged_copy` is the damaged file's new name.
    """

    counters: Counters = field(default_factory=Counters)
    rows: dict[str, int] = field(default_factory=dict)
    lost: dict[str, int] = field(default_factory=dict)
    lost_payload_ids: list[str] = field(default_factory=list)
    damaged_copy: Path | None = None


def recover(file: Path) -> RecoveryResult:
    """Put a new ledger in place of a damaged one, which is kept beside it. No forwarder may run on the file.

    A recovery that is interrupted at any step is completed by the next one. Raise LedgerError if nothing can be
    recovered; the file is then unchanged.
    """
    fresh, copy = file.with_name(f"{file.name}.rescued"), file.with_name(f"{file.name}.copy")
    try:
        result = RecoveryResult() if not file.exists() and fresh.exists() else _recover_into(file, fresh, copy)
        result.damaged_copy = _swap(file, fresh)
    except OSError as error:
        hint = "free space on its disk, and make its folder writable: a recovery needs twice the ledger's size"
        raise LedgerUnavailable(f"the ledger {file} cannot be recovered now: {error.strerror}", hint=hint) from None
    return result


def _recover_into(file: Path, fresh: Path, copy: Path) -> RecoveryResult:
    if not file.exists():
        raise LedgerError(f"there is no ledger {file} to recover anything from", hint="restore it from a backup")
    result = RecoveryResult()
    for leftover in (fresh, copy):
        remove(leftover)
    try:
        _fill(file, fresh, copy, result)
    except BaseException:
        remove(fresh)
        raise
    finally:
        remove(copy)
    return result


def _fill(file: Path, fresh: Path, copy: Path, result: RecoveryResult) -> None:
    source = open_copy(file, copy)
    try:
        target = connect(fresh, create=True)
        try:
            target.execute("BEGIN IMMEDIATE")
            for table in _TABLES:
                _copy(source, target, table, result)
            _copy_lags(source, target, result)
            _copy_counters(source, target, result)
            _copy_metadata(source, target, result)
            result.lost_payload_ids = reconcile(target)
            target.execute("COMMIT")
            result.counters = counters.stored(target)
        finally:
            target.close()
    except sqlite3.Error as error:
        raise translate_error(error, file) from None
    finally:
        source.close()


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, table: str, result: RecoveryResult) -> None:
    rules = TableRules(target, table)
    insert = f"INSERT OR IGNORE INTO {table} VALUES ({', '.join('?' * len(rules.columns))})"  # noqa: S608  # constants
    copied = lost = 0
    for found in readable_ranges(source, table, rules.key, rules.columns):
        valid = [row for row in found.rows if rules.is_valid(row)]
        inserted = max(0, target.executemany(insert, valid).rowcount)
        copied += inserted
        lost += len(found.rows) - inserted + found.gap
    result.rows[table] = copied
    if lost:
        result.lost[table] = lost


def _copy_lags(source: sqlite3.Connection, target: sqlite3.Connection, result: RecoveryResult) -> None:
    rules = TableRules(target, "lags")
    try:
        rows = [row for row in source.execute("SELECT * FROM lags") if rules.is_valid(row)]
    except sqlite3.DatabaseError:
        result.lost["lags"] = 1
        return
    result.rows["lags"] = max(0, target.executemany("INSERT OR IGNORE INTO lags VALUES (?, ?, ?)", rows).rowcount)


def _copy_counters(source: sqlite3.Connection, target: sqlite3.Connection, result: RecoveryResult) -> None:
    """Copy the number of forgotten ids. All other counters can be counted from the rows."""
    try:
        row = source.execute("SELECT value FROM counters WHERE name = 'forgotten'").fetchone()
    except sqlite3.DatabaseError:
        row = None
    if row is not None and isinstance(row[0], int) and row[0] >= 0:
        target.execute("UPDATE counters SET value = ? WHERE name = 'forgotten'", row)
    else:
        result.lost["counters"] = 1


def _copy_metadata(source: sqlite3.Connection, target: sqlite3.Connection, result: RecoveryResult) -> None:
    try:
        rows = source.execute("SELECT name, value FROM metadata").fetchall()
    except sqlite3.DatabaseError:
        result.lost["metadata"] = 1
        return
    valid = [row for row in rows if metadata.is_valid(*row)]
    target.executemany("INSERT OR REPLACE INTO metadata VALUES (?, ?)", valid)
    if len(valid) < len(rows):
        result.lost["metadata"] = len(rows) - len(valid)


def _swap(file: Path, fresh: Path) -> Path:
    """Rename the damaged files, then rename the new ledger to `file`. Return the new name of the damaged file.

    The database is renamed first: no forwarder starts while the database is missing, so none reads the old log.
    """
    started = [kept for kept in file.parent.glob(f"{file.name}{KEPT_ENDING}*") if not kept.name.endswith(ENDINGS[1:])]
    if file.exists():
        kept = file.with_name(f"{file.name}{KEPT_ENDING}{datetime.now(UTC):%Y%m%dT%H%M%S.%f}")
    else:
        kept = max(started, default=file.with_name(f"{file.name}{KEPT_ENDING}0"))
    for ending in ENDINGS:
        if (existing := with_ending(file, ending)).exists():
            rename(existing, with_ending(kept, ending))
    rename(fresh, file)
    return kept
