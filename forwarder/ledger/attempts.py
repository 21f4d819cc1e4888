"""The attempts of an entry that every store keeps: only the first and the last, with all others counted."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from forwarder.ledger.codec import to_micros

FIRST_ATTEMPTS, LAST_ATTEMPTS = 10, 10
"""The numbers of stored attempts of each entry. A bus that throttles for a day must not fill the disk."""

ACCEPTED = "Accepted"
"""The code of an accepted attempt, in the history of an entry that became pending again after it."""

Attempts = Sequence[tuple[int, str]]
"""Attempts as pairs of a time in microseconds and a code, oldest first."""

_decoder = msgspec.json.Decoder(list[tuple[int, str]])


def decode(value: bytes | None) -> list[tuple[int, str]]:
    """Return the attempts. Raise MsgspecError if the value is damaged."""
    return _decoder.decode(value) if value else []


def readable(value: bytes | None) -> list[tuple[int, str]]:
    """Return the attempts, or an empty list if the value is damaged. Damage must not prevent the settlement."""
    try:
        return decode(value)
    except (msgspec.MsgspecError, TypeError, ValueError):
        return []


def encode(attempts: Attempts) -> bytes:
    return msgspec.json.encode(attempts)


def extended(attempts: Attempts, code: str, now: datetime) -> list[tuple[int, str]]:
    """Return the attempts with one more. If there are too many, those in the middle are dropped."""
    history = [*attempts, (to_micros(now), code)]
    if len(history) > FIRST_ATTEMPTS + LAST_ATTEMPTS:
        history = history[:FIRST_ATTEMPTS] + history[-LAST_ATTEMPTS:]
    return history
