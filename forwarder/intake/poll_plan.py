"""The plan for the next poll of a feed: its interval, and the reason for it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from forwarder.intake.allocation import Demand, Limits, find_price, interval_at, price_for_hourly_failure
from forwarder.intake.failure_rates import estimate
from forwarder.intake.failure_shares import SharePrior
from forwarder.model import FeedActivity
from forwarder.settings.sections import SourceSettings

MIN_ALLOCATION_INTERVAL_SECONDS = 10.0
ALLOCATION_SECONDS_PER_FEED = 0.02
"""The time between two allocations of requests to all feeds, so that they take a negligible share of a core.

A feed's own rate counts at each of its polls.
"""


class IntervalReason(StrEnum):
    """The reason for the interval of a feed, as the page and `status` show it."""

    OFTEN = "shortest interval: it fails often"
    BURST = "burst of failures"
    RATE = "failure rate"
    BUDGET = "failure rate, within the request limit"
    QUIET = "longest interval: its failure rate needs no shorter one"
    EXHAUSTED = "longest interval: the request limit is used up"
    NEW = "new feed"
    ERROR = "backoff after an error"


@dataclass(frozen=True, slots=True)
class PollPlan:
    """The planned interval of a feed, the reason for it, and the failures a second that are expected.

    A poll may come up to a tenth earlier, the second one up to half, and one after a trigger at any time.
    """

    interval_seconds: float
    reason: IntervalReason
    failures_per_second: float = 0.0


class PollPlanner:
    """A planner for one set of settings. It holds the price of a request, which all feeds share."""

    def __init__(self, settings: SourceSettings) -> None:
        self._limits = Limits(
            settings.min_interval.total_seconds(),
            settings.max_interval.total_seconds(),
            settings.requests_per_second,
            price_for_hourly_failure(settings.hourly_failure_interval.total_seconds()),
        )
        self._price = self._limits.price
        self._share_prior = SharePrior()
        self._feeds = 1

    def limit_requests(self, requests_per_second: float) -> None:
        """Change the limit of requests for the next allocation."""
        self._limits = replace(self._limits, requests_per_second=requests_per_second)

    def allocate(
        self, demands: Sequence[Demand], activities: Sequence[FeedActivity], *, reserved_per_second: float = 0.0
    ) -> float:
        """Find the price of a request for all feeds. Return the seconds after which it should be found again.

        `reserved_per_second` are the requests a second that full scans need.
        """
        self._feeds = len(demands)
        self._share_prior = self._share_prior.fitted(activities)
        self._price = find_price(demands, self._limits, reserved_per_second)
        return max(MIN_ALLOCATION_INTERVAL_SECONDS, ALLOCATION_SECONDS_PER_FEED * self._feeds)

    def longest_interval(self, feeds: int) -> float:
        """Return the longest time between two polls of a feed, in seconds, if this number of feeds is polled."""
        return self._limits.longest_interval(feeds)

    def longest_backoff(self, feeds: int) -> float:
        """Return the longest backoff of a feed with errors, in seconds, if this number of feeds is polled."""
        return self._limits.longest_backoff(feeds)

    def plan(self, activity: FeedActivity, pages: float, now: datetime) -> PollPlan:
        """Return the plan for the next poll of a feed with this activity and number of pages a poll."""
        rate = estimate(activity, now, self._share_prior)
        shortest, longest = self._limits.min_interval_seconds, self._limits.longest_interval(self._feeds)
        interval = interval_at(Demand(rate.per_second, pages), self._price, shortest, longest)
        new = self._limits.new_feed_interval(self._feeds, (now - activity.since).total_seconds())
        if new < interval:
            return PollPlan(new, IntervalReason.NEW, rate.per_second)
        if math.isinf(self._price):
            reason = IntervalReason.EXHAUSTED
        elif interval >= longest:
            reason = IntervalReason.QUIET
        elif rate.burst > rate.usual:
            reason = IntervalReason.BURST
        elif interval <= shortest:
            reason = IntervalReason.OFTEN
        else:
            reason = IntervalReason.BUDGET if self._price > self._limits.price else IntervalReason.RATE
        return PollPlan(interval, reason, rate.per_second)
