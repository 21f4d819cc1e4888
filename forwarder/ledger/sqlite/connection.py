"""The tables, and how a ledger file is opened."""

import os
import sqlite3
import time
from contextlib import closing
from functools import cache
from pathlib import Path

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger.sqlite import engine
from forwarder.ledger.sqlite.causes import RECOVERY_HINT, hint_for, translate_error
from forwarder.ledger.sqlite.lock import is_running, was_created

APPLICATION_ID = 0x46574452  # "FWDR", so that `file` and we know one of ours

BUSY_SECONDS = 5

CHECK_INTERVAL_SECONDS = 0.02

WAL_AUTOCHECKPOINT_PAGES = 2000
"""Of 4 KiB, after which the write-ahead log goes into the file, and begins anew. The more, the fewer writes in all, and
the longer one has to wait for it: with ten million ids 4000 make it 70 ms, and 2000 make it 40.
"""

MAX_IDLE_WAL_BYTES = 16 * 1024 * 1024
"""Size of the write-ahead log that stays on the disk after a checkpoint. A reader that holds a snapshot open, such as
a backup or a database shell, keeps checkpoints from ending, and the log grows far beyond this; it shrinks afterwards.
"""

CACHE_KIBIBYTES = 16 * 1024

MAX_QUICK_CHECK_BYTES = 8 * 1024 * 1024

NEWER_FORMAT_HINT = "install that version or a later one"

PENDING, SENT, DEAD = 0, 1, 2
"""States of an entry whose detail is held."""

PURGED = 2
"""With SENT, the outcomes of an execution whose detail is not held any more."""

_TABLES = """
-- Every id ever recorded and not forgotten. The key and the fingerprint are 128 bits of a digest of the id.
-- entry: its row in entries while the detail is held, else NULL, and outcome says how it ended.
-- stopped: seconds, rounded up; recorded: hours; both since 1970.
CREATE TABLE executions (
    key INTEGER PRIMARY KEY, fingerprint INTEGER NOT NULL, feed INTEGER NOT NULL,
    entry INTEGER, outcome INTEGER, stopped INTEGER NOT NULL, recorded INTEGER NOT NULL
);
-- What is owed, was sent lately, or is dead, in the order of recording. Times are microseconds since 1970.
-- settlement_seq: the number of the commit that settled it, an order that no clock can disturb.
CREATE TABLE entries (
    entry INTEGER PRIMARY KEY AUTOINCREMENT, key INTEGER NOT NULL, execution_id TEXT NOT NULL,
    feed INTEGER NOT NULL, state INTEGER NOT NULL, time INTEGER NOT NULL, recorded_at INTEGER NOT NULL,
    due_at INTEGER NOT NULL, settled_at INTEGER, settlement_seq INTEGER, attempts INTEGER NOT NULL DEFAULT 0,
    unclassified_attempts INTEGER NOT NULL DEFAULT 0, replay INTEGER NOT NULL DEFAULT 0,
    history BLOB, result TEXT, reason TEXT
);
CREATE INDEX entries_pending ON entries (due_at) WHERE state = 0;
CREATE INDEX entries_sent ON entries (settled_at) WHERE state = 1;
CREATE INDEX entries_dead ON entries (execution_id) WHERE state = 2;
-- Apart from entries, so that settling one does not write its detail again. zlib.
CREATE TABLE payloads (entry INTEGER PRIMARY KEY, body BLOB NOT NULL);
CREATE TABLE feeds (
    feed INTEGER PRIMARY KEY, workflow_id TEXT NOT NULL, user_id TEXT NOT NULL,
    watermark INTEGER, floor INTEGER, local_floor INTEGER, full_scan_at INTEGER, open_executions BLOB,
    polled_at INTEGER, poll_error TEXT,
    UNIQUE (workflow_id, user_id)
);
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE metadata (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES
    ('recorded', 0), ('pending', 0), ('sent', 0), ('dead', 0), ('purged', 0), ('forgotten', 0);
"""

_MINUTES = """
-- How many were recorded, and sent, in a minute since 1970; those of the last day are kept.
CREATE TABLE minutes (minute INTEGER PRIMARY KEY, recorded INTEGER NOT NULL, sent INTEGER NOT NULL);
-- How many of those sent came how late; see stats.py for what a step is.
CREATE TABLE lags (
    minute INTEGER NOT NULL, step INTEGER NOT NULL, sent INTEGER NOT NULL, PRIMARY KEY (minute, step)
) WITHOUT ROWID;
"""

_BUSES = """
-- bus: which one a sent entry was sent to, so that it can be sent again should that one turn out to have been missing.
ALTER TABLE entries ADD COLUMN bus TEXT;
DELETE FROM metadata WHERE name = 'bus';
"""

_PROOFS = """
-- fingerprint: the first 48 of its bits. With the key they tell any two ids apart.
UPDATE executions SET fingerprint = fingerprint >> 16;
"""

_PACKS = """
-- Of entries that were recorded together, under the number of the first; see payloads.py.
ALTER TABLE payloads RENAME COLUMN entry TO first;
"""

MIGRATIONS = (_TABLES, _MINUTES, _BUSES, _PROOFS, _PACKS)
"""Each makes a ledger of the version before it, from 0, one of its own. A step that was released stays as it is."""

VERSION = len(MIGRATIONS)

Layout = frozenset[tuple[str, str]]
"""The columns of all tables, each as the table's name and its own."""


