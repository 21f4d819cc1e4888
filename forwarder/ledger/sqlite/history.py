"""The stored attempts of an entry. Only the first and the last attempts are stored."""

from datetime import datetime
from sqlite3 import Connection

import msgspec

from forwarder.ledger.sqlite.codec import to_micros
from forwarder.model import Token

FIRST_ATTEMPTS, LAST_ATTEMPTS = 10, 10
"""The numbers of stored attempts of each entry. A bus that throttles for a day must not fill the disk."""

ACCEPTED = "Accepted"
"""The code of an accepted attempt, in the history of an entry that became pending again after it."""

WITH_ACCEPTED = f"""CAST(json_insert(coalesce(CAST(history AS TEXT), '[]'), '$[#]',
                                     json_array(settled_at, '{ACCEPTED}')) AS BLOB)"""
"""The SQL expression for the history of a sent entry that becomes pending again. It adds the accepted attempt."""

_decoder = msgspec.json.Decoder(list[tuple[int, str]])


def decode(value: bytes | None) -> list[tuple[int, str]]:
    """Return the attempts as pairs of a time in microseconds and a code. Raise MsgspecError if the value is damaged."""
    return _decoder.decode(value) if value else []


def readable(value: bytes | None) -> list[tuple[int, str]]:
    """Return the attempts, or an empty list if the value is damaged. Damage must not prevent the settlement."""
    try:
        return decode(value)
    except (msgspec.MsgspecError, TypeError, ValueError):
        return []


def extended(db: Connection, token: Token, code: str, now: datetime) -> bytes:
    """Return the encoded history of an entry with one more attempt."""
    row = db.execute("SELECT history FROM entries WHERE entry = ?", (token,)).fetchone()
    history = [*readable(row[0] if row else None), (to_micros(now), code)]
    if len(history) > FIRST_ATTEMPTS + LAST_ATTEMPTS:
        history = history[:FIRST_ATTEMPTS] + history[-LAST_ATTEMPTS:]
    return msgspec.json.encode(history)
