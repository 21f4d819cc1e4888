"""The opening of a copy of a damaged ledger. The header gives its length, and the columns give its format."""

import shutil
import sqlite3
from pathlib import Path

from forwarder.errors import LedgerError
from forwarder.ledger.sqlite.connection import NEWER
from forwarder.ledger.sqlite.migrations import FORMAT, format_of, layout, layout_of

ENDINGS = ("", "-wal", "-shm")

MAX_TRUNCATION = 1000
"""The limit of the length in the header, in multiples of the file's length. A header with more is damaged."""


def open_copy(file: Path, copy: Path) -> sqlite3.Connection:
    """Return a connection to a copy, extended to the length in its header. SQLite reads no shorter file.

    Raise LedgerError if nothing can be read, or if a newer forwarder wrote the file.
    """
    for ending in ("", "-wal"):
        if (source_file := with_ending(file, ending)).exists():
            shutil.copyfile(source_file, with_ending(copy, ending))
    with copy.open("r+b") as header:
        start = header.read(100)
        size = int.from_bytes(start[16:18]) * int.from_bytes(start[28:32])
        is_header = start.startswith(b"SQLite format 3\0") and size < MAX_TRUNCATION * copy.stat().st_size
        if is_header and size > copy.stat().st_size:
            header.truncate(size)
    source = sqlite3.connect(copy, isolation_level=None)
    # An undecodable text must not lose its row.
    source.text_factory = lambda text: text.decode(errors="replace")
    try:
        source.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        number = likely_format(source)
    except sqlite3.DatabaseError:
        number = 0
    if 0 < number <= FORMAT:
        return source
    source.close()
    if number > FORMAT:
        raise LedgerError(f"the ledger {file} was written by a newer forwarder", hint=NEWER)
    hint = "restore it from a backup; or move it and its .lock file away to start with a new ledger"
    raise LedgerError(f"nothing in {file} can be read as a ledger", hint=hint)


def likely_format(source: sqlite3.Connection) -> int:
    """Return the format of the file. Its stored number may be damaged, so the form of the tables decides."""
    stored, columns = format_of(source), layout(source)
    if stored > FORMAT:
        return stored
    fitting = [number for number in range(FORMAT, 0, -1) if layout_of(number) == columns]
    return fitting[0] if fitting and stored not in fitting else stored


def with_ending(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)


def remove(file: Path) -> None:
    """Remove the database with its write-ahead log and shared memory, as far as they exist."""
    for ending in ENDINGS:
        with_ending(file, ending).unlink(missing_ok=True)
