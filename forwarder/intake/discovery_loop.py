"""The loops that discover feeds: this process's share of the users at intervals, and what the other processes found."""

import asyncio
from collections.abc import Callable

import structlog

from forwarder import heartbeat
from forwarder.alloy.client import LogsClient
from forwarder.alloy.discovery import discover
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import LedgerError, SourceError
from forwarder.intake.source_health import SourceHealth
from forwarder.intake.watched_feeds import WatchedFeeds
from forwarder.ledger import shard_of
from forwarder.settings.sections import SourceSettings

log = structlog.get_logger("intake")

MIN_REFRESH_SECONDS = 60.0
"""The least time between two reads of what other processes found, if discoveries are not more frequent."""

FOLLOW_SECONDS = 3600.0
"""The time after which what other processes found is read in any case: a change may not have been announced."""

RETRY_SECONDS = 5.0
"""The time until what other processes found is read again, if the ledger could not be read."""


class DiscoveryLoop:
    """The loops that discover feeds, and report the error that made the last discovery incomplete."""

    def __init__(
        self,
        source: LogsClient,
        settings: SourceSettings,
        clock: Clock,
        source_health: SourceHealth,
        watched: WatchedFeeds,
        feeds: Callable[[], int],
        report_ledger: Callable[[LedgerError], None],
    ) -> None:
        """Prepare the loops. `feeds` returns the number of feeds that this process polls.

        `report_ledger` reports that what was found cannot be saved.
        """
        self._source = source
        self._settings = settings
        self._clock = clock
        self._source_health = source_health
        self._watched = watched
        self._feeds = feeds
        self._report_ledger = report_ledger
        self._retry_at: float | None = None
        self._retry_now = asyncio.Event()

    @property
    def retry_seconds(self) -> float | None:
        """Return the seconds until a failed discovery is retried, or None if no retry is scheduled."""
        return None if self._retry_at is None else max(0.0, self._retry_at - self._clock.monotonic())

    def retry_now(self) -> None:
        """Repeat a failed discovery now."""
        if self._retry_at is not None:
            self._retry_now.set()

    async def run(self) -> None:
        """Discover feeds until cancelled. After an incomplete discovery, the next one comes sooner."""
        interval_seconds = self._settings.discover_interval.total_seconds()
        backoff = Backoff(base=self._settings.min_interval.total_seconds(), cap=interval_seconds, floor=1.0)
        while True:
            heartbeat.beat()
            is_complete = await self._discover_and_report()
            if is_complete:
                backoff.reset()
            wait = interval_seconds if is_complete else backoff.next()
            self._retry_at = None if is_complete else self._clock.monotonic() + wait
            self._retry_now.clear()
            heartbeat.beat(wait)
            await self._clock.wait(self._retry_now, wait)
            self._retry_at = None

    async def follow(self) -> None:
        """Watch what the other processes of a shared ledger have discovered, until cancelled."""
        spacing = min(MIN_REFRESH_SECONDS, self._settings.discover_interval.total_seconds())
        while True:
            heartbeat.beat(FOLLOW_SECONDS)
            await self._clock.wait(self._watched.changed_elsewhere, FOLLOW_SECONDS)
            self._watched.changed_elsewhere.clear()
            heartbeat.beat()
            wait = spacing
            try:
                await self._watched.refresh()
            except LedgerError as error:
                self._report_ledger(error)
                self._watched.changed_elsewhere.set()
                wait = RETRY_SECONDS
            heartbeat.beat(wait)
            await self._clock.sleep(wait)

    async def _discover_and_report(self) -> bool:
        """Discover feeds, and report what fails. Return whether all feeds were found and saved."""
        try:
            problem = await self.discover()
        except LedgerError as error:
            self._report_ledger(error)
            return False
        self._source_health.discovery_error = problem
        self._source_health.report(self._feeds())
        return problem is None

    async def discover(self) -> SourceError | None:
        """Discover and watch the feeds of this process's shards of the users.

        Return the error that made the discovery incomplete, or None. Raise LedgerError if what was found cannot be
        saved.
        """
        started_at, shards, own_id = self._clock.now(), self._watched.own_shards, self._watched.own_id
        try:
            found = await discover(self._source, is_wanted=lambda user_id: shard_of(user_id) in shards)
        except SourceError as error:
            log.warning("discovery failed", reason=error.message, hint=error.hint)
            return error
        await self._watched.add_discovered(found, shards, started_at, own_id=own_id)
        if found.problem is not None:
            log.warning("discovery incomplete", reason=found.problem.message, hint=found.problem.hint)
        return found.problem
