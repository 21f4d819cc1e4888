"""The triggers: webhook requests that report a failed execution of a workflow.

The workflow is polled at once. The request may arrive before the logs API lists the execution, so the workflow is
polled again after each of RECHECK_SECONDS, until a poll records a new execution.
"""

import asyncio
from dataclasses import dataclass

from forwarder import heartbeat
from forwarder.clock import Clock
from forwarder.intake.scheduler import Scheduler
from forwarder.model import Feed

RECHECK_SECONDS = (1.0, 5.0, 30.0)
"""The times of further polls, in seconds after the trigger."""

IDLE_SECONDS = 60.0


@dataclass(slots=True)
class _PendingTrigger:
    """A trigger whose execution was not found yet. `rechecks` counts the polls after the first."""

    triggered_at: float
    rechecks: int = 0

    @property
    def next_recheck_at(self) -> float:
        return self.triggered_at + RECHECK_SECONDS[self.rechecks]


class Triggers:
    """The triggers whose executions were not found yet, and the further polls of their feeds."""

    def __init__(self, scheduler: Scheduler, clock: Clock) -> None:
        self._scheduler = scheduler
        self._clock = clock
        self._pending: dict[Feed, _PendingTrigger] = {}
        self._changed = asyncio.Event()

    def trigger(self, workflow_id: str, user_id: str | None) -> int:
        """Make the feeds of the workflow and user due. Return their number."""
        feeds = self._scheduler.trigger(workflow_id, user_id)
        now = self._clock.monotonic()
        self._pending.update({feed: _PendingTrigger(now) for feed in feeds})
        self._changed.set()
        return len(feeds)

    def resolve(self, feed: Feed, poll_started_at: float) -> None:
        """Remove the older triggers of a workflow, after a poll of `feed` that recorded new executions."""
        for other, pending in list(self._pending.items()):
            if other.workflow_id == feed.workflow_id and pending.triggered_at <= poll_started_at:
                del self._pending[other]

    async def run(self) -> None:
        """Poll the feeds of pending triggers again, until cancelled."""
        while True:
            heartbeat.beat()
            self._changed.clear()
            now = self._clock.monotonic()
            for feed, pending in list(self._pending.items()):
                if now >= pending.next_recheck_at:
                    self._recheck(feed, pending)
            next_at = min((pending.next_recheck_at for pending in self._pending.values()), default=now + IDLE_SECONDS)
            heartbeat.beat(next_at - now)
            await self._clock.wait(self._changed, next_at - now)

    def _recheck(self, feed: Feed, pending: _PendingTrigger) -> None:
        self._scheduler.make_due(feed)
        pending.rechecks += 1
        if pending.rechecks == len(RECHECK_SECONDS):
            del self._pending[feed]
