"""A damaged ledger, opened to be read: a copy, as long as it says it is, and as what its tables look like."""

import shutil
import sqlite3
from pathlib import Path

from forwarder.errors import LedgerError
from forwarder.ledger.sqlite.connection import NEWER_FORMAT_HINT, VERSION, expected_layout, layout, version

ENDINGS = ("", "-wal", "-shm")

MAX_TRUNCATION_FACTOR = 1000
"""Times its size that a file may have been longer; a header that says more is damaged itself."""


def open_copy(file: Path, copy: Path) -> sqlite3.Connection:
    """A copy, as long as its header says it is: SQLite reads nothing of a file that is shorter. Raises LedgerError."""
    for ending in ("", "-wal"):
        if (existing := with_ending(file, ending)).exists():
            shutil.copyfile(existing, with_ending(copy, ending))
    with copy.open("r+b") as header:
        start = header.read(100)
        size = int.from_bytes(start[16:18]) * int.from_bytes(start[28:32])
        is_header = start.startswith(b"SQLite format 3\0") and size < MAX_TRUNCATION_FACTOR * copy.stat().st_size
        if is_header and size > copy.stat().st_size:
            header.truncate(size)
    source = sqlite3.connect(copy, isolation_level=None)
    # A text that is none any more is no reason to lose its row.
    source.text_factory = lambda text: text.decode(errors="replace")
    try:
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        number = detect_format(source)
    except sqlite3.DatabaseError:
        number = 0
    if 0 < number <= VERSION:
        return source
    source.close()
    if number > VERSION:
        raise LedgerError(f"the ledger {file} was written by a newer forwarder", hint=NEWER_FORMAT_HINT)
    hint = "restore it from a backup; or move it and its .lock away, and begin anew"
    raise LedgerError(f"nothing of {file} can be read", hint=hint)


def detect_format(source: sqlite3.Connection) -> int:
    """The version. Its number may be what is damaged: what the tables look like has the last word."""
    stored_number, columns = version(source), layout(source)
    if stored_number > VERSION:
        return stored_number
    matching = [number for number in range(VERSION, 0, -1) if expected_layout(number) == columns]
    return matching[0] if matching and stored_number not in matching else stored_number


def with_ending(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)


def remove_files(file: Path) -> None:
    for ending in ENDINGS:
        with_ending(file, ending).unlink(missing_ok=True)
