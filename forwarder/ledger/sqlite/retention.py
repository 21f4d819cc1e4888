"""The retention of payloads and ids. Old ones are deleted, a few at a time."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from sqlite3 import Connection

import msgspec

from forwarder.ledger.codec import ceil_to_seconds, floor_to_hours, from_micros, to_micros
from forwarder.ledger.sqlite import counters, metadata, payloads, traffic
from forwarder.ledger.sqlite.lock import RunningLock
from forwarder.ledger.sqlite.migrations import PURGED, SENT
from forwarder.ledger.sqlite.store import SqliteStore

PAYLOADS_PER_STEP = 500
IDS_PER_STEP = 2000

BETWEEN_PASSES = timedelta(hours=6)
"""The time from the end of one pass over all ids to the start of the next."""

BEFORE_ALL_KEYS = -(2**63)


class RetentionStore(SqliteStore):
    """The operation that deletes old payloads and ids."""

    def __init__(self, file: Path, *, create: bool = False, lock: RunningLock | None = None) -> None:
        super().__init__(file, create=create, lock=lock)
        self._after_key: int | None = BEFORE_ALL_KEYS
        """The key at which the pass over the ids continues, or None between two passes."""
        self._passed_at: datetime | None = None

    async def apply_retention(self, *, now: datetime, id_retention: timedelta, payload_retention: timedelta) -> bool:
        delete = partial(_delete_payloads, now=now, payload_retention=payload_retention)
        has_more = await self._writer.write(delete)
        await self._writer.write(partial(traffic.delete_old, now=now))
        self._traffic.forget_old(now)
        if self._after_key is None and (self._passed_at is None or now - self._passed_at >= BETWEEN_PASSES):
            self._after_key = BEFORE_ALL_KEYS
        if self._after_key is not None:
            forget = partial(_forget, now=now, id_retention=id_retention, after_key=self._after_key)
            self._after_key, self._passed_at = await self._writer.write(forget), now
        return has_more or self._after_key is not None


def discard(db: Connection, entries: Sequence[tuple[int, int]], outcome: int) -> None:
    """Delete entries and their payloads. Store `outcome` with their ids. `entries` has pairs of entry and key."""
    db.executemany("DELETE FROM entries WHERE entry = ?", [(entry,) for entry, _ in entries])
    payloads.delete(db, [entry for entry, _ in entries])
    db.executemany(
        "UPDATE executions SET entry = NULL, outcome = ? WHERE key = ?",
        [(outcome, key) for _, key in entries],
    )


def _delete_payloads(db: Connection, now: datetime, payload_retention: timedelta) -> bool:
    """Delete payloads that were sent longer ago than `payload_retention`. Return whether there may be more.

    Payloads of unverified entries stay: they may have to be sent again.
    """
    old = db.execute(
        """SELECT entry, key FROM entries
           WHERE state = 1 AND settled_at < ? AND NOT coalesce(
               settlement_seq > (SELECT verified.value FROM json_each(?) AS verified WHERE verified.key = entries.bus),
               FALSE)
           ORDER BY settled_at LIMIT ?""",
        (
            to_micros(now - payload_retention),
            msgspec.json.encode(metadata.verified_seqs(db)).decode(),
            PAYLOADS_PER_STEP,
        ),
    ).fetchall()
    discard(db, old, SENT)
    return len(old) == PAYLOADS_PER_STEP


def _forget(db: Connection, now: datetime, id_retention: timedelta, after_key: int) -> int | None:
    """Forget ids after a key that were recorded, and whose execution stopped, longer ago than `id_retention`.

    The same commit raises the floor of every feed, and of feeds added later, to the latest forgotten stop: a copy of a
    workflow lists the same executions. Ids have no index by age, since years of them must stay small; a pass examines
    all of them. Return the key from which to continue, or None at the end of the pass.

    The machine's clock alone proves no age: if it is set years ahead for a minute, everything would be forgotten, and
    the floors would hide failures that are not listed yet. The newest watermark, a time of the API, limits it.
    """
    (newest,) = db.execute("SELECT max(watermark) FROM feeds").fetchone()
    if newest is not None:
        now = min(now, from_micros(newest))
    rows = db.execute(
        "SELECT key, entry, outcome, stopped, recorded FROM executions WHERE key > ? ORDER BY key LIMIT ?",
        (after_key, IDS_PER_STEP),
    ).fetchall()
    horizon = now - id_retention
    # The hour of recording is rounded down, so only an hour that was over at the horizon is old.
    old = [
        (key, outcome, stopped)
        for key, entry, outcome, stopped, recorded in rows
        if entry is None and stopped <= ceil_to_seconds(horizon) and recorded < floor_to_hours(horizon)
    ]
    if old:
        floor = max(stopped for _, _, stopped in old) * 1_000_000
        db.execute("UPDATE feeds SET floor = max(coalesce(floor, ?), ?)", (floor, floor))
        metadata.raise_forgotten_floor(db, from_micros(floor))
        db.executemany("DELETE FROM executions WHERE key = ?", [(key,) for key, _, _ in old])
        purged = sum(outcome == PURGED for _, outcome, _ in old)
        counters.add(db, forgotten=len(old), purged=-purged, sent=purged - len(old))
    return rows[-1][0] if len(rows) == IDS_PER_STEP else None
