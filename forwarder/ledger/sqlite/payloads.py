"""The stored form of payloads: each event detail is one compressed row.

A row starts with the entry's own number, so that a damaged key cannot give an entry the payload of another. Each detail
is compressed alone, so it can be read, replaced and deleted without other details.
"""

from collections.abc import Collection, Sequence
from sqlite3 import Connection

import msgspec

from forwarder.ledger import compression

NUMBER_BYTES = 8
"""The length of the entry's number before the compressed detail."""


def decompress(entry: int, body: bytes | None) -> bytes | None:
    """Return the detail of an entry, or None if the row is missing, damaged or another entry's."""
    if not isinstance(body, bytes) or body[:NUMBER_BYTES] != _number(entry):
        return None
    return compression.decompress(memoryview(body)[NUMBER_BYTES:])


def insert(db: Connection, first: int, compressed: Sequence[bytes]) -> None:
    """Insert the payloads of entries with consecutive numbers."""
    db.executemany(
        "INSERT INTO payloads VALUES (?, ?)",
        [(entry, _number(entry) + body) for entry, body in enumerate(compressed, first)],
    )


def body_of(db: Connection, entry: int) -> bytes | None:
    """Return the stored bytes of an entry, its number and the compressed detail, or None if there is no row."""
    # CAST: a damaged row may hold a value of another type.
    row = db.execute("SELECT CAST(body AS BLOB) FROM payloads WHERE entry = ?", (entry,)).fetchone()
    return None if row is None else row[0]


def details_of(db: Connection, entries: Collection[int]) -> dict[int, bytes]:
    """Return the details that can be read, by entry."""
    rows = db.execute(
        "SELECT entry, CAST(body AS BLOB) FROM payloads WHERE entry IN (SELECT value FROM json_each(?))",
        (msgspec.json.encode(list(entries)).decode(),),
    )
    found = ((entry, decompress(entry, body)) for entry, body in rows)
    return {entry: detail for entry, detail in found if detail is not None}


def number_in(body: bytes | None) -> int | None:
    """Return the entry number at the start of a row, or None if the row is too short."""
    return int.from_bytes(body[:NUMBER_BYTES], signed=True) if body and len(body) > NUMBER_BYTES else None


def delete(db: Connection, entries: Collection[int]) -> None:
    """Delete the payloads of entries."""
    db.executemany("DELETE FROM payloads WHERE entry = ?", [(entry,) for entry in entries])


def _number(entry: int) -> bytes:
    return entry.to_bytes(NUMBER_BYTES, signed=True)
