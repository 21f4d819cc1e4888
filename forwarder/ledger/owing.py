"""The side of delivery: what is owed, and what became of it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from sqlite3 import Connection
from typing import Any, assert_never

import msgspec

from forwarder.ledger import details, minutes, notes
from forwarder.ledger.books import count
from forwarder.ledger.codec import instant, micros
from forwarder.ledger.nouns import Attempt, Dead, DeadLetter, Postponed, Sent, Settlement
from forwarder.ledger.schema import DEAD, OWED, PURGED, SENT
from forwarder.model import Entry, Feed

FIRST_ATTEMPTS, LAST_ATTEMPTS = 10, 10
"""Attempts that are kept of each entry: a bus that throttles for a day must not fill the disk with words about it."""

ACCEPTED = "Accepted"
"""The code of an attempt that the bus accepted, of an entry that was owed again afterwards."""

WITH_THE_ACCEPTED = f"""CAST(json_insert(coalesce(CAST(history AS TEXT), '[]'), '$[#]',
                                        json_array(settled_at, '{ACCEPTED}')) AS BLOB)"""
"""The history of an entry that was sent and is owed again: its next attempts are not its first."""

_history = msgspec.json.Decoder(list[tuple[int, str]])


def settle(db: Connection, settlements: Sequence[Settlement], bus: str, now: datetime) -> int:
    dead = 0
    number = notes.next_settle(db)
    accepted = {settlement.token: settlement.event_id for settlement in settlements if isinstance(settlement, Sent)}
    sent = _send(db, accepted, now, number, bus) if accepted else 0
    for settlement in settlements:
        match settlement:
            case Sent():
                pass
            case Dead(token, code, reason):
                dead += _die(db, token, code, reason, now, number, bus)
            case Postponed(token, code, due_at, strike):
                db.execute(
                    """UPDATE entries SET due_at = ?, attempts = attempts + 1, strikes = strikes + ?, history = ?
                       WHERE entry = ? AND state = 0""",
                    (micros(due_at), strike, _longer(db, token, code, now), token),
                )
            case _:
                assert_never(settlement)
    count(db, owed=-sent - dead, sent=sent, dead=dead)
    minutes.count_sent(db, [each.token for each in settlements if isinstance(each, Sent)], number, now)
    return number


def buses_in_doubt(db: Connection) -> list[str]:
    # The latest first, for an index tells them: what is in doubt was sent last, as a rule.
    in_doubt = "SELECT 1 FROM entries WHERE state = 1 AND settle > ? AND bus = ? ORDER BY settled_at DESC LIMIT 1"
    last = notes.last_settle(db)
    return [
        bus
        for bus, seen in notes.buses_seen(db).items()
        if seen < last and db.execute(in_doubt, (seen, bus)).fetchone()
    ]


def owe_again(db: Connection, bus: str, now: datetime) -> int:
    seen = notes.bus_seen(db, bus)
    if seen is None:
        return 0
    changed = db.execute(
        f"""UPDATE entries SET state = 0, due_at = ?, settled_at = NULL, history = {WITH_THE_ACCEPTED}
            WHERE state = 1 AND settle > ? AND bus = ?""",  # noqa: S608  # a text of ours
        (micros(now), seen, bus),
    ).rowcount
    count(db, sent=-changed, owed=changed)
    return changed


def dead_letters(db: Connection, execution_id: str | None = None) -> list[DeadLetter]:
    rows = db.execute(
        """SELECT entry, execution_id, workflow_id, user_id, time,
                  answer, reason, recorded_at, settled_at, attempts, history
           FROM entries LEFT JOIN feeds USING (feed)
           WHERE state = 2 AND (? IS NULL OR execution_id = ?) ORDER BY settled_at, entry""",
        (execution_id, execution_id),
    ).fetchall()
    held = details.details_of(db, [row[0] for row in rows])
    return [_letter(row, held.get(row[0], b"null")) for row in rows]


def _letter(row: tuple[Any, ...], detail: bytes) -> DeadLetter:
    _, execution_id, workflow_id, user_id, time, code, reason, recorded_at, settled_at, attempts, history = row
    return DeadLetter(
        Entry(execution_id, Feed(workflow_id or "", user_id or None), instant(time), detail),
        code=code,
        reason=reason,
        recorded_at=instant(recorded_at),
        died_at=instant(settled_at),
        attempted=attempts,
        attempts=[Attempt(instant(at), code) for at, code in _kept(history)],
    )


def retry_dead(db: Connection, execution_ids: Collection[str] | None, now: datetime) -> int:
    tokens = _dead(db, execution_ids)
    db.executemany(
        "UPDATE entries SET state = 0, due_at = ?, strikes = 0, settled_at = NULL WHERE entry = ?",
        [(micros(now), token) for token, _ in tokens],
    )
    count(db, dead=-len(tokens), owed=len(tokens))
    return len(tokens)


def purge_dead(db: Connection, execution_ids: Collection[str] | None) -> int:
    tokens = _dead(db, execution_ids)
    drop(db, tokens, PURGED)
    count(db, dead=-len(tokens), purged=len(tokens))
    return len(tokens)


def drop(db: Connection, entries: Sequence[tuple[int, int]], outcome: int) -> None:
    """Let go of details, and keep of each execution that it was, and how it ended. Pairs of entry and key."""
    db.executemany("DELETE FROM entries WHERE entry = ?", [(entry,) for entry, _ in entries])
    details.drop(db, [entry for entry, _ in entries])
    db.executemany(
        "UPDATE executions SET entry = NULL, outcome = ? WHERE key = ?",
        [(outcome, key) for _, key in entries],
    )


def _dead(db: Connection, execution_ids: Collection[str] | None) -> list[tuple[int, int]]:
    if execution_ids is None:
        return db.execute("SELECT entry, key FROM entries WHERE state = 2").fetchall()
    found = [
        db.execute("SELECT entry, key FROM entries WHERE state = 2 AND execution_id = ?", (execution_id,)).fetchone()
        for execution_id in dict.fromkeys(execution_ids)
    ]
    return [row for row in found if row is not None]


def _send(db: Connection, accepted: Mapping[int, str], now: datetime, settle: int, bus: str) -> int:
    """How many of them were owed, and not settled before. One statement for all: most settlements are these."""
    changed = db.execute(
        """UPDATE entries SET state = ?, settled_at = ?, settle = ?, bus = ?, attempts = attempts + 1,
                              answer = accepted.value, reason = NULL
           FROM json_each(?) AS accepted WHERE entry = CAST(accepted.key AS INTEGER) AND state = ?""",
        (SENT, micros(now), settle, bus, msgspec.json.encode(accepted).decode(), OWED),
    )
    return changed.rowcount


def _die(db: Connection, token: int, code: str, reason: str, now: datetime, settle: int, bus: str) -> int:
    """1 where the entry was owed, 0 where it had been settled before."""
    changed = db.execute(
        """UPDATE entries SET state = ?, settled_at = ?, settle = ?, bus = ?, attempts = attempts + 1,
                              answer = ?, reason = ?, history = coalesce(?, history)
           WHERE entry = ? AND state = ?""",
        (DEAD, micros(now), settle, bus, code, reason, _longer(db, token, code, now), token, OWED),
    )
    return changed.rowcount


def _longer(db: Connection, token: int, code: str, now: datetime) -> bytes:
    row = db.execute("SELECT history FROM entries WHERE entry = ?", (token,)).fetchone()
    history = [*_kept(row[0] if row else None), (micros(now), code)]
    if len(history) > FIRST_ATTEMPTS + LAST_ATTEMPTS:
        history = history[:FIRST_ATTEMPTS] + history[-LAST_ATTEMPTS:]
    return msgspec.json.encode(history)


def _kept(value: bytes | None) -> list[tuple[int, str]]:
    """The attempts, or none where they cannot be read: what became of an entry is booked all the same."""
    try:
        return history_of(value)
    except (msgspec.MsgspecError, TypeError, ValueError):
        return []


def history_of(value: bytes | None) -> list[tuple[int, str]]:
    """The attempts as they are kept. Raises msgspec's errors."""
    return _history.decode(value) if value else []
