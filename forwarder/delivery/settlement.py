"""A writer of settlements, which repeats each write until it is committed."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from forwarder import heartbeat
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import LedgerError
from forwarder.health import Health
from forwarder.ledger import Ledger, Settlement
from forwarder.model import State

T = TypeVar("T")


class SettlementWriter:
    """The owner of every outcome from the response of the bus to the commit.

    A writer outlives dispatchers and requests. An outcome is written even if its request is abandoned. A failing ledger
    stops every dispatcher.
    """

    def __init__(self, ledger: Ledger, clock: Clock, health: Health, committed_seq: int = 0) -> None:
        self._ledger = ledger
        self._clock = clock
        self._health = health
        self._pending_writes: set[asyncio.Task[Any]] = set()
        self._ready = asyncio.Event()
        self._ready.set()
        self.committed_seq = committed_seq
        """The number of the last committed settlement."""

    async def settle(self, settlements: Sequence[Settlement], bus: str) -> None:
        """Commit the settlements, and retry after each LedgerError.

        After any other error, release the entries and raise the error.
        """
        try:
            settlement_seq = await self._write(lambda: self._ledger.settle(settlements, now=self._clock.now(), bus=bus))
        except Exception:
            # After an internal fault, sending the entries again is better than never releasing them.
            self._ledger.release([settlement.token for settlement in settlements])
            raise
        self.committed_seq = max(self.committed_seq, settlement_seq)

    async def save_bus_verified(self, bus: str, settlement_seq: int) -> None:
        await self._write(lambda: self._ledger.save_bus_verified(bus, settlement_seq))

    async def last_settlement_seq(self) -> int:
        """Return the number of the last settlement, including those that were taken over from other processes."""
        return await self._write(self._ledger.last_settlement_seq)

    @property
    def inherited_unverified(self) -> int:
        """Return the number of sent events that were taken over from other processes, and not verified."""
        return self._ledger.inherited_unverified

    async def requeue(self, bus: str) -> int:
        """Requeue the unverified entries of a missing bus, and return their number."""
        return await self._write(lambda: self._ledger.requeue(bus, now=self._clock.now()))

    async def unverified_buses(self) -> list[str]:
        return await self._write(self._ledger.unverified_buses)

    @property
    def is_ready(self) -> bool:
        return self._ready.is_set()

    async def wait_until_ready(self) -> None:
        """Wait until every failed write is committed. Publishing earlier would risk more duplicates."""
        while not self.is_ready:
            heartbeat.beat(heartbeat.INTERVAL_SECONDS)
            await self._clock.wait(self._ready, heartbeat.INTERVAL_SECONDS)

    async def close(self, grace: float) -> int:
        """Wait for unfinished writes, at most `grace` seconds, and return how many were abandoned."""
        if not self._pending_writes:
            return 0
        _, unfinished = await asyncio.wait(self._pending_writes, timeout=grace)
        for task in unfinished:
            task.cancel()
        return len(unfinished)

    async def _write(self, write: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.create_task(self._until_committed(write))
        self._pending_writes.add(task)
        task.add_done_callback(self._finish_write)
        await heartbeat.wait_until_done([task])  # a write that waits for a full disk is not stalled
        return task.result()

    def _finish_write(self, task: asyncio.Task[Any]) -> None:
        self._pending_writes.discard(task)
        if not self._pending_writes:
            self._ready.set()

    async def _until_committed(self, write: Callable[[], Awaitable[T]]) -> T:
        backoff = Backoff(base=0.1, cap=5.0)
        while True:
            heartbeat.beat()
            try:
                return await write()
            except LedgerError as error:
                self._ready.clear()
                self._health.report("ledger", State.FAILED, error.message, error.hint)
                await self._clock.sleep(backoff.next())
