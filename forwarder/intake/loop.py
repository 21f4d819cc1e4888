"""The intake loop: what is due is read, and what was found is recorded."""

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from forwarder.alloy.client import LogsClient
from forwarder.alloy.discovery import Discovery
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import (
    ForwarderError,
    LedgerError,
    PageUnreadable,
    SettingsError,
    SourceError,
    WorkflowNotFound,
)
from forwarder.health import Health
from forwarder.intake.nudges import Nudges
from forwarder.intake.reading import Reader, ReadingDone
from forwarder.intake.schedule import Schedule
from forwarder.intake.shaping import Shaper
from forwarder.intake.troubles import PART, Troubles
from forwarder.ledger import Ledger, Reading
from forwarder.metrics import Metrics
from forwarder.model import Checkpoint, Feed, State
from forwarder.settings import Settings

log = structlog.get_logger("intake")

NOTHING_TO_WATCH = "there is nothing to watch"
LIST_OR_DISCOVER = "list workflows in [source], or set discover = true"


class Intake:
    """Reads every feed, over and over (`run`) or once (`run_once`)."""

    def __init__(
        self,
        source: LogsClient,
        ledger: Ledger,
        settings: Settings,
        clock: Clock,
        health: Health,
        metrics: Metrics,
        recorded: Callable[[], None],
    ) -> None:
        self._discovery = Discovery(source)
        self._ledger = ledger
        self._settings = settings.source
        self._clock = clock
        self._health = health
        self._metrics = metrics
        self._reader = Reader(source, ledger, settings.source, Shaper.of(settings), clock, metrics, recorded)
        self._troubles = Troubles(health)
        self.schedule = Schedule(settings.source, clock)
        self.nudges = Nudges(self.schedule, clock)
        self.readings: dict[Feed, Reading] = {}
        """The last of each feed; the latest of all stands last."""

    async def run(self) -> None:
        self.schedule.restart()
        # What was discovered before is read at once: the users may not be told for hours, and the logs may.
        known = [each.feed for each in await self._ledger.feeds()] if self._settings.discover else []
        await self._watch(known)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.nudges.run())
            if self._settings.discover:
                tasks.create_task(self._discover_over_and_over())
            tasks.create_task(self._read_what_is_due())

    async def run_once(self) -> list[ForwarderError]:
        """Read every feed, going deep; what went wrong."""
        errors: list[ForwarderError] = []
        await self._watch([])
        if self._settings.discover and (problem := await self._discover()):
            errors.append(problem)
        if not self.schedule.feeds and not errors:
            errors.append(SettingsError(NOTHING_TO_WATCH, hint=LIST_OR_DISCOVER))
        left = iter(self.schedule.feeds)

        async def read_the_rest() -> None:
            errors.extend([error for feed in left if (error := await self._read(feed, deep=True))])

        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._settings.concurrency):
                tasks.create_task(read_the_rest())
        return errors

    async def _read_what_is_due(self) -> None:
        """One waits for what is due: were there many, each would be woken by what one of them takes."""
        async with asyncio.TaskGroup() as readings:
            while True:
                feed = await self.schedule.next()
                readings.create_task(self._read(feed))

    async def _discover_over_and_over(self) -> None:
        every = self._settings.discover_interval.total_seconds()
        backoff = Backoff(base=self._settings.min_interval.total_seconds(), cap=every, floor=1.0)
        while True:
            problem = self._troubles.discovery = await self._discover()
            self._troubles.report(len(self.schedule))
            if problem is None:
                backoff.reset()
            await self._clock.sleep(backoff.next() if problem else every)

    async def _discover(self) -> SourceError | None:
        """Watch what there is; what kept it from being complete."""
        began_at = self._clock.now()
        try:
            found = await self._discovery.look()
        except SourceError as error:
            log.warning("discovery failed", why=error.message, mend=error.hint)
            return error
        await self._watch(found.feeds, discovered_at=None if found.problem else began_at)
        if found.problem is not None:
            log.warning("discovery is not complete", why=found.problem.message, mend=found.problem.hint)
        return found.problem

    async def _watch(self, found: list[Feed], *, discovered_at: datetime | None = None) -> None:
        """Begin every feed before any is read: the last one would begin late, and miss what failed until then."""
        feeds = list(dict.fromkeys([*self._settings.workflows, *found]))
        before = await self._ledger.discovered_at()
        now = self._clock.now()
        begins = {feed: self._begins(feed, now, before) for feed in feeds if feed not in self.schedule}
        if begins or discovered_at is not None:
            await self._ledger.begin(begins, discovered_at=discovered_at)
        self.schedule.watch(feeds)
        self._troubles.watch(feeds)
        if not feeds and not self._settings.discover:
            self._health.report(PART, State.FAILED, NOTHING_TO_WATCH, LIST_OR_DISCOVER)

    async def _read(self, feed: Feed, *, deep: bool = False) -> ForwarderError | None:
        began = self._clock.monotonic()
        try:
            done = await self._reader.read(feed, deep=deep)
        except SourceError as error:
            return self._cut_short(feed, error)
        except LedgerError as error:
            self._health.report("ledger", State.FAILED, error.message, error.hint)
            self.schedule.failed(feed)
            return error
        except Exception as error:
            # A fault of ours on what one feed holds must not end the reading of the others.
            log.exception("reading failed", feed=str(feed), kind=type(error).__name__)
            return self._cut_short(feed, PageUnreadable("a reading failed inside the forwarder"))
        self._complete(feed, done)
        if done.recorded:
            self.nudges.appeared(feed, began)
        self._metrics.feed_read(self._clock.monotonic() - began)
        self._metrics.succeeded(PART, self._clock.now())
        return None

    def _complete(self, feed: Feed, done: ReadingDone) -> None:
        self.schedule.done(feed, done.arrived)
        self._troubles.read(feed, done.doubt)
        self._note(feed, Reading(self._clock.now()))
        tell = log.info if done.recorded or done.refused else log.debug
        tell(
            "feed read",
            feed=str(feed),
            pages=done.pages,
            listed=done.listed,
            failures=done.failures,
            recorded=done.recorded,
            refused=done.refused,
        )

    def _cut_short(self, feed: Feed, error: SourceError) -> ForwarderError:
        again_in = self.schedule.failed(feed, lasting=isinstance(error, (WorkflowNotFound, PageUnreadable)))
        if feed in self.schedule:
            self._troubles.cut_short(feed, error)
        self._note(feed, Reading(self._clock.now(), error.message))
        log.warning("reading cut short", feed=str(feed), why=error.message, mend=error.hint, again_in=again_in)
        return error

    def _note(self, feed: Feed, reading: Reading) -> None:
        self.readings.pop(feed, None)  # the latest stands last
        self.readings[feed] = reading
        self._troubles.report(len(self.schedule))

    def _begins(self, feed: Feed, now: datetime, discovered_at: datetime | None) -> Checkpoint:
        """Where a feed starts that was never read."""
        start = self._settings.start_from
        if start == "beginning":
            return Checkpoint()
        if isinstance(start, datetime):
            return Checkpoint(floor=start)
        since = now - start if isinstance(start, timedelta) else now
        if feed not in self._settings.workflows:
            # It may be as old as the last discovery that did not show it.
            an_interval = now - self._settings.discover_interval
            since -= now - (an_interval if discovered_at is None else min(an_interval, discovered_at))
        return Checkpoint(since=since)
