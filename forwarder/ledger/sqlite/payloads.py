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

MAX_PACK_BYTES = 64 * 1024
"""Bytes of details that are packed together: what one page of a damaged disk may take along with it."""

PACK = "(SELECT max(first) FROM payloads WHERE first <= entries.entry)"
"""In SQL, the number under which an entry's detail is to be found."""

NUMBER_BYTES = 8
"""That a pack begins with. Its first is 0 for as long as anybody counts, and one of zlib never is."""

_lists = msgspec.msgpack.Decoder(list[bytes])

EncodedPack = tuple[int, bytes]
"""How many details, and they themselves, ready to be kept."""


def pack(details: Iterable[bytes]) -> list[EncodedPack]:
    packs: list[EncodedPack] = []
    group: list[bytes] = []
    size = 0
    for detail in details:
        if group and size + len(detail) > MAX_PACK_BYTES:
            packs.append((len(group), _compress(group)))
            group, size = [], 0
        group.append(detail)
        size += len(detail)
    if group:
        packs.append((len(group), _compress(group)))
    return packs


def unpack(first: int | None, body: bytes | None) -> Sequence[bytes]:
    """What a pack lists: nothing where there is none, or none that can be read."""
    if first is None or not body:
        return []
    try:
        if _number(body) == first:
            return _lists.decode(zlib.decompress(memoryview(body)[NUMBER_BYTES:]))
        return [single] if body[0] != 0 and (single := zlib.decompress(body)).startswith(b"{") else []
    except (zlib.error, TypeError, msgspec.DecodeError):
        return []


def payload_at(pack: Sequence[bytes], position: int) -> bytes | None:
    """The detail at a place of a pack, or None where there is none."""
    return (pack[position] or None) if 0 <= position < len(pack) else None


def insert_packs(db: Connection, first: int, packs: Iterable[EncodedPack]) -> None:
    """Of entries that follow each other, from `first` on."""
    for count, compressed in packs:
        db.execute("INSERT INTO payloads VALUES (?, ?)", (first, _with_number(first, compressed)))
        first += count


def load_payloads(db: Connection, entries: Collection[int]) -> dict[int, bytes]:
    """Those that can be read."""
    payloads: dict[int, bytes] = {}
    for first, group in _group_by_pack(db, entries).items():
        pack = unpack(first, load_body(db, first))
        for entry in group:
            if detail := payload_at(pack, entry - first):
                payloads[entry] = detail
    return payloads


def delete_payloads(db: Connection, entries: Collection[int]) -> None:
    """Let go of the details of entries that are there no more, and of no other that is packed with them."""
    for first in _group_by_pack(db, entries):
        _delete_orphans_of_pack(db, first)


def delete_orphans(db: Connection) -> None:
    """Let go of every detail whose entry is there no more."""
    for (first,) in db.execute("SELECT first FROM payloads").fetchall():
        _delete_orphans_of_pack(db, first)


def restore_numbers(db: Connection) -> None:
    """Put every pack back under its own number, or let go of it where another stands there."""
    numbers = [first for (first,) in db.execute("SELECT first FROM payloads")]
    for first in numbers:
        body = load_body(db, first)
        if not body or body[0] != 0 or (number := _number(body)) == first:
            continue
        if not db.execute("UPDATE OR IGNORE payloads SET first = ? WHERE first = ?", (number, first)).rowcount:
            db.execute("DELETE FROM payloads WHERE first = ?", (first,))


def unreadable_entries(db: Connection) -> list[int]:
    """Entries whose detail is not there, or cannot be read."""
    entries = [entry for (entry,) in db.execute("SELECT entry FROM entries")]
    readable: set[int] = set()
    for first, group in _group_by_pack(db, entries).items():
        pack = unpack(first, load_body(db, first))
        readable.update(entry for entry in group if payload_at(pack, entry - first))
    return [entry for entry in entries if entry not in readable]


def load_body(db: Connection, first: int | None) -> bytes | None:
    # As bytes, whatever a damaged row says that it is.
    row = db.execute("SELECT CAST(body AS BLOB) FROM payloads WHERE first = ?", (first,)).fetchone()
    return None if row is None else row[0]


def next_first(db: Connection, first: int) -> int:
    """The number at which the next pack begins, or one above all."""
    row = db.execute("SELECT min(first) FROM payloads WHERE first > ?", (first,)).fetchone()
    return 2**63 - 1 if row[0] is None else int(row[0])


def _delete_orphans_of_pack(db: Connection, first: int) -> None:
    pack = unpack(first, load_body(db, first))
    rows = db.execute("SELECT entry - ? FROM entries WHERE entry >= ? AND entry < ?", (first, first, first + len(pack)))
    kept_positions = {position for (position,) in rows}
    remaining = [detail if position in kept_positions else b"" for position, detail in enumerate(pack)]
    if not any(remaining):
        db.execute("DELETE FROM payloads WHERE first = ?", (first,))
    elif remaining != pack:
        db.execute("UPDATE payloads SET body = ? WHERE first = ?", (_with_number(first, _compress(remaining)), first))


def _group_by_pack(db: Connection, entries: Collection[int]) -> dict[int, list[int]]:
    """Entries by the pack in which their details are to be found; some may be in none."""
    rows = db.execute(
        "SELECT value, (SELECT max(first) FROM payloads WHERE first <= value) FROM json_each(?)",
        (msgspec.json.encode(list(entries)).decode(),),
    )
    packs: defaultdict[int, list[int]] = defaultdict(list)
    for entry, first in rows.fetchall():
        if first is not None:
            packs[first].append(entry)
    return packs


def _number(body: bytes) -> int:
    return int.from_bytes(body[:NUMBER_BYTES])


def _compress(details: Sequence[bytes]) -> bytes:
    return zlib.compress(msgspec.msgpack.encode(details), level=1)


def _with_number(first: int, compressed: bytes) -> bytes:
    return first.to_bytes(NUMBER_BYTES) + compressed
