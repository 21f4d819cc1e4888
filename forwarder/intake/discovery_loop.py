"""The loop that discovers feeds at intervals, while discovery is switched on."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Protocol

import structlog

from forwarder import heartbeat
from forwarder.alloy.client import LogsClient
from forwarder.alloy.discovery import Discovery
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.errors import LedgerError, SourceError
from forwarder.intake.source_health import SourceHealth
from forwarder.model import Feed
from forwarder.settings.sections import SourceSettings

log = structlog.get_logger("intake")


class Watch(Protocol):
    """A function that watches discovered feeds from now on. `discovered_at` is None if some may be missing."""

    def __call__(self, found: list[Feed], *, discovered_at: datetime | None = None) -> Awaitable[None]: ...


class DiscoveryLoop:
    """A loop that discovers feeds, and reports the error that made the last discovery incomplete."""

    def __init__(
        self,
        source: LogsClient,
        settings: SourceSettings,
        clock: Clock,
        source_health: SourceHealth,
        watch: Watch,
        feeds: Callable[[], int],
        report_ledger: Callable[[LedgerError], None],
    ) -> None:
        """Prepare the loop. `feeds` returns the number of feeds that this process polls.

        `report_ledger` reports that what was found cannot be saved.
        """
        self._discovery = Discovery(source)
        self._settings = settings
        self._clock = clock
        self._source_health = source_health
        self._watch = watch
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
        """Discover and watch feeds. Return the error that made the discovery incomplete, or None.

        Raise LedgerError if what was found cannot be saved.
        """
        started_at = self._clock.now()
        try:
            found = await self._discovery.discover()
        except SourceError as error:
            log.warning("discovery failed", reason=error.message, hint=error.hint)
            return error
        await self._watch(found.feeds, discovered_at=None if found.problem else started_at)
        if found.problem is not None:
            log.warning("discovery incomplete", reason=found.problem.message, hint=found.problem.hint)
        return found.problem
