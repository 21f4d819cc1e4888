"""Booking outcomes, without fail."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import LedgerError
from forwarder.health import Health
from forwarder.ledger import Ledger, Settlement
from forwarder.model import State

T = TypeVar("T")

LOOK_EVERY = 60.0
"""Seconds. Whoever waits is heard of, for that is not hanging."""


class Settler:
    """Owns every outcome from the bus's answer to the commit.

    It outlives plans and requests, so that an outcome is booked although its request is given up, and so that a ledger
    that cannot be written stops every publisher alike.
    """

    def __init__(self, ledger: Ledger, clock: Clock, health: Health, settled: int = 0) -> None:
        self._ledger = ledger
        self._clock = clock
        self._health = health
        self._booking: set[asyncio.Task[Any]] = set()
        self._clear = asyncio.Event()
        self._clear.set()
        self.settled = settled
        """The number of the last settlement that is surely committed."""

    async def settle(self, settlements: Sequence[Settlement], bus: str) -> None:
        """Returns once it is committed: what the bus has accepted must not be forgotten."""
        try:
            number = await self._book(lambda: self._ledger.settle(settlements, now=self._clock.now(), bus=bus))
        except Exception:
            # A fault of ours: better sent again than held for ever.
            self._ledger.release([settlement.token for settlement in settlements])
            raise
        self.settled = max(self.settled, number)

    async def note_bus(self, bus: str, settle: int) -> None:
        await self._book(lambda: self._ledger.note_bus(bus, settle))

    async def owe_again(self, bus: str) -> int:
        """Owe once more what a bus swallowed that is missing; how many."""
        return await self._book(lambda: self._ledger.owe_again(bus, now=self._clock.now()))

    async def buses_in_doubt(self) -> list[str]:
        return await self._book(self._ledger.buses_in_doubt)

    @property
    def is_clear(self) -> bool:
        return self._clear.is_set()

    async def clear(self) -> None:
        """Wait until no outcome is left that could not be booked: publishing more would risk more duplicates."""
        while not (self.is_clear or await self._clock.wait(self._clear, LOOK_EVERY)):
            pass

    async def close(self, grace: float) -> int:
        """Wait for what is not booked yet, at most `grace` seconds; how much had to be given up."""
        if not self._booking:
            return 0
        _, late = await asyncio.wait(self._booking, timeout=grace)
        for task in late:
            task.cancel()
        return len(late)

    async def _book(self, book: Callable[[], Awaitable[T]]) -> T:
        task = asyncio.create_task(self._until_committed(book))
        self._booking.add(task)
        task.add_done_callback(self._booked)
        while not task.done():
            await asyncio.wait({task}, timeout=LOOK_EVERY)  # which leaves it alone if we are cancelled
            self._clock.monotonic()  # a sign of life: a disk that is full is no hanging
        return task.result()

    def _booked(self, task: asyncio.Task[Any]) -> None:
        self._booking.discard(task)
        if not self._booking:
            self._clear.set()

    async def _until_committed(self, book: Callable[[], Awaitable[T]]) -> T:
        backoff = Backoff(base=0.1, cap=5.0)
        while True:
            try:
                return await book()
            except LedgerError as error:
                self._clear.clear()
                self._health.report("ledger", State.FAILED, error.message, error.hint)
                await self._clock.sleep(backoff.next())
