"""The attempts of an entry in the tables."""

from datetime import datetime
from sqlite3 import Connection

from forwarder.ledger import attempts
from forwarder.ledger.attempts import ACCEPTED
from forwarder.model import Token

WITH_ACCEPTED = f"""CAST(json_insert(coalesce(CAST(history AS TEXT), '[]'), '$[#]',
                                     json_array(settled_at, '{ACCEPTED}')) AS BLOB)"""
"""The SQL expression for the history of a sent entry that becomes pending again. It adds the accepted attempt."""


def extended(db: Connection, token: Token, code: str, now: datetime) -> bytes:
    """Return the encoded history of an entry with one more attempt."""
    row = db.execute("SELECT history FROM entries WHERE entry = ?", (token,)).fetchone()
    return attempts.encode(attempts.extended(attempts.readable(row[0] if row else None), code, now))
