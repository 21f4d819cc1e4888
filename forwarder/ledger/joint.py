"""Settlements that wait for the same commit are booked as one: each by itself, they are the most of what is asked."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from sqlite3 import Connection
from threading import Lock

from forwarder.errors import LedgerError
from forwarder.ledger import owing
from forwarder.ledger.nouns import Settlement
from forwarder.ledger.worker import Worker


@dataclass(slots=True)
class _Joint:
    """What is booked together, from the first of it until the worker comes to it."""

    bus: str
    now: datetime
    settlements: list[Settlement] = field(default_factory=list)
    parts: int = 0
    booked: asyncio.Task[int] | None = None


class JointSettling:
    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._open: dict[str, _Joint] = {}
        self._lock = Lock()  # for a joint is closed by the worker's thread

    async def settle(self, settlements: Sequence[Settlement], *, bus: str, now: datetime) -> int:
        """The number of the commit. A caller that is cancelled meanwhile does not undo it."""
        joint = self._join(settlements, bus, now)
        if joint.booked is None:
            joint.booked = asyncio.create_task(self._worker.write(partial(self._book, joint=joint)))
        try:
            return await asyncio.shield(joint.booked)
        except LedgerError:
            raise
        except Exception:
            # What cannot be booked must not take along what stands beside it.
            if joint.parts == 1:
                raise
            return await self._worker.write(partial(owing.settle, settlements=settlements, bus=bus, now=now))

    def _join(self, settlements: Sequence[Settlement], bus: str, now: datetime) -> _Joint:
        with self._lock:
            joint = self._open.setdefault(bus, _Joint(bus, now))
            joint.settlements += settlements
            joint.parts += 1
            joint.now = now
            return joint

    def _book(self, db: Connection, joint: _Joint) -> int:
        with self._lock:
            if self._open.get(joint.bus) is joint:  # it is booked a second time where a neighbour failed
                del self._open[joint.bus]
        return owing.settle(db, joint.settlements, joint.bus, joint.now)
