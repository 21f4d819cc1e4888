"""What the page tells of one event: its error, and the exact `detail` that was sent."""

import msgspec

from forwarder.event.trim import marked_as_replay
from forwarder.ledger import Held


class Told(msgspec.Struct, frozen=True, rename={"block_id": "blockId"}):
    message: str = ""
    code: str = ""
    block_id: str = ""


class _Detail(msgspec.Struct, frozen=True):
    error: Told = Told()


_details = msgspec.json.Decoder(_Detail)


def error_of(held: Held) -> Told:
    """Empty where the detail does not tell."""
    try:
        return _details.decode(held.entry.detail).error
    except msgspec.DecodeError:
        return Told()


def sent_detail(held: Held) -> bytes:
    """The JSON that the bus was given, or is to be given."""
    return marked_as_replay(held.entry.detail) if held.replay else held.entry.detail


def readable(detail: bytes) -> str:
    """The same values, a line each."""
    return msgspec.json.format(detail, indent=2).decode(errors="replace")
