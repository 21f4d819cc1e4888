"""Nudges: somebody says that an execution of a workflow failed. It is read at once, and again a little later while
nothing new of it appears, for the word may come before the logs API lists the execution.
"""

import asyncio
from dataclasses import dataclass

from forwarder.clock import Clock
from forwarder.intake.schedule import Schedule
from forwarder.model import Feed

LOOK_AGAIN = (1.0, 5.0, 30.0)
"""Seconds after a nudge."""

IDLE = 60.0


@dataclass(slots=True)
class _Expected:
    """Something new of a feed, since a nudge. `looks` were made after the first."""

    since: float
    looks: int = 0

    @property
    def next_look(self) -> float:
        return self.since + LOOK_AGAIN[self.looks]


class Nudges:
    def __init__(self, schedule: Schedule, clock: Clock) -> None:
        self._schedule = schedule
        self._clock = clock
        self._expected: dict[Feed, _Expected] = {}
        self._changed = asyncio.Event()

    def nudge(self, workflow_id: str, user_id: str | None) -> int:
        """How many feeds may show it: those of the workflow, and of that user or of all. They are due now."""
        feeds = self._schedule.nudge(workflow_id, user_id)
        now = self._clock.monotonic()
        self._expected.update({feed: _Expected(now) for feed in feeds})
        self._changed.set()
        return len(feeds)

    def appeared(self, feed: Feed, read_since: float) -> None:
        """A reading that began then has recorded something new of a feed: what its workflow was nudged for."""
        for other, expected in list(self._expected.items()):
            if other.workflow_id == feed.workflow_id and expected.since <= read_since:
                del self._expected[other]

    async def run(self) -> None:
        """Look again, until cancelled."""
        while True:
            self._changed.clear()
            now = self._clock.monotonic()
            for feed, expected in list(self._expected.items()):
                if now >= expected.next_look:
                    self._look_again(feed, expected)
            nearest = min((expected.next_look for expected in self._expected.values()), default=now + IDLE)
            await self._clock.wait(self._changed, nearest - now)

    def _look_again(self, feed: Feed, expected: _Expected) -> None:
        self._schedule.bring_forward(feed)
        expected.looks += 1
        if expected.looks == len(LOOK_AGAIN):
            del self._expected[feed]
