"""A rate limiter for each key."""

from collections import OrderedDict

from forwarder.clock import Clock

MAX_KEYS = 1000
"""The number of keys that are tracked at a time. The least recently used key is dropped."""


class RateLimiter:
    """A limit of `burst` calls at once, and one more call each `refill_seconds`, for each key."""

    def __init__(self, clock: Clock, *, burst: int, refill_seconds: float) -> None:
        self._clock = clock
        self._burst = burst
        self._refill_seconds = refill_seconds
        self._until: OrderedDict[str, float] = OrderedDict()

    def consume(self, key: str) -> None:
        """Count one call."""
        now = self._clock.monotonic()
        self._until[key] = max(now, self._until.pop(key, now)) + self._refill_seconds
        if len(self._until) > MAX_KEYS:
            self._until.popitem(last=False)

    def retry_after(self, key: str) -> float:
        """Return the seconds until the next call is allowed; 0 if one is allowed now."""
        full_at = self._until.get(key, 0.0) - self._clock.monotonic()
        return max(0.0, full_at - (self._burst - 1) * self._refill_seconds)
