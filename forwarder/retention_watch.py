"""The retention watch: it reports feeds that were not read for so long that the logs API may purge their failures.

The last read of a feed is the time of its last complete poll. At the start it comes from the ledger: the newest of the
last full scan, the last saved poll and the floor, because executions below the floor are not wanted. It is exact to
`full_scan_interval` after a kill. Later ages are measured on the monotonic clock, so that a jump of the wall clock is
no gap.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from forwarder import heartbeat
from forwarder.clock import Clock
from forwarder.errors import LedgerError
from forwarder.health import Health
from forwarder.ledger import FeedStatus, Ledger, PollResult, RetentionGap
from forwarder.ledger.retention_gap import MAX_GAP_FEEDS
from forwarder.metrics import Metrics
from forwarder.model import Feed, State
from forwarder.settings import Settings
from forwarder.time_format import rfc3339

log = structlog.get_logger("retention")

COMPONENT = "retention"

CHECK_INTERVAL_SECONDS = 300.0
"""Time between two checks."""

URGENT_CHECK_INTERVAL_SECONDS = 30.0
"""Time between two checks while a feed is near or over `source.log_retention`."""

MAX_WARNING_TIME = timedelta(days=1)
"""The time before the limit at which the watch warns. It is a quarter of a `log_retention` below four days."""

FAILED_TIME = timedelta(days=1)
"""The time for which the component stays FAILED after the feeds were read again, so that alarms see it."""

HINT = "make sure that forwarding is enabled and the logs API can be read, before failures are purged"
AFTER_HINT = "compare with the executions that Alloy shows for this period; `forwarder status` keeps this notice"


@dataclass(frozen=True, slots=True)
class _LastRead:
    """The last read of a feed. `age` is in seconds, at the monotonic time `measured_at`."""

    at: datetime
    age: float
    measured_at: float


class RetentionWatch:
    """The watch. `polls` returns the last poll of each feed that this process has polled."""

    def __init__(
        self,
        ledger: Ledger,
        settings: Callable[[], Settings],
        polls: Callable[[], Mapping[Feed, PollResult]],
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
        self._lock = asyncio.Lock()
        self._reads: dict[Feed, _LastRead] | None = None
        self._checked_at = 0.0
        self._gap: RetentionGap | None = None
        self._gap_feeds: set[Feed] = set()
        self._is_late = False
        """True while a feed is about to lose executions, or may have lost some and is still unread."""

    async def run(self) -> None:
        """Check until cancelled, more often while a feed is about to lose executions."""
        while True:
            heartbeat.beat()
            await self.check()
            wait = URGENT_CHECK_INTERVAL_SECONDS if self._is_late else CHECK_INTERVAL_SECONDS
            heartbeat.beat(wait)
            await self._clock.sleep(wait)

    async def check(self) -> None:
        """Compare the last read of each watched feed with `source.log_retention`, and report the result.

        The daemon also calls this before its first poll, because a poll replaces the last read in the ledger.
        """
        async with self._lock:
            try:
                await self._check()
            except LedgerError as error:
                log.warning("retention check failed", reason=error.message, hint=error.hint)

    async def _check(self) -> None:
        settings = self._settings()
        if await self._ledger.saved_switch() is not settings.enabled:
            return  # `on_enable` is not applied yet
        statuses = [each for each in await self._ledger.feeds() if each.watched]
        if self._reads is None:
            self._gap = await self._ledger.retention_gap()
        limit = settings.source.log_retention
        lost = self._update_reads(statuses, limit)
        ages = self._ages(statuses)
        if not settings.enabled and settings.on_enable == "skip":
            ages, lost = {}, {}  # this period is skipped on purpose
        self._metrics.set_unread(max(ages.values(), default=0.0))
        overdue = {feed: age for feed, age in ages.items() if age >= limit.total_seconds()}
        await self._save_gap(overdue, lost, limit)
        self._report(overdue, ages, limit)

    def _update_reads(self, statuses: Sequence[FeedStatus], limit: timedelta) -> dict[Feed, float]:
        """Update the last reads. Return the feeds that were unread for too long before a new read, with that age."""
        now, monotonic, polls = self._clock.now(), self._clock.monotonic(), self._polls()
        previous, reads, lost = self._reads, dict[Feed, _LastRead](), dict[Feed, float]()
        for status in statuses:
            feed, poll, saved_at = status.feed, polls.get(status.feed), _last_read(status)
            before = None if previous is None else previous.get(feed)
            known_at = None if before is None else max(before.at, poll.at if poll else before.at)
            if known_at is not None and saved_at is not None and saved_at > known_at:
                # Another process reads the feed. It saves each full scan, but not each poll.
                poll = PollResult(saved_at)
            if previous is None:
                if saved_at is not None:
                    reads[feed] = _LastRead(saved_at, _seconds(now - saved_at), monotonic)
            elif before is None:  # watched since the last check
                reads[feed] = _LastRead(now, 0.0, monotonic)
            elif poll is not None and not poll.error and poll.at != before.at:
                age = min(before.age + monotonic - before.measured_at, _floor_age(status, now))
                if age >= limit.total_seconds():
                    lost[feed] = age
                reads[feed] = _LastRead(poll.at, min(_seconds(now - poll.at), monotonic - self._checked_at), monotonic)
            else:
                reads[feed] = before
        self._reads, self._checked_at = reads, monotonic
        return lost

    def _ages(self, statuses: Sequence[FeedStatus]) -> dict[Feed, float]:
        """Return the age of the last read of each feed in seconds, or that of its floor if it is younger."""
        now, monotonic, reads = self._clock.now(), self._clock.monotonic(), self._reads or {}
        return {
            status.feed: min(read.age + monotonic - read.measured_at, _floor_age(status, now))
            for status in statuses
            if (read := reads.get(status.feed)) is not None
        }

    async def _save_gap(self, overdue: Mapping[Feed, float], lost: Mapping[Feed, float], limit: timedelta) -> None:
        """Save a new or larger gap, or the end of the open one."""
        now, gap = self._clock.now(), self._gap
        is_open = gap is not None and gap.read_at is None
        affected = {**lost, **overdue}
        if affected and (not is_open or not affected.keys() <= self._gap_feeds):
            self._gap_feeds = self._gap_feeds | affected.keys() if is_open else set(affected)
            start = now - timedelta(seconds=max(affected.values()))
            start = min(start, gap.start) if gap is not None and is_open else start
            found_at = gap.found_at if gap is not None and is_open else now
            feeds = tuple(str(feed) for feed in sorted(self._gap_feeds, key=_order)[:MAX_GAP_FEEDS])
            self._gap = gap = RetentionGap(start, feeds, len(self._gap_feeds), found_at)
            is_open = True
        elif not is_open or overdue:
            return
        if gap is not None and not overdue:
            self._gap = gap = replace(gap, end=max(gap.start, now - limit), read_at=now)
            self._gap_feeds = set()
        if gap is not None:
            await self._ledger.save_retention_gap(gap)
            log.error("executions may have been purged unread", reason=gap.sentence, hint=AFTER_HINT)

    def _report(self, overdue: Collection[Feed], ages: Mapping[Feed, float], limit: timedelta) -> None:
        now, gap, reads = self._clock.now(), self._gap, self._reads or {}
        warning = limit - min(MAX_WARNING_TIME, limit / 4)
        late = {feed: age for feed, age in ages.items() if age >= warning.total_seconds()}
        self._is_late = bool(late)
        if gap is not None and (overdue or (gap.read_at is not None and now - gap.read_at < FAILED_TIME)):
            self._health.report(COMPONENT, State.FAILED, gap.sentence, HINT if overdue else AFTER_HINT)
        elif late:
            oldest = max(late, key=lambda feed: late[feed])
            since = reads[oldest].at  # a constant text: a new reason would be a write to the ledger
            others = f" and {len(late) - 1} more" if len(late) > 1 else ""
            reason = (
                f"{oldest}{others} not read since {rfc3339(since, timespec='seconds')}: "
                f"the logs API keeps executions for {limit / timedelta(days=1):g} days"
            )
            self._health.report(COMPONENT, State.DEGRADED, reason, HINT)
        elif COMPONENT in self._health.components:
            self._health.healthy(COMPONENT)


def _last_read(status: FeedStatus) -> datetime | None:
    """Return the newest time until which the ledger shows the feed as read, or None before its first read."""
    checkpoint, poll = status.checkpoint, status.last_poll
    times = (
        checkpoint.full_scan_at,
        checkpoint.floor,
        checkpoint.local_floor,
        poll.at if poll and not poll.error else None,
    )
    return max((time for time in times if time is not None), default=None)


def _floor_age(status: FeedStatus, now: datetime) -> float:
    floors = [time for time in (status.checkpoint.floor, status.checkpoint.local_floor) if time is not None]
    return _seconds(now - max(floors)) if floors else float("inf")


def _seconds(age: timedelta) -> float:
    return max(0.0, age.total_seconds())


def _order(feed: Feed) -> tuple[str, str]:
    return feed.workflow_id, feed.user_id or ""
