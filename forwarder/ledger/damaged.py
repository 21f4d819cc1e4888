"""A damaged ledger, opened to be read: a copy, as long as it says it is, and as what its tables look like."""

import shutil
import sqlite3
from pathlib import Path

from forwarder.errors import LedgerError
from forwarder.ledger.schema import NEWER, VERSION, layout, layout_of, version

ENDINGS = ("", "-wal", "-shm")

MOST_CUT = 1000
"""Times its size that a file may have been longer; a header that says more is damaged itself."""


def open_copy(file: Path, copy: Path) -> sqlite3.Connection:
    """A copy, as long as its header says it is: SQLite reads nothing of a file that is shorter. Raises LedgerError."""
    for ending in ("", "-wal"):
        if (there := part(file, ending)).exists():
            shutil.copyfile(there, part(copy, ending))
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
        number = written_by(source)
    except sqlite3.DatabaseError:
        number = 0
    if 0 < number <= VERSION:
        return source
    source.close()
    if number > VERSION:
        raise LedgerError(f"the ledger {file} was written by a newer forwarder", hint=NEWER)
    hint = "restore it from a backup; or move it and its .lock away, and begin anew"
    raise LedgerError(f"nothing of {file} can be read", hint=hint)


def written_by(source: sqlite3.Connection) -> int:
    """The version. Its number may be what is damaged: what the tables look like has the last word."""
    told, looks = version(source), layout(source)
    if told > VERSION:
        return told
    fitting = [number for number in range(VERSION, 0, -1) if layout_of(number) == looks]
    return fitting[0] if fitting and told not in fitting else told


def part(file: Path, ending: str) -> Path:
    return file.with_name(file.name + ending)


def remove(file: Path) -> None:
    for ending in ENDINGS:
        part(file, ending).unlink(missing_ok=True)
