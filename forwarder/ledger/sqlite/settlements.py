"""Settlements that wait for the same commit are booked as one: each by itself, they are the most of what is asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from sqlite3 import Connection
from threading import Lock

from forwarder.errors import LedgerError
from forwarder.ledger.models import Settlement
from forwarder.ledger.sqlite import requeue
from forwarder.ledger.sqlite.writer import Writer


@dataclass(slots=True)
class _Batch:
    """What is booked together, from the first of it until the writer comes to it."""

    bus: str
    now: datetime
    settlements: list[Settlement] = field(default_factory=list)
    callers: int = 0
    commit: asyncio.Task[int] | None = None


class SettlementBatcher:
    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._open: dict[str, _Batch] = {}
        self._lock = Lock()  # for a batch is closed by the writer's thread

    async def settle(self, settlements: Sequence[Settlement], *, bus: str, now: datetime) -> int:
        """The number of the commit. A caller that is cancelled meanwhile does not undo it."""
        batch = self._add(settlements, bus, now)
        if batch.commit is None:
            batch.commit = asyncio.create_task(self._writer.write(partial(self._commit, batch=batch)))
        try:
            return await asyncio.shield(batch.commit)
        except LedgerError:
            raise
        except Exception:
            # What cannot be booked must not take along what stands beside it.
            if batch.callers == 1:
                raise
            return await self._writer.write(partial(requeue.settle, settlements=settlements, bus=bus, now=now))

    def _add(self, settlements: Sequence[Settlement], bus: str, now: datetime) -> _Batch:
        with self._lock:
            batch = self._open.setdefault(bus, _Batch(bus, now))
            batch.settlements += settlements
            batch.callers += 1
            batch.now = now
            return batch

    def _commit(self, db: Connection, batch: _Batch) -> int:
        with self._lock:
            if self._open.get(batch.bus) is batch:  # it is booked a second time where a neighbour failed
                del self._open[batch.bus]
        return requeue.settle(db, batch.settlements, batch.bus, batch.now)
