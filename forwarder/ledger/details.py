"""Details as they are kept: those that were recorded together are packed together, for they resemble each other.

A pack stands under the number of its first entry, and lists the details of that one and of those that follow it; one
that was let go of is empty. It holds its number itself: a damaged key must not give entries the details of others.
Formats before 5 kept every detail alone, and such a row is a pack of one.
"""

import zlib
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from sqlite3 import Connection

import msgspec

LARGEST_PACK = 64 * 1024
"""Bytes of details that are packed together: what one page of a damaged disk may take along with it."""

PACK = "(SELECT max(first) FROM details WHERE first <= entries.entry)"
"""In SQL, the number under which an entry's detail is to be found."""

NUMBER_BYTES = 8
"""That a pack begins with. Its first is 0 for as long as anybody counts, and one of zlib never is."""

_lists = msgspec.msgpack.Decoder(list[bytes])

Packed = tuple[int, bytes]
"""How many details, and they themselves, ready to be kept."""


def packed(details: Iterable[bytes]) -> list[Packed]:
    packs: list[Packed] = []
    together: list[bytes] = []
    size = 0
    for detail in details:
        if together and size + len(detail) > LARGEST_PACK:
            packs.append((len(together), _zipped(together)))
            together, size = [], 0
        together.append(detail)
        size += len(detail)
    if together:
        packs.append((len(together), _zipped(together)))
    return packs


def unpacked(first: int | None, body: bytes | None) -> Sequence[bytes]:
    """What a pack lists: nothing where there is none, or none that can be read."""
    if first is None or not body:
        return []
    try:
        if _number(body) == first:
            return _lists.decode(zlib.decompress(memoryview(body)[NUMBER_BYTES:]))
        return [alone] if body[0] != 0 and (alone := zlib.decompress(body)).startswith(b"{") else []
    except (zlib.error, TypeError, msgspec.DecodeError):
        return []


def listed(pack: Sequence[bytes], place: int) -> bytes | None:
    """The detail at a place of a pack, or None where there is none."""
    return (pack[place] or None) if 0 <= place < len(pack) else None


def insert(db: Connection, first: int, packs: Iterable[Packed]) -> None:
    """Of entries that follow each other, from `first` on."""
    for count, zipped in packs:
        db.execute("INSERT INTO details VALUES (?, ?)", (first, _numbered(first, zipped)))
        first += count


def details_of(db: Connection, entries: Collection[int]) -> dict[int, bytes]:
    """Those that can be read."""
    found: dict[int, bytes] = {}
    for first, together in _by_pack(db, entries).items():
        pack = unpacked(first, body_of(db, first))
        for entry in together:
            if detail := listed(pack, entry - first):
                found[entry] = detail
    return found


def drop(db: Connection, entries: Collection[int]) -> None:
    """Let go of the details of entries that are there no more, and of no other that is packed with them."""
    for first in _by_pack(db, entries):
        _keep_those_of_entries(db, first)


def tidy(db: Connection) -> None:
    """Let go of every detail whose entry is there no more."""
    for (first,) in db.execute("SELECT first FROM details").fetchall():
        _keep_those_of_entries(db, first)


def renumber(db: Connection) -> None:
    """Put every pack back under its own number, or let go of it where another stands there."""
    numbers = [first for (first,) in db.execute("SELECT first FROM details")]
    for first in numbers:
        body = body_of(db, first)
        if not body or body[0] != 0 or (number := _number(body)) == first:
            continue
        if not db.execute("UPDATE OR IGNORE details SET first = ? WHERE first = ?", (number, first)).rowcount:
            db.execute("DELETE FROM details WHERE first = ?", (first,))


def missing(db: Connection) -> list[int]:
    """Entries whose detail is not there, or cannot be read."""
    entries = [entry for (entry,) in db.execute("SELECT entry FROM entries")]
    there: set[int] = set()
    for first, together in _by_pack(db, entries).items():
        pack = unpacked(first, body_of(db, first))
        there.update(entry for entry in together if listed(pack, entry - first))
    return [entry for entry in entries if entry not in there]


def body_of(db: Connection, first: int | None) -> bytes | None:
    # As bytes, whatever a damaged row says that it is.
    row = db.execute("SELECT CAST(body AS BLOB) FROM details WHERE first = ?", (first,)).fetchone()
    return None if row is None else row[0]


def after(db: Connection, first: int) -> int:
    """The number at which the next pack begins, or one above all."""
    row = db.execute("SELECT min(first) FROM details WHERE first > ?", (first,)).fetchone()
    return 2**63 - 1 if row[0] is None else int(row[0])


def _keep_those_of_entries(db: Connection, first: int) -> None:
    pack = unpacked(first, body_of(db, first))
    rows = db.execute("SELECT entry - ? FROM entries WHERE entry >= ? AND entry < ?", (first, first, first + len(pack)))
    held = {place for (place,) in rows}
    left = [detail if place in held else b"" for place, detail in enumerate(pack)]
    if not any(left):
        db.execute("DELETE FROM details WHERE first = ?", (first,))
    elif left != pack:
        db.execute("UPDATE details SET body = ? WHERE first = ?", (_numbered(first, _zipped(left)), first))


def _by_pack(db: Connection, entries: Collection[int]) -> dict[int, list[int]]:
    """Entries by the pack in which their details are to be found; some may be in none."""
    rows = db.execute(
        "SELECT value, (SELECT max(first) FROM details WHERE first <= value) FROM json_each(?)",
        (msgspec.json.encode(list(entries)).decode(),),
    )
    packs: defaultdict[int, list[int]] = defaultdict(list)
    for entry, first in rows.fetchall():
        if first is not None:
            packs[first].append(entry)
    return packs


def _number(body: bytes) -> int:
    return int.from_bytes(body[:NUMBER_BYTES])


def _zipped(details: Sequence[bytes]) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(details), level=1)


def _numbered(first: int, zipped: bytes) -> bytes:
    return first.to_bytes(NUMBER_BYTES) + zipped
