"""The intake loop. It polls the feeds that are due, and records their failures."""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog

from forwarder import heartbeat
from forwarder.alloy.client import LogsClient
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
from forwarder.health import Health, NextAttempt
from forwarder.intake.discovery_loop import DiscoveryLoop
from forwarder.intake.oversize import OversizeHandler, PayloadStore, clear_problem
from forwarder.intake.reader import PollSummary, Reader
from forwarder.intake.scheduler import Scheduler
from forwarder.intake.source_health import COMPONENT, NO_WORKFLOWS, NO_WORKFLOWS_HINT, SourceHealth
from forwarder.intake.transform import EventBuilder
from forwarder.intake.triggers import Triggers
from forwarder.intake.watched_feeds import WatchedFeeds
from forwarder.ledger import Fleet, Ledger, PollResult
from forwarder.metrics import Metrics
from forwarder.model import Feed, State
from forwarder.settings import Settings

log = structlog.get_logger("intake")


class Poller:
    """A poller of all feeds, until cancelled (`run`) or once (`run_once`)."""

    def __init__(
        self,
        source: LogsClient,
        ledger: Ledger,
        settings: Settings,
        clock: Clock,
        health: Health,
        metrics: Metrics,
        on_recorded: Callable[[], None],
        payload_store: PayloadStore | None = None,
    ) -> None:
        self._source = source
        self._ledger = ledger
        self._settings = settings.source
        self._clock = clock
        self._health = health
        self._metrics = metrics
        builder = EventBuilder.from_settings(settings)
        oversize = None
        if payload_store is not None:
            prefix, limit = settings.event.s3_prefix, builder.max_detail_bytes
            oversize = OversizeHandler(payload_store, prefix, limit, clock, health, metrics)
        else:
            clear_problem(health)
        self._source_health = SourceHealth(health)
        self.scheduler = Scheduler(settings.source, clock)
        self._reader = Reader(
            source,
            ledger,
            settings.source,
            builder,
            clock,
            metrics,
            on_recorded,
            oversize,
            self.scheduler.record_long_scan,
        )
        self.triggers = Triggers(self.scheduler, clock)
        self._watched = WatchedFeeds(
            ledger, settings.source, clock, self.scheduler, self._source_health, metrics, self._forget_all_except
        )
        self._discovery = DiscoveryLoop(
            source,
            settings.source,
            clock,
            self._source_health,
            self._watched,
            lambda: len(self.scheduler),
            self._report_ledger,
        )
        self._sharing_processes = 1
        self.polls: dict[Feed, PollResult] = {}
        """The last poll of each feed. The most recent one is the last item."""

    def next_attempt(self) -> NextAttempt | None:
        """Return the next attempt after a failed poll or discovery, or None if nothing waits for one.

        A pause that the API requested (`Retry-After`, or a status of 429) cannot be ended.
        """
        waits = [self.scheduler.retry_seconds, self._discovery.retry_seconds]
        wait = min((each for each in waits if each is not None), default=0.0)
        pause = self._source.pause_seconds
        if not wait and not pause:
            return None
        return NextAttempt(self._clock.now() + timedelta(seconds=max(wait, pause)), can_retry_now=not pause)

    def retry_now(self) -> None:
        """Repeat the failed polls and the failed discovery now."""
        self.scheduler.retry_now()
        self._discovery.retry_now()

    def assign(self, fleet: Fleet) -> None:
        """Poll the feeds that are assigned to this process, with its part of the request limit."""
        self.share_limit(fleet)
        self._watched.assign(fleet)

    def share_limit(self, fleet: Fleet) -> None:
        """Use this process's part of the request limit. Without `assign`, the poller polls all feeds."""
        if fleet.size == self._sharing_processes:
            return
        self._sharing_processes = fleet.size
        requests_per_second = self._settings.requests_per_second / fleet.size
        self._source.limit_requests(requests_per_second)
        self.scheduler.limit_requests(requests_per_second)

    async def run(self) -> None:
        """Poll the feeds when they are due, until cancelled. Discover feeds and follow triggers meanwhile."""
        await self._begin()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.triggers.run())
            if self._watched.is_shared:
                tasks.create_task(self._discovery.follow())
            if self._settings.discover:
                tasks.create_task(self._discovery.run())
            tasks.create_task(self._poll_due_feeds())
            heartbeat.beat(float("inf"))  # each of these tasks sends heartbeats

    async def _begin(self) -> None:
        """Watch the feeds. While the ledger cannot be used, report it and wait."""
        backoff = Backoff(base=1.0, cap=10.0)
        while True:
            heartbeat.beat()
            try:
                await self._watched.restore()
            except LedgerError as error:
                self._report_ledger(error)
                wait = backoff.next()
                heartbeat.beat(wait)
                await self._clock.sleep(wait)
            else:
                return

    async def run_once(self) -> list[ForwarderError]:
        """Poll every feed with a full scan, and return the errors."""
        errors: list[ForwarderError] = []
        await self._watched.watch_configured()
        if self._settings.discover and (problem := await self._discovery.discover()):
            errors.append(problem)
        if not self.scheduler.feeds and not errors:
            errors.append(SettingsError(NO_WORKFLOWS, hint=NO_WORKFLOWS_HINT))
        remaining = iter(self.scheduler.feeds)

        async def poll_remaining() -> None:
            errors.extend([error for feed in remaining if (error := await self._poll(feed, full_scan=True))])

        async with asyncio.TaskGroup() as tasks:
            for _ in range(self._settings.concurrency):
                tasks.create_task(poll_remaining())
        return errors

    async def _poll_due_feeds(self) -> None:
        """Poll each feed when it is due. One task waits for all feeds, because each change wakes every waiting task."""
        async with asyncio.TaskGroup() as polls:
            while True:
                feed = await self.scheduler.claim_next()
                polls.create_task(self._poll(feed))

    def _forget_all_except(self, feeds: frozenset[Feed]) -> None:
        """Remove what is stored of the other feeds, which were removed, or which another process polls."""
        self._reader.forget_all_except(feeds)
        self._source.forget_all_except(feeds)
        for feed in self.polls.keys() - feeds:
            del self.polls[feed]
            # The status is saved when the number of polls changes. A removal and a first poll together leave it equal.
            self._health.changed.set()

    async def _poll(self, feed: Feed, *, full_scan: bool = False) -> ForwarderError | None:
        """Poll a feed, and return the error that prevented it, or None.

        If this was the last poll of a removed feed, save that the feed is not watched any more.
        """
        heartbeat.beat()
        error = await self._read(feed, full_scan=full_scan)
        if self.scheduler.has_removed(feed):
            try:
                await self._watched.save()
            except LedgerError as not_saved:  # the next change of the feeds saves it
                self._report_ledger(not_saved)
        return error

    async def _read(self, feed: Feed, *, full_scan: bool) -> ForwarderError | None:
        started = self._clock.monotonic()
        try:
            summary = await self._reader.read(feed, full_scan=full_scan)
        except SourceError as error:
            return self._handle_failure(feed, error)
        except LedgerError as error:
            self._report_ledger(error)
            self.scheduler.record_failure(feed)
            return error
        except Exception as error:
            # A bug that the data of one feed triggers must not end the polling of the others.
            log.exception("poll failed", feed=str(feed), exception_type=type(error).__name__)
            return self._handle_failure(feed, PageUnreadable("a poll failed inside the forwarder"))
        self._handle_success(feed, summary)
        if summary.recorded:
            self.triggers.resolve(feed, started)
        self._metrics.observe_poll(self._clock.monotonic() - started)
        self._metrics.set_last_success(COMPONENT, self._clock.now())
        return None

    def _handle_success(self, feed: Feed, summary: PollSummary) -> None:
        self.scheduler.record_success(feed, summary.activity, summary.pages, is_full_scan=summary.is_full_scan)
        self._source_health.record_success(feed, summary.listing_problem)
        self._save_poll(feed)
        write_log = log.info if summary.recorded or summary.rejected else log.debug
        write_log(
            "poll completed",
            feed=str(feed),
            pages=summary.pages,
            listed=summary.listed,
            failures=summary.failures,
            recorded=summary.recorded,
            rejected=summary.rejected,
        )

    def _handle_failure(self, feed: Feed, error: SourceError) -> ForwarderError:
        retry_in = self.scheduler.record_failure(
            feed, is_permanent=isinstance(error, (WorkflowNotFound, PageUnreadable))
        )
        if feed in self.scheduler:
            self._source_health.record_failure(feed, error)
        self._save_poll(feed, error.message)
        log.warning("poll aborted", feed=str(feed), reason=error.message, hint=error.hint, retry_in=retry_in)
        return error

    def _report_ledger(self, error: LedgerError) -> None:
        self._health.report("ledger", State.FAILED, error.message, error.hint)

    def _save_poll(self, feed: Feed, error: str = "") -> None:
        plan = self.scheduler.plan(feed)
        interval, reason = (plan.interval_seconds, plan.reason.value) if plan else (None, "")
        self.polls.pop(feed, None)  # the most recent one is last
        self.polls[feed] = PollResult(self._clock.now(), error, interval, reason)
        self._source_health.report(len(self.scheduler))
