"""Telling of single entries, for whoever looks: what came last, what died, and one of them whole."""

from collections.abc import Sequence
from sqlite3 import Connection
from typing import Any, Final, Literal

from forwarder.ledger.codec import instant, optional_instant
from forwarder.ledger.details import details_of
from forwarder.ledger.nouns import Held
from forwarder.ledger.recording import look_up
from forwarder.ledger.schema import DEAD, OWED, SENT
from forwarder.model import Entry, Feed

_STATES: Final[dict[int, Literal["owed", "sent", "dead"]]] = {OWED: "owed", SENT: "sent", DEAD: "dead"}

_HELD = """
    SELECT entry, execution_id, workflow_id, user_id, time, state, recorded_at, settled_at, attempts, answer, reason,
           replay
    FROM entries LEFT JOIN feeds USING (feed)
"""


def latest(db: Connection, limit: int, *, dead: bool) -> list[Held]:
    order = "settled_at DESC, entry DESC" if dead else "entry DESC"
    # Found before they are looked into, for of many dead letters only a few are shown.
    found = f"SELECT entry FROM entries {'WHERE state = 2' if dead else ''} ORDER BY {order} LIMIT ?"  # noqa: S608  # texts of ours
    return _all_held(db, db.execute(f"{_HELD} WHERE entry IN ({found}) ORDER BY {order}", (limit,)).fetchall())


def held(db: Connection, execution_id: str) -> Held | None:
    key, is_known = look_up(db, execution_id)
    if not is_known:
        return None
    of_key = f"{_HELD} WHERE entry = (SELECT entry FROM executions WHERE key = ?)"  # noqa: S608  # a text of ours
    shown = _all_held(db, db.execute(of_key, (key,)).fetchall())
    return shown[0] if shown else None


def _all_held(db: Connection, rows: Sequence[tuple[Any, ...]]) -> list[Held]:
    details = details_of(db, [row[0] for row in rows])
    # Where there is none `take` finds this out, too, and makes it a dead letter.
    return [_held(row, details.get(row[0], b"null")) for row in rows]


def _held(row: tuple[Any, ...], detail: bytes) -> Held:
    """An entry that is owed has an answer only where it was sent before, and is owed once more: it counts no more."""
    _, execution_id, workflow_id, user_id, time, state, recorded_at, settled_at, attempts, *ended, replay = row
    answer, reason = ended if state != OWED else ("", "")
    return Held(
        Entry(execution_id, Feed(workflow_id or "", user_id or None), instant(time), detail),
        _STATES[state],
        recorded_at=instant(recorded_at),
        settled_at=optional_instant(settled_at),
        attempts=attempts,
        answer=answer or "",
        reason=reason or "",
        replay=bool(replay),
    )
