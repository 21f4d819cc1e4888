"""The error in the detail of an event, as it is listed."""

import msgspec

from forwarder.untrusted_json import decode_or_none


class ListedError(msgspec.Struct, frozen=True, rename={"block_id": "blockId"}):
    """The error in the detail of an event."""

    message: str = ""
    code: str = ""
    block_id: str = ""


class _Detail(msgspec.Struct, frozen=True):
    error: ListedError = ListedError()


_details = msgspec.json.Decoder(_Detail)


def listed_error(detail: bytes) -> ListedError:
    """Return the error of a detail. Its fields are empty if the detail has none."""
    return (decode_or_none(detail, _details) or _Detail()).error
