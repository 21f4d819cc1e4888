"""The limit of the polls that triggers request, for all feeds together and for each feed."""

from forwarder.clock import Clock
from forwarder.intake.wait_plan import FeedState
from forwarder.rate_limit import RateLimiter
from forwarder.settings.sections import SourceSettings

TRIGGERED_REQUEST_SHARE = 0.5
"""Triggered polls a second, as a share of the request limit. Most polls need two requests or more."""

MAX_TRIGGER_BURST = 9
"""The number of feeds that triggers may make due at once. Further feeds wait for the limit of triggered polls."""

MIN_TRIGGER_INTERVAL_SECONDS = 1.0
"""The minimum time between two triggered polls of a feed, unless `min_interval` is shorter."""


class TriggerLimit:
    """The limit of triggered polls. All times are those of the monotonic clock, in seconds."""

    def __init__(self, settings: SourceSettings, clock: Clock) -> None:
        self._clock = clock
        self._limiter = RateLimiter(
            clock,
            interval_seconds=1 / (TRIGGERED_REQUEST_SHARE * settings.requests_per_second),
            burst=MAX_TRIGGER_BURST,
        )
        self._min_interval = min(MIN_TRIGGER_INTERVAL_SECONDS, settings.min_interval.total_seconds())

    def limit_requests(self, requests_per_second: float) -> None:
        """Change the limit of requests. The limit of triggered polls is a share of it."""
        self._limiter.set_interval(1 / (TRIGGERED_REQUEST_SHARE * requests_per_second))

    def next_poll_at(self, state: FeedState) -> float:
        """Return the earliest time of a triggered poll of a feed. Call `take` if the poll is scheduled."""
        return max(self._clock.monotonic(), self._limiter.next_at, self.repeated_poll_at(state))

    def repeated_poll_at(self, state: FeedState) -> float:
        """Return the earliest time of a poll that was triggered during the last one, and is already counted."""
        return state.poll_started_at + self._min_interval

    def take(self) -> None:
        """Count one triggered poll."""
        self._limiter.take()
