"""A clock on which nothing takes time but what is waited for, so that hours pass in a test as fast as it can think."""

import asyncio
from bisect import insort
from datetime import UTC, datetime, timedelta

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)

TURNS = 20
"""Turns of the loop that others get before time moves: enough for what is ready now to be done now."""


class QuickClock:
    """`forwarder.clock.Clock` whose time moves to the next sleeper's end as soon as nobody else is busy in the loop.

    Of several sleepers the one who ends first wakes first, as with a real clock. `slept` tells what was asked for.
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
        """Time that passes while nobody waits."""
        self._passed += seconds

    def jump(self, by: timedelta) -> None:
        """The wall clock is set; intervals do not feel it."""
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
