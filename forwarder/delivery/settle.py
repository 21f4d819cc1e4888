"""Booking outcomes, without fail."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TypeVar

from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import LedgerError
from forwarder.health import Health
from forwarder.ledger import Ledger, Settlement
from forwarder.model import State

T = TypeVar("T")


class Settler:
    """Outlives changes of settings, so that a ledger that cannot be written stops every publisher alike."""

    def __init__(self, ledger: Ledger, clock: Clock, health: Health) -> None:
        self._ledger = ledger
        self._clock = clock
        self._health = health
        self._unbooked = 0
        self._clear = asyncio.Event()
        self._clear.set()

    async def settle(self, settlements: Sequence[Settlement]) -> None:
        """Try until it is committed: what the bus has accepted must not be forgotten."""
        await self._until_committed(lambda: self._ledger.settle(settlements, now=self._clock.now()))

    async def owe_again(self, since: datetime) -> int:
        """Owe what was settled as sent since then once more, likewise; how many."""
        return await self._until_committed(lambda: self._ledger.owe_again(since=since, now=self._clock.now()))

    async def _until_committed(self, book: Callable[[], Awaitable[T]]) -> T:
        backoff = Backoff(base=0.1, cap=5.0)
        self._unbooked += 1
        try:
            while True:
                try:
                    return await book()
                except LedgerError as error:
                    self._clear.clear()
                    self._health.report("ledger", State.FAILED, error.message, error.hint)
                    await self._clock.sleep(backoff.next())
        finally:
            self._unbooked -= 1
            if not self._unbooked:
                self._clear.set()

    @property
    def is_clear(self) -> bool:
        return self._clear.is_set()

    async def clear(self) -> None:
        """Wait until no outcome is left that could not be booked: publishing more would risk more duplicates."""
        await self._clear.wait()
