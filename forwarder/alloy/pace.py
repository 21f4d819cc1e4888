"""One pace for everything that is asked of the logs API."""

from forwarder.backoff import Backoff
from forwarder.clock import Clock
from forwarder.metrics import Metrics

LONGEST_PAUSE = 3600.0
"""Seconds. A Retry-After beyond this is taken as this: an API that means a day is asked again each hour."""


class Pace:
    """Spaces requests evenly and, when told to wait, holds all of them."""

    def __init__(self, clock: Clock, requests_per_second: float, metrics: Metrics | None = None) -> None:
        self._clock = clock
        self._metrics = metrics or Metrics()
        self._gap = 1 / requests_per_second
        self._next = 0.0
        self._held_until = 0.0
        self._backoff = Backoff(base=1.0, cap=60.0, floor=0.5)

    async def turn(self) -> None:
        """Wait for a turn. Who wakes late loses it to nobody. A pause moves those that are to come."""
        while True:
            now = self._clock.monotonic()
            mine = max(self._next, now)
            self._next = mine + self._gap
            if mine > now:
                await self._clock.sleep(mine - now)
            if self._held_until <= mine:
                return

    def pause(self, seconds: float) -> float:
        """Hold every request for `seconds`, or for a step of backoff where that is 0; the seconds."""
        seconds = min(seconds, LONGEST_PAUSE) if seconds > 0 else self._backoff.next()
        now = self._clock.monotonic()
        until = max(self._held_until, now + seconds)
        # Requests in flight together are told to wait together: that is one wait.
        self._metrics.told_to_wait(until - max(self._held_until, now))
        self._held_until = until
        self._next = max(self._next, until)
        return seconds

    def answered(self) -> None:
        self._backoff.reset()
