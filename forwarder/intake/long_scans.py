"""The limit of long scans: few run at a time, so that the polls of other feeds do not wait for them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from forwarder import heartbeat
from forwarder.model import Feed

LONG_SCAN_PAGES = 10
"""A scan of more pages is long: a first scan from the beginning, one after an outage, or a full scan of a busy feed."""


class LongScans:
    """The long scans that run. A feed has one scan at a time.

    `on_begin` is called when a scan becomes long, so that other feeds are polled meanwhile.
    """

    def __init__(self, concurrency: int, on_begin: Callable[[Feed], None]) -> None:
        """Allow half of the requests that may be in flight, and at least one."""
        self._slots = asyncio.Semaphore(max(1, concurrency // 2))
        self._on_begin = on_begin
        self._running: set[Feed] = set()

    async def admit(self, feed: Feed, pages: int) -> None:
        """Return when the scan may go on after these pages. A scan that becomes long waits for others to end."""
        if pages != LONG_SCAN_PAGES:
            return
        self._on_begin(feed)
        while feed not in self._running:
            heartbeat.beat(heartbeat.INTERVAL_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(heartbeat.INTERVAL_SECONDS):
                    await self._slots.acquire()
                    self._running.add(feed)

    def end(self, feed: Feed) -> None:
        """End the scan of a feed, long or not."""
        if feed in self._running:
            self._running.remove(feed)
            self._slots.release()
