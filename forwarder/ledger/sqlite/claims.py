"""The claiming of pending entries that are due. A claim belongs to this process and is not stored."""

import asyncio
from collections.abc import Collection, Sequence
from datetime import datetime
from functools import partial
from sqlite3 import SQLITE_ERROR, Connection, OperationalError
from typing import Any

import msgspec

from forwarder.ledger.codec import from_micros, read_send_number, to_micros
from forwarder.ledger.models import MAX_POSTPONEMENT, UNDECODABLE, Dead
from forwarder.ledger.sqlite import payloads
from forwarder.ledger.sqlite.settlements import SettlementStore
from forwarder.model import ClaimedEntry, Entry, Feed, Token

MAX_CLAIM_BYTES = 32 * 1024 * 1024
"""The limit of the compressed details of one claim, and of the decompressed ones. The last entry may exceed it."""

_COLUMNS = "due_at, entry, execution_id, workflow_id, user_id, time, unclassified_attempts, attempts, send_number"

Row = Sequence[Any]
"""The values of _COLUMNS. A damaged row may hold values of any type."""


class ClaimStore(SettlementStore):
    """The operations by which delivery gets its entries."""

    async def claim(self, limit: int, *, now: datetime) -> list[ClaimedEntry]:
        rows = await self._writer.read(partial(_due, limit=limit, now=now, claimed=frozenset(self._claimed)))
        if not rows:
            return []
        entries, undecodable = await asyncio.to_thread(_decode, rows)
        if undecodable:
            # One row that cannot be read must not block all others for ever.
            reason = "the detail in the ledger cannot be read"
            await self.settle([Dead(token, UNDECODABLE, reason) for token in undecodable], now=now)
        self._claimed.update({each.token: (each.entry.time, each.replay) for each in entries})
        return entries

    async def next_due(self) -> datetime | None:
        claimed = _array(self._claimed)

        def load(db: Connection) -> datetime | None:
            row = db.execute(
                """SELECT due_at FROM entries WHERE state = 0 AND entry NOT IN (SELECT value FROM json_each(?))
                   ORDER BY due_at LIMIT 1""",
                (claimed,),
            ).fetchone()
            return None if row is None else from_micros(row[0])

        return await self._writer.read(load)

    async def oldest_pending(self) -> datetime | None:
        def load(db: Connection) -> datetime | None:
            # Entries are numbered in the order of recording. The index holds the numbers of all that are pending, while
            # min(recorded_at) would load each row: 0.1 s instead of 4.5 s for a million.
            row = db.execute(
                """SELECT recorded_at FROM entries
                   WHERE entry = (SELECT min(entry) FROM entries INDEXED BY entries_pending WHERE state = 0)"""
            ).fetchone()
            return None if row is None else from_micros(row[0])

        return await self._writer.read(load)

    async def oldest_own_pending(self) -> datetime | None:
        return await self.oldest_pending()


def _due(db: Connection, limit: int, now: datetime, claimed: Collection[Token]) -> list[tuple[Row, bytes | None]]:
    """Return the rows that are due and their compressed details, the earliest first, as many as may be loaded at once.

    An entry due later than any postponement allows was postponed before the clock was set back, and is due as well.
    """
    rows = _due_rows(db, (to_micros(now), to_micros(now + MAX_POSTPONEMENT), _array(claimed), limit))
    found: list[tuple[Row, bytes | None]] = []
    size = 0
    for row in rows:
        if size > MAX_CLAIM_BYTES:
            break
        body = payloads.body_of(db, row[1])
        size += len(body or b"")
        found.append((row, body))
    return found


def _due_rows(db: Connection, parameters: tuple[int, int, str, int]) -> Sequence[Row]:
    due = f"""SELECT {_COLUMNS} FROM entries LEFT JOIN feeds USING (feed)
              WHERE state = 0 AND (due_at <= ? OR due_at > ?) AND entry NOT IN (SELECT value FROM json_each(?))
              ORDER BY due_at, entry LIMIT ?"""  # noqa: S608  # a constant
    try:
        # One row: the interpreter lock has to be acquired again after each, beside a thread that computes.
        (array,) = db.execute(f"SELECT json_group_array(json_array({_COLUMNS})) FROM ({due})", parameters).fetchone()  # noqa: S608  # a constant
        return sorted(msgspec.json.decode(array))
    except OperationalError as error:
        # All other errors are the disk's, after which SQLite may have rolled back.
        if getattr(error, "sqlite_errorcode", SQLITE_ERROR) != SQLITE_ERROR:
            raise
    except (msgspec.DecodeError, TypeError):
        pass
    # A damaged row that JSON cannot represent must not block the others.
    return db.execute(due, parameters).fetchall()


def _decode(rows: Sequence[tuple[Row, bytes | None]]) -> tuple[list[ClaimedEntry], list[int]]:
    """Return as many entries as may be loaded at once, and the tokens of those that cannot be read."""
    claimed: list[ClaimedEntry] = []
    undecodable: list[int] = []
    size = 0
    for (_, token, execution_id, workflow_id, user_id, time, unclassified, attempts, send_number), body in rows:
        if size > MAX_CLAIM_BYTES:
            break
        detail, stop = payloads.decompress(token, body), _instant(time)
        if detail is None or stop is None:
            undecodable.append(token)
            continue
        size += len(detail)
        entry = Entry(execution_id, Feed(workflow_id, user_id or None), stop, detail)
        counts = {"attempts": _count(attempts), "unclassified_attempts": _count(unclassified)}
        claimed.append(ClaimedEntry(token, entry, **counts, send_number=read_send_number(send_number)))
    return claimed, undecodable


def _instant(micros_since_epoch: Any) -> datetime | None:
    try:
        return from_micros(micros_since_epoch)
    except (TypeError, ValueError, OverflowError):
        return None


def _count(value: Any) -> int:
    """Return the count, or 0 if the value is damaged. A damaged count does not prevent delivery."""
    return value if isinstance(value, int) else 0


def _array(tokens: Collection[Token]) -> str:
    return msgspec.json.encode(list(tokens)).decode()
