"""The key by which consumers recognize a delivery that they have processed, and the detail of each deliberate send."""

from hashlib import sha256

import msgspec

KEY_CHARACTERS = 32
"""The length of a key: 128 of the 256 bits of the digest, in hexadecimal digits."""


def idempotency_key(execution_id: str, send_number: int) -> str:
    """Return the key of a deliberate send: the start of the SHA-256 of `ID#NUMBER` in UTF-8.

    The first send has the number 1, and each replay the next one. docs/events.md documents the formula for consumers.
    """
    return sha256(f"{execution_id}#{send_number}".encode(errors="surrogatepass")).hexdigest()[:KEY_CHARACTERS]


def published_detail(encoded: bytes, send_number: int) -> bytes:
    """Return the detail of a deliberate send. The stored detail is the one of the first send.

    A replay is marked, and has a key of its own.
    """
    if send_number == 1:
        return encoded
    detail = msgspec.json.decode(encoded)
    key = idempotency_key(detail["executionId"], send_number)
    detail["forwarder"] |= {"idempotencyKey": key, "replay": True}
    return msgspec.json.encode(detail)


def displayed_detail(encoded: bytes, send_number: int) -> bytes:
    """Return the published detail, or the stored one if it is damaged. Damage must not prevent the display."""
    try:
        return published_detail(encoded, send_number)
    except (msgspec.MsgspecError, TypeError, KeyError):
        return encoded
