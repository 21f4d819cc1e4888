"""The rate limiters: token buckets, implemented by the generic cell rate algorithm (GCRA).

A limiter stores one time, and nothing for each request: https://en.wikipedia.org/wiki/Generic_cell_rate_algorithm.
All times are seconds of the clock's `monotonic`.
"""

from collections import OrderedDict

from forwarder.clock import Clock

USAGE_SECONDS = 60
"""The time over which requests are counted."""

MAX_KEYS = 1000
"""Keys that are limited at a time. A new key replaces the least recently used one."""


class RateLimiter:
    """A limit of `burst` requests at once, and of one more request every `interval_seconds`."""

    def __init__(self, clock: Clock, *, interval_seconds: float, burst: int = 1) -> None:
        self._clock = clock
        self._interval = interval_seconds
        self._tolerance = (burst - 1) * interval_seconds
        self._full_at = float("-inf")
        """The time at which the whole burst is available again. The algorithm calls it theoretical arrival time."""

    @property
    def next_at(self) -> float:
        """Return the earliest time at which a request is allowed. It lies in the past if one is allowed now."""
        return self._full_at - self._tolerance

    @property
    def wait_seconds(self) -> float:
        """Return the time until a request is allowed, or 0 if one is allowed now."""
        return max(0.0, self.next_at - self._clock.monotonic())

    def take(self) -> float:
        """Reserve the next request, and return the time at which it is allowed: now or later."""
        now = self._clock.monotonic()
        allowed_at = max(now, self.next_at)
        self._full_at = max(now, self._full_at) + self._interval
        return allowed_at

    def set_interval(self, seconds: float) -> None:
        """Change the time between requests. Requests that are reserved stay where they are."""
        bursts = self._tolerance / self._interval
        self._interval = seconds
        self._tolerance = bursts * seconds

    def block_until(self, time: float) -> None:
        """Allow no request before `time`, and then one every `interval_seconds`, without a burst."""
        self._full_at = max(self._full_at, time + self._tolerance)


class UsageMeter:
    """The number of requests in the last USAGE_SECONDS, counted by second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._counts = [0] * USAGE_SECONDS
        self._second = int(clock.monotonic())

    def count(self) -> None:
        self._move()
        self._counts[self._second % USAGE_SECONDS] += 1

    @property
    def requests_per_second(self) -> float:
        """Return the mean over the last USAGE_SECONDS, of which the current second is a part."""
        self._move()
        return sum(self._counts) / USAGE_SECONDS

    def _move(self) -> None:
        """Move to the current second, and clear the counts of the seconds that passed without a request."""
        now = int(self._clock.monotonic())
        for second in range(max(self._second + 1, now - USAGE_SECONDS + 1), now + 1):
            self._counts[second % USAGE_SECONDS] = 0
        self._second = max(self._second, now)


class KeyedRateLimiter:
    """A separate limit for each key, for example for each client address."""

    def __init__(self, clock: Clock, *, interval_seconds: float, burst: int) -> None:
        self._clock = clock
        self._interval = interval_seconds
        self._burst = burst
        self._limiters: OrderedDict[str, RateLimiter] = OrderedDict()

    def take(self, key: str) -> None:
        """Count a request of a key. A request that is not allowed yet counts as well, and lengthens the wait."""
        limiter = self._limiters.pop(key, None) or RateLimiter(
            self._clock, interval_seconds=self._interval, burst=self._burst
        )
        limiter.take()
        self._limiters[key] = limiter
        if len(self._limiters) > MAX_KEYS:
            self._limiters.popitem(last=False)

    def wait_seconds(self, key: str) -> float:
        """Return the time until a request of a key is allowed, or 0 if one is allowed now."""
        limiter = self._limiters.get(key)
        return limiter.wait_seconds if limiter else 0.0
