"""The claims of the feeds that are being polled."""

from collections.abc import Set as AbstractSet

from forwarder.model import Feed

MAX_CLAIMS_FACTOR = 4
"""The number of claimed feeds, long scans included, for each request that may be in flight."""


class Claims:
    """The claimed feeds. At most `concurrency` of them may do short polls.

    Long scans do not count, so that other feeds are polled meanwhile. `forwarder.intake.long_scans` limits their
    requests.
    """

    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._feeds: set[Feed] = set()
        self._long_scans: set[Feed] = set()

    def __contains__(self, feed: Feed) -> bool:
        return feed in self._feeds

    @property
    def feeds(self) -> AbstractSet[Feed]:
        return self._feeds

    @property
    def are_exhausted(self) -> bool:
        """Return whether no other feed may be claimed now."""
        short_polls = len(self._feeds) - len(self._long_scans)
        return short_polls >= self._concurrency or len(self._feeds) >= MAX_CLAIMS_FACTOR * self._concurrency

    def add(self, feed: Feed) -> None:
        self._feeds.add(feed)

    def release(self, feed: Feed) -> None:
        """End a claim, if there is one."""
        self._feeds.discard(feed)
        self._long_scans.discard(feed)

    def clear(self) -> None:
        self._feeds.clear()
        self._long_scans.clear()

    def record_long_scan(self, feed: Feed) -> None:
        """Let another feed be claimed although the scan of this one continues."""
        if feed in self._feeds:
            self._long_scans.add(feed)
