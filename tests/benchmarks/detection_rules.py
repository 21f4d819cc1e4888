"""The contestants of the benchmark of detection: rules that decide when each feed is polled next."""

import heapq
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from forwarder import backoff
from forwarder.intake.allocation import (
    MAX_PLANNED_SHARE,
    Demand,
    Limits,
    find_price,
    interval_at,
    price_for_hourly_failure,
)
from forwarder.intake.failure_rates import observe
from forwarder.intake.scheduler import Scheduler
from forwarder.model import Feed, FeedActivity
from forwarder.settings.sections import SourceSettings
from tests.benchmarks.detection_loads import Load

START = datetime(2026, 11, 2, tzinfo=UTC)

PAGE_RECORDS = 30


class SimulatedClock:
    """A `forwarder.clock.Clock` that the simulation sets. Nothing waits on it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    async def wait(self, event: object, seconds: float) -> bool:
        raise NotImplementedError


class Rule(Protocol):
    """A rule of polling. `next_due` returns a feed that is due now, or None and the seconds until one is due."""

    def next_due(self) -> tuple[int | None, float]: ...

    def record(self, feed: int, executions: int, failure_ages: Sequence[float], pages: int) -> None:
        """Record the result of a poll that begins and ends now."""


class SchedulerRule:
    """The scheduler of the forwarder, with the same jitter each time: a load always has the same figures."""

    def __init__(self, load: Load, settings: SourceSettings, clock: SimulatedClock) -> None:
        backoff._random.seed(1)  # noqa: SLF001  # the forwarder itself never seeds its jitter
        self._feeds = {Feed(f"w-{number}"): number for number in range(load.feeds)}
        self._by_number = list(self._feeds)
        self._scheduler = Scheduler(settings, clock)
        self._scheduler.watch(self._feeds)
        self._activities: list[FeedActivity | None] = [None] * load.feeds
        self._clock = clock

    def next_due(self) -> tuple[int | None, float]:
        feed, wait = self._scheduler.claim_due()
        return (None if feed is None else self._feeds[feed]), wait

    def record(
        self, feed: int, executions: int, failure_ages: Sequence[float], pages: int, *, is_full_scan: bool = False
    ) -> None:
        before = self._activities[feed]
        activity = observe(
            before,
            self._clock.now(),
            executions=executions if before else 0,
            failure_ages=[timedelta(seconds=age) for age in failure_ages],
        )
        self._activities[feed] = activity
        self._scheduler.record_success(self._by_number[feed], activity, pages, is_full_scan=is_full_scan)


class IntervalRule:
    """A rule that computes the next interval of a feed after each poll."""

    def __init__(
        self, load: Load, clock: SimulatedClock, interval: Callable[[int, int], float], spread_seconds: float
    ) -> None:
        """`interval` returns the seconds until the next poll of a feed that found so many executions."""
        rng = random.Random(1)  # noqa: S311  # phases need no secrecy
        self._heap = [(rng.uniform(0, spread_seconds), feed) for feed in range(load.feeds)]
        heapq.heapify(self._heap)
        self._clock = clock
        self._interval = interval

    def next_due(self) -> tuple[int | None, float]:
        at, feed = self._heap[0]
        if at > self._clock.seconds:
            return None, at - self._clock.seconds
        heapq.heappop(self._heap)
        return feed, 0

    def record(self, feed: int, executions: int, failure_ages: Sequence[float], pages: int) -> None:  # noqa: ARG002  # a Rule
        heapq.heappush(self._heap, (self._clock.seconds + self._interval(feed, executions), feed))


def round_robin(load: Load, clock: SimulatedClock, requests_per_second: float) -> IntervalRule:
    """Return the rule that polls all feeds in turn, with these requests a second."""
    interval = load.feeds / requests_per_second
    return IntervalRule(load, clock, lambda _feed, _executions: interval, interval)


def arrivals(load: Load, settings: SourceSettings, clock: SimulatedClock) -> IntervalRule:
    """Return the rule of version 0.1: a poll comes when half a page of executions is expected."""
    least, most = settings.min_interval.total_seconds(), settings.max_interval.total_seconds()
    intervals, polled_at = [least] * load.feeds, [-1.0] * load.feeds
    rng = random.Random(2)  # noqa: S311  # jitter needs no secrecy

    def interval(feed: int, executions: int) -> float:
        longer = intervals[feed] * 1.5
        if executions and polled_at[feed] >= 0:
            longer = min(longer, (clock.seconds - polled_at[feed]) * PAGE_RECORDS / 2 / executions)
        intervals[feed] = min(most, max(least, longer))
        polled_at[feed] = clock.seconds
        return max(least, intervals[feed] * (1 - rng.uniform(0, 0.2)))

    return IntervalRule(load, clock, interval, least)


def oracle(load: Load, settings: SourceSettings, clock: SimulatedClock, price: float) -> IntervalRule:
    """Return the rule that knows the true failure rates, with this price of a request."""
    bounds = limits(settings)
    shortest, longest = bounds.min_interval_seconds, bounds.longest_interval(load.feeds)

    def interval(feed: int, _: int) -> float:
        rate = load.rate(feed, clock.seconds)
        one_page = interval_at(Demand(rate), price, shortest, longest)
        pages = 1 + load.executions_per_second[feed] * one_page / PAGE_RECORDS
        return interval_at(Demand(rate, pages), price, shortest, longest)

    return IntervalRule(load, clock, interval, longest / 2)


def oracle_price(load: Load, settings: SourceSettings, requests_per_second: float) -> float:
    """Return the price at which the oracle uses these requests a second, if the rates were as at the middle."""
    bounds = limits(settings)
    middle = load.seconds / 2
    demands = [Demand(load.rate(feed, middle)) for feed in range(load.feeds)]
    scaled = Limits(
        bounds.min_interval_seconds, bounds.longest_interval(load.feeds), requests_per_second / MAX_PLANNED_SHARE, 1e-9
    )
    return find_price(demands, scaled)


def limits(settings: SourceSettings) -> Limits:
    return Limits(
        settings.min_interval.total_seconds(),
        settings.max_interval.total_seconds(),
        settings.requests_per_second,
        price_for_hourly_failure(settings.hourly_failure_interval.total_seconds()),
    )
