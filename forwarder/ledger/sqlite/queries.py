"""Telling of single entries, for whoever looks: what came last, what died, and one of them whole."""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any, Final, Literal

from forwarder.ledger.models import StoredEntry
from forwarder.ledger.sqlite.codec import from_micros, from_optional_micros
from forwarder.ledger.sqlite.connection import DEAD, PENDING, SENT
from forwarder.ledger.sqlite.entries import find_slot
from forwarder.ledger.sqlite.payloads import load_payloads
from forwarder.model import Entry, Feed

_STATES: Final[dict[int, Literal["pending", "sent", "dead"]]] = {PENDING: "pending", SENT: "sent", DEAD: "dead"}

_STORED_ENTRY = """
    SELECT entry, execution_id, workflow_id, user_id, time, state, recorded_at, settled_at, attempts, result, reason,
           replay
    FROM entries LEFT JOIN feeds USING (feed)
"""


def latest_entries(db: Connection, limit: int, *, dead: bool) -> list[StoredEntry]:
    order = "settled_at DESC, entry DESC" if dead else "entry DESC"
    # Found before they are looked into, for of many dead letters only a few are shown.
    found = f"SELECT entry FROM entries {'WHERE state = 2' if dead else ''} ORDER BY {order} LIMIT ?"  # noqa: S608  # texts of ours
    return _load_entries(
        db, db.execute(f"{_STORED_ENTRY} WHERE entry IN ({found}) ORDER BY {order}", (limit,)).fetchall()
    )


def stored_entry(db: Connection, execution_id: str) -> StoredEntry | None:
    key, is_known = find_slot(db, execution_id)
    if not is_known:
        return None
    query = f"{_STORED_ENTRY} WHERE entry = (SELECT entry FROM executions WHERE key = ?)"  # noqa: S608  # a text of ours
    entries = _load_entries(db, db.execute(query, (key,)).fetchall())
    return entries[0] if entries else None


def _load_entries(db: Connection, rows: Sequence[tuple[Any, ...]]) -> list[StoredEntry]:
    payloads_by_entry = load_payloads(db, [row[0] for row in rows])
    # Where there is none `claim` finds this out, too, and makes it a dead letter.
    return [_decode_entry(row, payloads_by_entry.get(row[0], b"null")) for row in rows]


def _decode_entry(row: tuple[Any, ...], detail: bytes) -> StoredEntry:
    """An entry that is owed has an answer only where it was sent before, and is owed once more: it counts no more."""
    _, execution_id, workflow_id, user_id, time, state, recorded_at, settled_at, attempts, *outcome, replay = row
    result, reason = outcome if state != PENDING else ("", "")
    return StoredEntry(
        Entry(execution_id, Feed(workflow_id or "", user_id or None), from_micros(time), detail),
        _STATES[state],
        recorded_at=from_micros(recorded_at),
        settled_at=from_optional_micros(settled_at),
        attempts=attempts,
        result=result or "",
        reason=reason or "",
        replay=bool(replay),
    )
