"""The retention gap: the latest period whose executions may have been purged before they were read."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from forwarder.time_format import rfc3339

MAX_GAP_FEEDS = 20
"""The number of feeds that a retention gap names."""

GAP_DISPLAY_TIME = timedelta(days=30)
"""The time for which a retention gap is displayed after its feeds were read again."""


@dataclass(frozen=True, slots=True)
class RetentionGap:
    """A period in which executions stopped that the logs API may have purged before they were read.

    `end` and `read_at` are None until the feeds are read again. `feeds` are at most MAX_GAP_FEEDS of the `feed_count`
    feeds.
    """

    start: datetime
    feeds: tuple[str, ...]
    feed_count: int
    found_at: datetime
    end: datetime | None = None
    read_at: datetime | None = None

    def is_displayed(self, now: datetime) -> bool:
        return self.read_at is None or now - self.read_at < GAP_DISPLAY_TIME

    @property
    def sentence(self) -> str:
        """Return a sentence for a person that names the period and the feeds."""
        others = self.feed_count - len(self.feeds)
        feeds = ", ".join(self.feeds) + (f" and {others} more" if others > 0 else "")
        end = "and are older than source.log_retention" if self.end is None else f"until {_seconds(self.end)}"
        return (
            f"failures that stopped after {_seconds(self.start)} {end} may be missing from {feeds}: "
            "the logs API may have purged them before they were read"
        )


def _seconds(time: datetime) -> str:
    return rfc3339(time, timespec="seconds")
