"""A backup of a ledger that may be in use, by SQLite's online backup (https://sqlite.org/backup.html)."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from forwarder.atomicfile import sync_folder
from forwarder.errors import LedgerError, LedgerUnavailable
from forwarder.ledger.sqlite.causes import hint_for, translate_error
from forwarder.ledger.sqlite.connection import connect


def back_up(ledger: Path, target: Path) -> None:
    """Write a copy of the ledger, as it is at one moment, to a new file that only this user can read.

    Raise LedgerError if the ledger cannot be read, or if `target` exists or cannot be written.
    """
    with closing(connect(ledger, create=False)) as source:
        partial = target.with_name(f".{target.name}.{os.getpid()}")
        try:
            if target.exists():
                raise LedgerError(f"{target} exists", hint="choose another name: a backup replaces nothing")
            os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            try:
                _copy(source, partial, target)
                os.link(partial, target)  # unlike a rename, it replaces nothing
            finally:
                partial.unlink()
            sync_folder(target.parent)
        except OSError as error:
            raise LedgerUnavailable(
                f"the backup {target} cannot be written: {error.strerror}", hint=hint_for(error, "check its folder")
            ) from None


def _copy(source: sqlite3.Connection, file: Path, target: Path) -> None:
    try:
        with closing(sqlite3.connect(file)) as copy:
            source.backup(copy)
            # One file, without a write-ahead log beside it, can be moved and copied alone.
            copy.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.Error as error:
        hint = translate_error(error, file).hint
        raise LedgerUnavailable(f"the backup {target} cannot be written: {error}", hint=hint) from None
