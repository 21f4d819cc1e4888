"""The opening of a ledger file: it is created or migrated if allowed, and checked before anything uses it."""

import os
import sqlite3
import time
from pathlib import Path

from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger.sqlite import engine
from forwarder.ledger.sqlite.causes import RECOVERY_HINT, hint_for, translate_error
from forwarder.ledger.sqlite.lock import is_running, was_created
from forwarder.ledger.sqlite.migrations import (
    APPLICATION_ID,
    FORMAT,
    application_of,
    format_of,
    layout,
    layout_of,
    migrate,
)

BUSY_SECONDS = 5

BETWEEN_CHECKS_SECONDS = 0.02

CHECKPOINT_PAGES = 2000
"""The size of the write-ahead log, in pages of 4 KiB, that triggers a checkpoint. A larger log means fewer writes in
all and a longer wait for each checkpoint: with ten million ids 70 ms for 4,000 pages and 40 ms for 2,000.
"""

MAX_IDLE_LOG_BYTES = 16 * 1024 * 1024
"""The size of the write-ahead log that stays on the disk after a checkpoint. A reader with an open snapshot, such as a
backup or a database shell, delays checkpoints, and the log grows far beyond this; it shrinks afterwards.
"""

CACHE_KIBIBYTES = 16 * 1024

MAX_QUICK_CHECK_BYTES = 8 * 1024 * 1024
"""The largest ledger that is checked for damage whenever it is opened; `forwarder check` checks every ledger."""

NEWER = "install that version or a later one"


def connect(file: Path, *, create: bool, library: engine.Engine | None = None) -> sqlite3.Connection:
    """Return a connection to the ledger.

    Raise LedgerError if the file is missing or empty and must not be created, belongs to another program, is damaged
    or of a newer format, or if the linked SQLite (or `library`) is too old.
    """
    engine.require_supported(library or engine.linked_engine())
    if not create:
        _wait_for_creation(file)
    if not file.exists():
        if not create:
            raise LedgerError(f"there is no ledger {file}", hint="`forwarder run` or `forwarder once` creates it")
        _create(file)
    elif not file.is_file():  # SQLite would wait at a pipe
        raise LedgerError(f"the ledger {file} is not a regular file", hint="correct ledger.url, or move it away")
    elif not create and not file.stat().st_size:
        raise _empty_file_error(file)
    try:
        connection = sqlite3.connect(file, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    except sqlite3.Error as error:
        raise translate_error(error, file) from None
    # An undecodable text in a damaged row must not block the other rows.
    connection.text_factory = lambda text: text.decode(errors="replace")
    try:
        _configure(connection)
        _require_tables(connection, file, create=create)
        _require_undamaged(connection, file)
    except sqlite3.Error as error:
        connection.close()
        raise translate_error(error, file) from None
    except LedgerError:
        connection.close()
        raise
    return connection


def _configure(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    # A settled entry must stay settled after a power failure, or it would be sent twice.
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    connection.execute(f"PRAGMA journal_size_limit = {MAX_IDLE_LOG_BYTES}")
    # Ids are spread over their whole table: one commit changes many pages, and pages that do not fit are written twice.
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIBIBYTES}")


def _create(file: Path) -> None:
    try:
        # Payloads are redacted, but still private.
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise LedgerUnavailable(
            f"the ledger {file} cannot be created: {error.strerror}", hint=hint_for(error, "make its folder writable")
        ) from None


def leave_checkpoints_to_others(connection: sqlite3.Connection) -> None:
    """Let only the running forwarder copy the log into the file.

    Up to SQLite 3.51.2, a checkpoint of one connection during a commit of another can, very rarely, lose commits.
    """
    connection.execute("PRAGMA wal_autocheckpoint = 0")


def _wait_for_creation(file: Path) -> None:
    """Wait until a forwarder that just started has created the tables, for as long as SQLite waits for a lock."""
    end = time.monotonic() + BUSY_SECONDS
    while was_created(file) is False and is_running(file) and time.monotonic() < end:
        time.sleep(BETWEEN_CHECKS_SECONDS)


def _require_tables(connection: sqlite3.Connection, file: Path, *, create: bool) -> None:
    """Create the tables if `create` is set, migrate an older format, and verify the columns of all tables.

    Raise LedgerError if the tables are missing, differ from their format, or belong to a newer forwarder or to another
    program. Without `create`, raise it also if a running forwarder uses an older format.
    """
    _require_own_file(connection, file)
    if not create and format_of(connection) == 0:
        raise _wrong_tables_error(file) if layout(connection) else _empty_file_error(file)
    if not create and format_of(connection) < FORMAT and is_running(file):
        # The running forwarder would not find ids that are stored in another way than its own.
        raise LedgerError(
            f"the ledger {file} has an older format, and an older forwarder runs on it",
            hint="restart the forwarder: it migrates the ledger",
        )
    if format_of(connection) < FORMAT:
        _migrate(connection, file)
    if format_of(connection) > FORMAT:
        raise LedgerError(f"the ledger {file} was written by a newer forwarder", hint=NEWER)
    if layout(connection) != layout_of(format_of(connection)):
        raise _wrong_tables_error(file)


def _require_own_file(connection: sqlite3.Connection, file: Path) -> None:
    """Raise LedgerError if another program, or a forwarder before 0.2, wrote the file."""
    if application_of(connection) != APPLICATION_ID and layout(connection):
        raise LedgerError(
            f"{file} is not a ledger of this program: its application id is {application_of(connection):#010x}",
            hint="correct ledger.url, or move the file away; ledgers of versions before 0.2 are not read",
        )


def _migrate(connection: sqlite3.Connection, file: Path) -> None:
    """Migrate in one transaction, and in one process."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        migrate(connection)
    except BaseException as error:
        if connection.in_transaction:  # otherwise SQLite has rolled back on its own
            connection.execute("ROLLBACK")
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_ERROR:
            raise _wrong_tables_error(file) from None
        raise
    connection.execute("COMMIT")


def _empty_file_error(file: Path) -> LedgerError:
    """Return the error for a file without content.

    The file is not used as a new ledger, because every known execution would be sent again.
    """
    if was_created(file) is False:
        return LedgerError(
            f"the ledger {file} was not completed when it was created",
            hint="`forwarder run` or `forwarder once` completes it, or reports why it cannot",
        )
    hint = (
        "restore it from a backup, together with the -wal file of the same backup (without it a copy may be empty);"
        " or remove it and its .lock file to start with a new ledger, which does not know what was sent"
    )
    return LedgerError(f"the ledger {file} is empty now", hint=hint)


def _wrong_tables_error(file: Path) -> LedgerError:
    return LedgerError(f"the ledger {file} is damaged: its tables are not those of its format", hint=RECOVERY_HINT)


def _require_undamaged(connection: sqlite3.Connection, file: Path) -> None:
    """Raise LedgerError if a small ledger is damaged. Checking a large one would take too long here."""
    if file.stat().st_size > MAX_QUICK_CHECK_BYTES:
        return
    problem = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if problem != "ok":
        raise LedgerError(f"the ledger {file} is damaged: {problem}", hint=RECOVERY_HINT)
