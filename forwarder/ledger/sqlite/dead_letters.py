"""Dead letters: listing, retry and purge."""

from collections.abc import Collection
from datetime import datetime
from functools import partial
from sqlite3 import Connection
from typing import Any

from forwarder.ledger.attempts import readable
from forwarder.ledger.codec import from_micros, text_parameter, to_micros
from forwarder.ledger.models import Attempt, DeadLetter
from forwarder.ledger.sqlite import counters, payloads
from forwarder.ledger.sqlite.migrations import PURGED
from forwarder.ledger.sqlite.retention import discard
from forwarder.ledger.sqlite.store import SqliteStore
from forwarder.model import Entry, Feed


class DeadLetterStore(SqliteStore):
    """The operations on dead letters."""

    async def dead_letters(self) -> list[DeadLetter]:
        return await self._writer.read(_load)

    async def dead_letter(self, execution_id: str) -> DeadLetter | None:
        found = await self._writer.read(partial(_load, execution_id=execution_id))
        return found[0] if found else None

    async def retry_dead_letters(self, execution_ids: Collection[str] | None, *, now: datetime) -> int:
        def update(db: Connection) -> int:
            dead = _dead(db, execution_ids)
            db.executemany(
                """UPDATE entries SET state = 0, due_at = ?, unclassified_attempts = 0, settled_at = NULL
                   WHERE entry = ?""",
                [(to_micros(now), entry) for entry, _ in dead],
            )
            counters.add(db, dead=-len(dead), pending=len(dead))
            return len(dead)

        return await self._writer.write(update)

    async def purge_dead_letters(self, execution_ids: Collection[str] | None) -> int:
        def delete(db: Connection) -> int:
            dead = _dead(db, execution_ids)
            discard(db, dead, PURGED)
            counters.add(db, dead=-len(dead), purged=len(dead))
            return len(dead)

        return await self._writer.write(delete)


def _dead(db: Connection, execution_ids: Collection[str] | None) -> list[tuple[int, int]]:
    """Return the entry and the key of each dead letter with one of these ids, or of all dead letters if None."""
    if execution_ids is None:
        return db.execute("SELECT entry, key FROM entries WHERE state = 2").fetchall()
    found = [
        db.execute("SELECT entry, key FROM entries WHERE state = 2 AND execution_id = ?", (parameter,)).fetchone()
        for parameter in map(text_parameter, dict.fromkeys(execution_ids))
    ]
    return [row for row in found if row is not None]


def _load(db: Connection, execution_id: str | None = None) -> list[DeadLetter]:
    """Return all dead letters, the oldest first, or only the dead letter with this id."""
    parameter = None if execution_id is None else text_parameter(execution_id)
    rows = db.execute(
        """SELECT entry, execution_id, workflow_id, user_id, time,
                  result, reason, recorded_at, settled_at, attempts, history
           FROM entries LEFT JOIN feeds USING (feed)
           WHERE state = 2 AND (? IS NULL OR execution_id = ?) ORDER BY settled_at, entry""",
        (parameter, parameter),
    ).fetchall()
    details = payloads.details_of(db, [row[0] for row in rows])
    return [_dead_letter(row, details.get(row[0], b"null")) for row in rows]


def _dead_letter(row: tuple[Any, ...], detail: bytes) -> DeadLetter:
    _, execution_id, workflow_id, user_id, time, code, reason, recorded_at, settled_at, attempts, history = row
    return DeadLetter(
        Entry(execution_id, Feed(workflow_id or "", user_id or None), from_micros(time), detail),
        code=code,
        reason=reason,
        recorded_at=from_micros(recorded_at),
        died_at=from_micros(settled_at),
        attempt_count=attempts,
        attempts=[Attempt(from_micros(at), code) for at, code in readable(history)],
    )
