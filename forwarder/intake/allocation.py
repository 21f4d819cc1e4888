"""The allocation of requests to feeds: rates in, intervals out.

The mean time from a failure to its detection is half the interval of its feed. For feeds that fail at rates λ, are
polled at rates f and need p requests a poll, the sum of λ/2f + c·p·f is least at f = √(λ / 2c·p), where c is the price
of a request. This is the square-root law of J. Cho and H. Garcia-Molina, "Effective page refresh policies for web
crawlers" (2003), and of K. C. Sia, J. Cho and H. Cho, "Efficient monitoring algorithm for fast news alerts" (2007).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SECONDS_PER_HOUR = 3600.0

MAX_QUIET_SHARE = 0.25
"""The share of the request limit that feeds without failures may use."""

NEW_FEED_POLLS = 2
"""The interval of a new feed is at most its age divided by this number, if the request limit allows that."""

REQUESTS_PER_FAILED_POLL = 2
"""The requests of a poll that fails: a workflow that is not found is requested under both path segments."""

MAX_PLANNED_SHARE = 0.93
"""The share of the request limit that is allocated. Full scans, triggers and retries use the rest."""


@dataclass(frozen=True, slots=True)
class Demand:
    """The demand of one feed: its failures a second, and the requests that one poll needs."""

    failures_per_second: float
    requests_per_poll: float = 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of the intervals in seconds, the limit of requests a second, and the price that a request has.

    The unit of the price is failures · seconds, the sum of delays that one request a second must at least save.
    """

    min_interval_seconds: float
    max_interval_seconds: float
    requests_per_second: float
    price: float

    def longest_interval(self, feeds: int) -> float:
        """Return the interval of a feed without failures, in seconds.

        It is `max_interval_seconds`, or more if the feeds would otherwise use more than MAX_QUIET_SHARE of the limit.
        """
        return max(self._sustainable_interval(feeds), self.max_interval_seconds)

    def new_feed_interval(self, feeds: int, observed_seconds: float) -> float:
        """Return the longest interval of a feed that was added this long ago, in seconds. It grows with the time.

        The first failures of a new workflow are those that a person waits for.
        """
        return max(self._sustainable_interval(feeds), observed_seconds / NEW_FEED_POLLS)

    def longest_backoff(self, feeds: int) -> float:
        """Return the longest backoff of a feed that cannot be read, in seconds. It is at most `longest_interval`.

        It is `max_interval_seconds`, or more if such feeds would otherwise use a larger part of the limit than their
        part of all feeds.
        """
        return max(self.max_interval_seconds, feeds * REQUESTS_PER_FAILED_POLL / self.requests_per_second)

    def _sustainable_interval(self, feeds: int) -> float:
        """Return the interval at which all feeds together use MAX_QUIET_SHARE of the limit, in seconds."""
        return max(self.min_interval_seconds, feeds / (MAX_QUIET_SHARE * self.requests_per_second))


def price_for_hourly_failure(interval_seconds: float) -> float:
    """Return the price at which a feed that fails once an hour is polled at this interval with one request."""
    return interval_seconds**2 / (2 * SECONDS_PER_HOUR)


def interval_at(demand: Demand, price: float, shortest: float, longest: float) -> float:
    """Return the interval of a feed at this price of a request, in seconds, between `shortest` and `longest`."""
    if demand.failures_per_second <= 0:
        return longest
    best = math.sqrt(2 * price * demand.requests_per_poll / demand.failures_per_second)
    return min(longest, max(shortest, best))


def find_price(demands: Sequence[Demand], limits: Limits, reserved_per_second: float = 0.0) -> float:
    """Return the price of a request at which all feeds together stay within MAX_PLANNED_SHARE of the limit.

    Other requests are `reserved_per_second`; they leave at least MAX_QUIET_SHARE. The price is at least `limits.price`.
    If even the longest intervals need more requests, it is infinite.
    """
    shortest, longest = limits.min_interval_seconds, limits.longest_interval(len(demands))
    cap = limits.requests_per_second
    available = max(MAX_QUIET_SHARE * cap, min(MAX_PLANNED_SHARE * cap, cap - reserved_per_second))
    requests = sum(each.requests_per_poll for each in demands) / longest
    if requests > available:
        return math.inf
    # With y = 1/√price, the polls of a feed are proportional to y between its bounds. So all requests are linear in y
    # between two bounds.
    bounds: list[tuple[float, float]] = []
    for each in demands:
        if each.failures_per_second > 0:
            scale = math.sqrt(2 * each.requests_per_poll / each.failures_per_second)
            requests_per_y = each.requests_per_poll / scale
            bounds += (scale / longest, requests_per_y), (scale / shortest, -requests_per_y)
    bounds.sort()
    y, max_y, growth = 0.0, 1 / math.sqrt(limits.price), 0.0
    for bound, change in bounds:
        if bound >= max_y or requests + growth * (bound - y) > available:
            break
        requests += growth * (bound - y)
        y, growth = bound, growth + change
    if requests + growth * (max_y - y) <= available:
        return limits.price
    return max(limits.price, (y + (available - requests) / growth) ** -2)
