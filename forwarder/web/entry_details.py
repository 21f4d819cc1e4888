"""The error of an event, and the exact `detail` that is published."""

import msgspec

from forwarder.event.truncate import mark_replay
from forwarder.ledger import StoredEntry
from forwarder.untrusted_json import decode_or_none


class ErrorFields(msgspec.Struct, frozen=True, rename={"block_id": "blockId"}):
    message: str = ""
    code: str = ""
    block_id: str = ""


class _Detail(msgspec.Struct, frozen=True):
    error: ErrorFields = ErrorFields()


_details = msgspec.json.Decoder(_Detail)


def parse_error(stored: StoredEntry) -> ErrorFields:
    """Return the error of an entry; its fields are empty if the detail has none."""
    return (decode_or_none(stored.entry.detail, _details) or _Detail()).error


def published_detail(stored: StoredEntry) -> bytes:
    """Return the JSON that was, or will be, published."""
    return mark_replay(stored.entry.detail) if stored.replay else stored.entry.detail


def format_detail(detail: bytes) -> str:
    """Return the JSON with one value on a line."""
    return msgspec.json.format(detail, indent=2).decode(errors="replace")
