"""The settling of claimed entries: sent, postponed or dead."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from threading import Lock
from typing import assert_never

import msgspec

from forwarder.errors import LedgerError
from forwarder.ledger.codec import to_micros
from forwarder.ledger.models import Dead, Postponed, Sent, Settlement
from forwarder.ledger.sqlite import counters, metadata
from forwarder.ledger.sqlite.history import extended
from forwarder.ledger.sqlite.lock import RunningLock
from forwarder.ledger.sqlite.migrations import DEAD, PENDING, SENT
from forwarder.ledger.sqlite.store import SqliteStore
from forwarder.model import Token


@dataclass(slots=True)
class _Batch:
    """A batch of settlements of one bus, for one commit. It is open until the ledger's thread starts on it."""

    bus: str
    now: datetime
    settlements: list[Settlement] = field(default_factory=list)
    callers: int = 0
    commit: asyncio.Task[int] | None = None


class SettlementStore(SqliteStore):
    """The operation that settles. Settlements that wait at the same time are committed as one batch."""

    def __init__(self, file: Path, *, create: bool = False, lock: RunningLock | None = None) -> None:
        super().__init__(file, create=create, lock=lock)
        self._open: dict[str, _Batch] = {}
        self._open_lock = Lock()  # the ledger's thread closes a batch, the event loop adds to it

    async def settle(self, settlements: Sequence[Settlement], *, now: datetime, bus: str = "") -> int:
        batch = self._join(settlements, bus, now)
        if batch.commit is None:
            batch.commit = asyncio.create_task(self._writer.write(partial(self._settle_batch, batch=batch)))
            # While the files are lost, the work does not run: the batch would stay open and raise its error again.
            batch.commit.add_done_callback(lambda _: self._close(batch))
        try:
            seq = await asyncio.shield(batch.commit)
        except LedgerError:
            raise
        except Exception:
            # A settlement that cannot be stored must not take the others of its batch along.
            if batch.callers == 1:
                raise
            seq = await self._writer.write(partial(_settle, settlements=settlements, bus=bus, now=now))
        sent = [settlement.token for settlement in settlements if isinstance(settlement, Sent)]
        self._traffic.count_sent([self._claimed[token] for token in sent if token in self._claimed], now)
        self.release([settlement.token for settlement in settlements])
        return seq

    def owns(self, tokens: Collection[Token]) -> bool:  # noqa: ARG002  # the protocol names them
        """Return True: one process has the file."""
        return True

    def release(self, tokens: Collection[Token]) -> None:
        for token in tokens:
            self._claimed.pop(token, None)

    @property
    def inherited_unverified(self) -> int:
        return 0

    async def last_settlement_seq(self) -> int:
        return await self._writer.read(metadata.last_settlement_seq)

    def _join(self, settlements: Sequence[Settlement], bus: str, now: datetime) -> _Batch:
        with self._open_lock:
            batch = self._open.setdefault(bus, _Batch(bus, now))
            batch.settlements += settlements
            batch.callers += 1
            batch.now = now
            return batch

    def _close(self, batch: _Batch) -> None:
        with self._open_lock:
            if self._open.get(batch.bus) is batch:
                del self._open[batch.bus]

    def _settle_batch(self, db: Connection, batch: _Batch) -> int:
        self._close(batch)
        return _settle(db, batch.settlements, batch.bus, batch.now)


def _settle(db: Connection, settlements: Sequence[Settlement], bus: str, now: datetime) -> int:
    """Settle each entry that is pending, and return the number of the settlement."""
    seq = metadata.next_settlement_seq(db)
    accepted = {settlement.token: settlement.event_id for settlement in settlements if isinstance(settlement, Sent)}
    sent = _settle_sent(db, accepted, now, seq, bus) if accepted else 0
    dead = 0
    for settlement in settlements:
        match settlement:
            case Sent():
                pass
            case Dead():
                dead += _settle_dead(db, settlement, now, seq, bus)
            case Postponed():
                _postpone(db, settlement, now)
            case _:
                assert_never(settlement)
    counters.add(db, pending=-sent - dead, sent=sent, dead=dead)
    return seq


def _settle_sent(db: Connection, accepted: Mapping[Token, str], now: datetime, seq: int, bus: str) -> int:
    """Settle accepted entries as sent, and return how many were pending.

    One statement updates all entries, because most settlements are acceptances.
    """
    changed = db.execute(
        """UPDATE entries SET state = ?, settled_at = ?, settlement_seq = ?, bus = ?, attempts = attempts + 1,
                              result = accepted.value, reason = NULL
           FROM json_each(?) AS accepted WHERE entry = CAST(accepted.key AS INTEGER) AND state = ?""",
        (SENT, to_micros(now), seq, bus, msgspec.json.encode(accepted).decode(), PENDING),
    )
    return changed.rowcount


def _settle_dead(db: Connection, dead: Dead, now: datetime, seq: int, bus: str) -> int:
    """Settle an entry as dead. Return 1 if the entry was pending, else 0."""
    changed = db.execute(
        """UPDATE entries SET state = ?, settled_at = ?, settlement_seq = ?, bus = ?, attempts = attempts + 1,
                              result = ?, reason = ?, history = coalesce(?, history)
           WHERE entry = ? AND state = ?""",
        (
            *(DEAD, to_micros(now), seq, bus, dead.code, dead.reason),
            *(extended(db, dead.token, dead.code, now), dead.token, PENDING),
        ),
    )
    return changed.rowcount


def _postpone(db: Connection, postponed: Postponed, now: datetime) -> None:
    db.execute(
        """UPDATE entries SET due_at = ?, attempts = attempts + 1, unclassified_attempts = unclassified_attempts + ?,
                              history = ?
           WHERE entry = ? AND state = 0""",
        (
            *(to_micros(postponed.due_at), postponed.unclassified_attempt),
            *(extended(db, postponed.token, postponed.code, now), postponed.token),
        ),
    )
