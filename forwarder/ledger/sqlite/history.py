"""The stored attempts of an entry. Only the first and the last ones are kept."""

from datetime import datetime
from sqlite3 import Connection

import msgspec

from forwarder.ledger.sqlite.codec import to_micros
from forwarder.model import Token

FIRST_ATTEMPTS, LAST_ATTEMPTS = 10, 10
"""Attempts that are stored of each entry: a bus that throttles for a day must not fill the disk with them."""

ACCEPTED = "Accepted"
"""The code of an attempt that the bus accepted, of an entry that became pending again afterwards."""

WITH_ACCEPTED = f"""CAST(json_insert(coalesce(CAST(history AS TEXT), '[]'), '$[#]',
                                     json_array(settled_at, '{ACCEPTED}')) AS BLOB)"""
"""In SQL, the history of a sent entry that becomes pending again: its next attempt is not its first."""

_decoder = msgspec.json.Decoder(list[tuple[int, str]])


def decode(value: bytes | None) -> list[tuple[int, str]]:
    """Return the attempts: times in microseconds and codes. Raise an error of msgspec if they are damaged."""
    return _decoder.decode(value) if value else []


def readable(value: bytes | None) -> list[tuple[int, str]]:
    """Return the attempts, or nothing if they are damaged: the entry is settled all the same."""
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
