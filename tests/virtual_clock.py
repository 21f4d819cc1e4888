"""A virtual clock. Only sleeping takes time on it, so a test of several hours ends at once."""

import asyncio
from bisect import insort
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)

TURNS = 20
"""The number of turns of the event loop before time moves. It is enough for all tasks that are ready."""


class QuickClock:
    """A `forwarder.clock.Clock` whose time moves to the end of the next sleep when no other task is ready.

    Sleeping tasks wake in the order in which their sleeps end, as with a real clock. `slept` lists the requests.
    """

    def __init__(self, start: datetime = NOON) -> None:
        self._start = start
        self._passed = 0.0
        self._ends: list[tuple[float, int]] = []
        self._count = 0
        self.slept: list[float] = []

    def now(self) -> datetime:
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        return 1000.0 + self._passed

    def advance(self, seconds: float) -> None:
        """Move the time while no task sleeps."""
        self._passed += seconds

    def jump(self, by: timedelta) -> None:
        """Set the wall clock. The monotonic clock does not change."""
        self._start += by

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        await self.wait(asyncio.Event(), seconds)

    async def wait(self, event: asyncio.Event, seconds: float) -> bool:
        self._count += 1
        mine = (self._passed + max(0.0, seconds), self._count)
        insort(self._ends, mine)
        try:
            turns = 0
            while not event.is_set():
                await asyncio.sleep(0)
                turns = turns + 1 if self._ends[0] == mine else 0
                if self._passed >= mine[0]:
                    break
                if turns >= TURNS:
                    self._passed = mine[0]
            return event.is_set()
        finally:
            self._ends.remove(mine)
