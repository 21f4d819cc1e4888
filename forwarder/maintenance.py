"""The periodic maintenance of the daemon: it saves the status, and applies the retention of the ledger."""

import os
from collections.abc import Callable
from itertools import takewhile

import structlog

from forwarder import heartbeat
from forwarder.clock import Clock
from forwarder.errors import LedgerError
from forwarder.health import Health
from forwarder.ledger import DaemonStatus, Ledger, PollResult
from forwarder.metrics import Metrics
from forwarder.model import Feed, State
from forwarder.settings import Settings

log = structlog.get_logger("maintenance")

RETENTION_INTERVAL_SECONDS = 60.0
RETENTION_STEP_SECONDS = 0.25
"""The time between two steps of one retention pass."""

STEP_SECONDS = 0.5
"""The time between two checks for a change of health and for lost files of the ledger.

The status is saved only after a change, because each save is a write to disk.
"""

PLANS_INTERVAL_SECONDS = 60.0
"""The time between two checks for feeds that are polled at another interval, or for another reason, than was saved."""

MIN_INTERVAL_RATIO = 1.25
"""The ratio of two intervals from which they count as different. Each poll changes the interval a little."""


class Maintenance:
    """A loop that saves the daemon's status, checks the ledger's files and applies the retention.

    `polls` returns the last poll of each feed, oldest first. There may be very many feeds.
    """

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], Settings],
        polls: Callable[[], dict[Feed, PollResult]],
        clock: Clock,
        health: Health,
        metrics: Metrics,
    ) -> None:
        self._ledger = ledger
        self._settings = settings
        self._polls = polls
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._saved_polls: dict[Feed, PollResult] = {}
        self._saved_feed_count = 0

    async def run(self) -> None:
        """Save the status after each change, check the ledger's files, and apply the retention, until cancelled."""
        next_retention = next_plans = 0.0
        await self.save_status()
        while True:
            heartbeat.beat()
            now = self._clock.monotonic()
            is_changed = self._has_changed() or self._has_ledger_failed()
            if now >= next_plans:
                next_plans = now + PLANS_INTERVAL_SECONDS
                is_changed = is_changed or self._has_other_plans()
            if is_changed:
                await self.save_status()
            else:
                await self._check_ledger()
            if now >= next_retention:
                next_retention = now + (
                    RETENTION_STEP_SECONDS if await self._apply_retention() else RETENTION_INTERVAL_SECONDS
                )
            await self._clock.sleep(min(STEP_SECONDS, max(0.0, next_retention - now)))

    async def save_status(self) -> None:
        """Save the state of each component, and the polls not saved yet. Report the ledger as healthy or failed."""
        self._health.changed.clear()
        polls, count = self._unsaved_polls(), len(self._polls())
        components = {
            name: {
                "state": component.state.value,
                "since": component.since,
                "reason": component.reason,
                "hint": component.hint,
            }
            for name, component in self._health.components.items()
        }
        try:
            await self._ledger.save_daemon_status(DaemonStatus(self._clock.now(), os.getpid(), components), polls)
        except LedgerError as error:
            self._health.report("ledger", State.FAILED, error.message, error.hint)
            return
        self._saved_polls.update(polls)
        if len(self._saved_polls) > count:  # feeds were removed
            polled = self._polls()
            self._saved_polls = {feed: poll for feed, poll in self._saved_polls.items() if feed in polled}
        self._saved_feed_count = count
        self._health.healthy("ledger")
        self._metrics.set_last_success("ledger", self._clock.now())

    def _unsaved_polls(self) -> dict[Feed, PollResult]:
        """Return the polls not saved yet. They are ordered oldest first, so everything before a saved one is saved."""
        latest_first = reversed(self._polls().items())
        return dict(takewhile(lambda each: self._saved_polls.get(each[0]) is not each[1], latest_first))

    def _has_changed(self) -> bool:
        """Return whether health changed, or a feed was polled for the first time."""
        return self._health.changed.is_set() or len(self._polls()) != self._saved_feed_count

    def _has_other_plans(self) -> bool:
        """Return whether `status` shows the plan of a feed as it is not any more."""
        saved = self._saved_polls
        return any(_is_other_plan(saved[feed], poll) for feed, poll in self._polls().items() if feed in saved)

    async def _check_ledger(self) -> None:
        """Read from the ledger, and report it as failed if its files were removed, replaced or truncated."""
        try:
            await self._ledger.saved_switch()
        except LedgerError as error:
            self._health.report("ledger", State.FAILED, error.message, error.hint)

    async def finish(self) -> None:
        """Save the status, and apply the retention until nothing is left to remove, before the process ends."""
        await self.save_status()
        while await self._apply_retention():
            pass

    async def _apply_retention(self) -> bool:
        ledger = self._settings().ledger
        try:
            return await self._ledger.apply_retention(
                now=self._clock.now(), id_retention=ledger.id_retention, payload_retention=ledger.payload_retention
            )
        except LedgerError as error:
            log.warning("retention failed", reason=error.message, hint=error.hint)
            return False

    def _has_ledger_failed(self) -> bool:
        component = self._health.components.get("ledger")
        return component is not None and component.state is State.FAILED


def _is_other_plan(before: PollResult, poll: PollResult) -> bool:
    """Return whether two plans of a feed differ noticeably."""
    shorter, longer = sorted([before.interval_seconds or 0.0, poll.interval_seconds or 0.0])
    return before.reason != poll.reason or longer >= MIN_INTERVAL_RATIO * shorter > 0