def connect(
    file: Path, *, create: bool, target_version: int | None = None, library: engine.Engine | None = None
) -> sqlite3.Connection:
    """Raises LedgerError where the file is missing or empty and may not be made, is damaged or too new, or if SQLite
    is too old.

    `target_version` is the version that it is migrated to, the newest by default. `library` is the
    SQLite that is linked.
    """
    engine.require_supported(library or engine.linked_engine())
    if not create:
        _wait_until_created(file)
    if not file.exists():
        if not create:
            raise LedgerError(f"there is no ledger {file}", hint="`forwarder run` or `forwarder once` makes it")
        _create_file(file)
    elif not file.is_file():  # SQLite would wait at a pipe
        raise LedgerError(f"the ledger {file} is not a regular file", hint="correct ledger.url, or move it away")
    elif not create and not file.stat().st_size:
        raise _emptied_error(file)
    try:
        connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise translate_error(error, file) from None
    # A text that is none any more, of a damaged row, must not hold up the others.
    connection.text_factory = lambda text: text.decode(errors="replace")
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        # A settled entry must stay settled after a power cut, or it would be sent twice.
        connection.execute("PRAGMA synchronous = FULL")
        # What has changed many times by then is written into the file once.
        connection.execute(f"PRAGMA wal_autocheckpoint = {WAL_AUTOCHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit = {MAX_IDLE_WAL_BYTES}")
        # Ids lie all over their table: a commit of many changes as many pages, and writes twice what does not fit.
        connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")
        if not create:
            _require_tables(connection, file)
            _refuse_beside_older_forwarder(connection, file)
        _create_or_migrate(connection, file, VERSION if target_version is None else target_version)
        _quick_check(connection, file)
    except sqlite3.Error as error:
        connection.close()
        raise translate_error(error, file) from None
    except LedgerError:
        connection.close()
        raise
    return connection


def _create_file(file: Path) -> None:
    try:
        # Details are redacted, and still nobody else's business.
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise LedgerUnavailable(
            f"the ledger {file} cannot be made: {error.strerror}", hint=hint_for(error, "make its folder writable")
        ) from None


def _wait_until_created(file: Path) -> None:
    """Wait until a forwarder that just started has created the tables, for as long as SQLite waits for a lock."""
    end = time.monotonic() + BUSY_SECONDS
    while was_created(file) is False and is_running(file) and time.monotonic() < end:
        time.sleep(CHECK_INTERVAL_SECONDS)


def _require_tables(connection: sqlite3.Connection, file: Path) -> None:
    if version(connection) == 0:
        raise _layout_error(file) if layout(connection) else _emptied_error(file)


def _refuse_beside_older_forwarder(connection: sqlite3.Connection, file: Path) -> None:
    """A forwarder that runs would not know the ids again that are kept another way than it keeps them."""
    if version(connection) < VERSION and is_running(file):
        raise LedgerError(
            f"the ledger {file} is of an older format, and an older forwarder runs on it",
            hint="restart that one: it brings the ledger up",
        )


def _emptied_error(file: Path) -> LedgerError:
    """A file that lost all it held must not be taken for a new ledger, which would send again what was sent."""
    if was_created(file) is False:
        return LedgerError(
            f"the ledger {file} was not completed when it was made",
            hint="`forwarder run` or `forwarder once` completes it, or says why it cannot",
        )
    hint = (
        "restore it from a backup, together with the -wal file of the same backup (a copy without it may hold nothing);"
        " or remove it and its .lock to begin anew, and know nothing of what was sent"
    )
    return LedgerError(f"the ledger {file} holds nothing any more", hint=hint)


def _create_or_migrate(connection: sqlite3.Connection, file: Path, target_version: int) -> None:
    """Make the tables, or those that came later. An upgrade is whole or not at all, and one process does it."""
    if version(connection) < target_version:
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrate(connection, target_version)
        except BaseException as error:
            if connection.in_transaction:  # else SQLite has rolled back by itself
                connection.execute("ROLLBACK")
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
                raise _layout_error(file) from None
            raise
        connection.execute("COMMIT")
    if version(connection) > VERSION:
        raise LedgerError(f"the ledger {file} was written by a newer forwarder", hint=NEWER_FORMAT_HINT)
    if layout(connection) != expected_layout(version(connection)):
        raise _layout_error(file)


def _layout_error(file: Path) -> LedgerError:
    return LedgerError(f"the ledger {file} is damaged: its tables are not those of its version", hint=RECOVERY_HINT)


def migrate(connection: sqlite3.Connection, target_version: int) -> None:
    """In the transaction that is open."""
    for step in MIGRATIONS[
        version(connection) : target_version
    ]:  # asked anew: another process may have done it while we waited
        for statement in step.split(";\n"):
            connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {max(target_version, version(connection))}")


def _quick_check(connection: sqlite3.Connection, file: Path) -> None:
    """Look through a small ledger whole; a large one would take too long, and is looked through by `check`."""
    if file.stat().st_size > MAX_QUICK_CHECK_BYTES:
        return
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise LedgerError(f"the ledger {file} is damaged: {problem}", hint=RECOVERY_HINT)


def version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def layout(connection: sqlite3.Connection) -> Layout:
    return frozenset(
        connection.execute(
            """SELECT tables.name, columns.name FROM sqlite_schema AS tables, pragma_table_info(tables.name) AS columns
               WHERE tables.type = 'table'"""
        )
    )


@cache
def expected_layout(number: int) -> Layout:
    """Of a ledger of this version."""
    with closing(sqlite3.connect(":memory:")) as fresh:
        migrate(fresh, number)
        return layout(fresh)
