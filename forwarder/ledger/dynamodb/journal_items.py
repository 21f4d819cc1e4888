"""The items of journals: their entries, keys and bodies."""

import zlib
from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec

from forwarder.ledger.compression import decompress
from forwarder.ledger.dynamodb.schema import journal, number_text
from forwarder.ledger.dynamodb.table import Key

MAX_BODY_BYTES = 300_000
"""The size of an item's body. DynamoDB's limit is 400 KB, with the names and keys:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html.
"""

MAX_PACK_BYTES = 600_000
"""The size of the entries of one item before their compression."""

ENTRY_BYTES = 300
"""The size of an entry without its detail, about."""

EXTRA_LIFE = timedelta(days=8)
"""The time for which an item outlives the retention of payloads, because a member may be away for a while."""


class JournalEntry(msgspec.Struct, frozen=True, array_like=True):
    """An intended transition of an execution.

    `owners` are the places that may own it while it is pending: all earlier owners of this transition. `base` is the
    place that owned it before, if it was settled. `payload` is the place that holds the detail, or empty if it is
    here. `stored_at` is the time at which the detail was stored, in microseconds. `seq` is the number of the settlement
    with which an event counts as sent that another process has sent before it was taken over.
    """

    kind: str
    digest: str
    execution_id: str
    workflow_id: str
    user_id: str
    time: int
    recorded_at: int
    send_number: int = 1
    owners: tuple[str, ...] = ()
    base: str = ""
    payload: str = ""
    detail: bytes = b""
    stored_at: int = 0
    seq: int = 0


_decoder = msgspec.msgpack.Decoder(list[JournalEntry])


def part_key(member: str, number: int, nonce: str, index: int) -> Key:
    return Key(journal(member), f"{number_text(number)}/{nonce}/{index}")


def expiry(now: datetime, retention: timedelta) -> int:
    """Return when a journal item may be deleted, in seconds since 1970."""
    return int((now + retention + EXTRA_LIFE).timestamp())


def unpack(body: bytes) -> list[JournalEntry]:
    """Return the entries of a body. A damaged body has none: what it recorded is then undecodable."""
    pack = decompress(body) if body else None
    try:
        return _decoder.decode(pack) if pack else []
    except (msgspec.MsgspecError, zlib.error):
        return []


def chunks(entries: Sequence[JournalEntry]) -> list[list[JournalEntry]]:
    """Return entries in groups that fit into one item if they compress to half their size. A large one is alone."""
    groups: list[list[JournalEntry]] = []
    size = 0
    for entry in entries:
        if not groups or size + len(entry.detail) + ENTRY_BYTES > MAX_PACK_BYTES:
            groups.append([])
            size = 0
        groups[-1].append(entry)
        size += len(entry.detail) + ENTRY_BYTES
    return groups
