"""The side of delivery: what is owed, and what became of it."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from sqlite3 import Connection
from typing import Any, assert_never

import msgspec

from forwarder.ledger.models import Attempt, Dead, DeadLetter, Postponed, Sent, Settlement
from forwarder.ledger.sqlite import metadata, payloads, stats
from forwarder.ledger.sqlite.codec import from_micros, to_micros
from forwarder.ledger.sqlite.connection import DEAD, PENDING, PURGED, SENT
from forwarder.ledger.sqlite.counters import add_to_counters
from forwarder.model import Entry, Feed

MAX_FIRST_ATTEMPTS, MAX_LAST_ATTEMPTS = 10, 10
"""Attempts that are kept of each entry: a bus that throttles for a day must not fill the disk with words about it."""

ACCEPTED = "Accepted"
"""The code of an attempt that the bus accepted, of an entry that was owed again afterwards."""

HISTORY_WITH_ACCEPTED = f"""CAST(json_insert(coalesce(CAST(history AS TEXT), '[]'), '$[#]',
                                        json_array(settled_at, '{ACCEPTED}')) AS BLOB)"""
"""The history of an entry that was sent and is owed again: its next attempts are not its first."""

_history = msgspec.json.Decoder(list[tuple[int, str]])


def settle(db: Connection, settlements: Sequence[Settlement], bus: str, now: datetime) -> int:
    dead = 0
    settlement_seq = metadata.next_settlement_seq(db)
    accepted = {settlement.token: settlement.event_id for settlement in settlements if isinstance(settlement, Sent)}
    sent = _mark_sent(db, accepted, now, settlement_seq, bus) if accepted else 0
    for settlement in settlements:
        match settlement:
            case Sent():
                pass
            case Dead(token, code, reason):
                dead += _mark_dead(db, token, code, reason, now, settlement_seq, bus)
            case Postponed(token, code, due_at, unclassified_attempt):
                db.execute(
                    """UPDATE entries SET due_at = ?, attempts = attempts + 1,
                              unclassified_attempts = unclassified_attempts + ?, history = ?
                       WHERE entry = ? AND state = 0""",
                    (to_micros(due_at), unclassified_attempt, _extended_history(db, token, code, now), token),
                )
            case _:
                assert_never(settlement)
    add_to_counters(db, pending=-sent - dead, sent=sent, dead=dead)
    stats.count_sent(db, [each.token for each in settlements if isinstance(each, Sent)], settlement_seq, now)
    return settlement_seq


def unverified_buses(db: Connection) -> list[str]:
    # The latest first, for an index tells them: what is in doubt was sent last, as a rule.
    unverified = (
        "SELECT 1 FROM entries WHERE state = 1 AND settlement_seq > ? AND bus = ? ORDER BY settled_at DESC LIMIT 1"
    )
    last = metadata.last_settlement_seq(db)
    return [
        bus
        for bus, verified_seq in metadata.verified_seq_by_bus(db).items()
        if verified_seq < last and db.execute(unverified, (verified_seq, bus)).fetchone()
    ]


def requeue(db: Connection, bus: str, now: datetime) -> int:
    verified_seq = metadata.bus_verified_seq(db, bus)
    if verified_seq is None:
        return 0
    changed = db.execute(
        f"""UPDATE entries SET state = 0, due_at = ?, settled_at = NULL, history = {HISTORY_WITH_ACCEPTED}
            WHERE state = 1 AND settlement_seq > ? AND bus = ?""",  # noqa: S608  # a text of ours
        (to_micros(now), verified_seq, bus),
    ).rowcount
    add_to_counters(db, sent=-changed, pending=changed)
    return changed


def dead_letters(db: Connection, execution_id: str | None = None) -> list[DeadLetter]:
    rows = db.execute(
        """SELECT entry, execution_id, workflow_id, user_id, time,
                  result, reason, recorded_at, settled_at, attempts, history
           FROM entries LEFT JOIN feeds USING (feed)
           WHERE state = 2 AND (? IS NULL OR execution_id = ?) ORDER BY settled_at, entry""",
        (execution_id, execution_id),
    ).fetchall()
    payloads_by_entry = payloads.load_payloads(db, [row[0] for row in rows])
    return [_decode_dead_letter(row, payloads_by_entry.get(row[0], b"null")) for row in rows]


def _decode_dead_letter(row: tuple[Any, ...], detail: bytes) -> DeadLetter:
    _, execution_id, workflow_id, user_id, time, code, reason, recorded_at, settled_at, attempts, history = row
    return DeadLetter(
        Entry(execution_id, Feed(workflow_id or "", user_id or None), from_micros(time), detail),
        code=code,
        reason=reason,
        recorded_at=from_micros(recorded_at),
        died_at=from_micros(settled_at),
        attempt_count=attempts,
        attempts=[Attempt(from_micros(at), code) for at, code in _decode_attempts(history)],
    )


def retry_dead_letters(db: Connection, execution_ids: Collection[str] | None, now: datetime) -> int:
    tokens = _dead_rows(db, execution_ids)
    db.executemany(
        "UPDATE entries SET state = 0, due_at = ?, unclassified_attempts = 0, settled_at = NULL WHERE entry = ?",
        [(to_micros(now), token) for token, _ in tokens],
    )
    add_to_counters(db, dead=-len(tokens), pending=len(tokens))
    return len(tokens)


def purge_dead_letters(db: Connection, execution_ids: Collection[str] | None) -> int:
    tokens = _dead_rows(db, execution_ids)
    delete_entries(db, tokens, PURGED)
    add_to_counters(db, dead=-len(tokens), purged=len(tokens))
    return len(tokens)


def delete_entries(db: Connection, entries: Sequence[tuple[int, int]], outcome: int) -> None:
    """Let go of details, and keep of each execution that it was, and how it ended. Pairs of entry and key."""
    db.executemany("DELETE FROM entries WHERE entry = ?", [(entry,) for entry, _ in entries])
    payloads.delete_payloads(db, [entry for entry, _ in entries])
    db.executemany(
        "UPDATE executions SET entry = NULL, outcome = ? WHERE key = ?",
        [(outcome, key) for _, key in entries],
    )


def _dead_rows(db: Connection, execution_ids: Collection[str] | None) -> list[tuple[int, int]]:
    if execution_ids is None:
        return db.execute("SELECT entry, key FROM entries WHERE state = 2").fetchall()
    rows = [
        db.execute("SELECT entry, key FROM entries WHERE state = 2 AND execution_id = ?", (execution_id,)).fetchone()
        for execution_id in dict.fromkeys(execution_ids)
    ]
    return [row for row in rows if row is not None]


def _mark_sent(db: Connection, accepted: Mapping[int, str], now: datetime, settlement_seq: int, bus: str) -> int:
    """How many of them were owed, and not settled before. One statement for all: most settlements are these."""
    changed = db.execute(
        """UPDATE entries SET state = ?, settled_at = ?, settlement_seq = ?, bus = ?, attempts = attempts + 1,
                              result = accepted.value, reason = NULL
           FROM json_each(?) AS accepted WHERE entry = CAST(accepted.key AS INTEGER) AND state = ?""",
        (SENT, to_micros(now), settlement_seq, bus, msgspec.json.encode(accepted).decode(), PENDING),
    )
    return changed.rowcount


def _mark_dead(db: Connection, token: int, code: str, reason: str, now: datetime, settlement_seq: int, bus: str) -> int:
    """1 where the entry was owed, 0 where it had been settled before."""
    changed = db.execute(
        """UPDATE entries SET state = ?, settled_at = ?, settlement_seq = ?, bus = ?, attempts = attempts + 1,
                              result = ?, reason = ?, history = coalesce(?, history)
           WHERE entry = ? AND state = ?""",
        (
            DEAD,
            to_micros(now),
            settlement_seq,
            bus,
            code,
            reason,
            _extended_history(db, token, code, now),
            token,
            PENDING,
        ),
    )
    return changed.rowcount


def _extended_history(db: Connection, token: int, code: str, now: datetime) -> bytes:
    row = db.execute("SELECT history FROM entries WHERE entry = ?", (token,)).fetchone()
    history = [*_decode_attempts(row[0] if row else None), (to_micros(now), code)]
    if len(history) > MAX_FIRST_ATTEMPTS + MAX_LAST_ATTEMPTS:
        history = history[:MAX_FIRST_ATTEMPTS] + history[-MAX_LAST_ATTEMPTS:]
    return msgspec.json.encode(history)


def _decode_attempts(value: bytes | None) -> list[tuple[int, str]]:
    """The attempts, or none where they cannot be read: what became of an entry is booked all the same."""
    try:
        return decode_history(value)
    except (msgspec.MsgspecError, TypeError, ValueError):
        return []


def decode_history(value: bytes | None) -> list[tuple[int, str]]:
    """The attempts as they are kept. Raises msgspec's errors."""
    return _history.decode(value) if value else []
