"""One pace for everything that is asked of the logs API."""

from forwarder import heartbeat
from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.metrics import Metrics

MAX_PAUSE_SECONDS = 3600.0
"""A Retry-After beyond this is treated as this: an API that means a day is asked again each hour."""


class RateLimiter:
    """Spaces requests evenly and, when told to wait, holds all of them."""

    def __init__(self, clock: Clock, requests_per_second: float, metrics: Metrics | None = None) -> None:
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._interval = 1 / requests_per_second
        self._next_slot = 0.0
        self._paused_until = 0.0
        self._backoff = Backoff(base=1.0, cap=60.0, floor=0.5)

    async def acquire(self) -> None:
        """Wait for a turn. Who wakes late loses it to nobody. A pause moves those that are to come."""
        while True:
            heartbeat.beat()
            now = self._clock.monotonic()
            slot = max(self._next_slot, now)
            self._next_slot = slot + self._interval
            if slot > now:
                heartbeat.beat(slot - now)
                await self._clock.sleep(slot - now)
            if self._paused_until <= slot:
                return

    def pause(self, seconds: float) -> float:
        """Hold every request for `seconds`, or for a step of backoff where that is 0; the seconds."""
        seconds = min(seconds, MAX_PAUSE_SECONDS) if seconds > 0 else self._backoff.next()
        now = self._clock.monotonic()
        until = max(self._paused_until, now + seconds)
        # Requests in flight together are told to wait together: that is one wait.
        self._metrics.count_rate_limited(until - max(self._paused_until, now))
        self._paused_until = until
        self._next_slot = max(self._next_slot, until)
        return seconds

    def record_success(self) -> None:
        self._backoff.reset()
