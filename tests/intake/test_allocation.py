"""The allocation of requests to feeds."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from forwarder.intake.allocation import (
    MAX_PLANNED_SHARE,
    Demand,
    Limits,
    find_price,
    interval_at,
    price_for_hourly_failure,
)

HOUR, DAY = 3600.0, 86_400.0

rates = st.floats(0, 10, allow_subnormal=False)
demands = st.lists(st.builds(Demand, rates, st.floats(1, 20)), min_size=1, max_size=50)
similar_demands = st.lists(st.builds(Demand, rates, st.sampled_from([1.0, 1.5, 20.0])), min_size=2, max_size=50)
caps = st.floats(0.5, 100)


def some_limits(cap: float = 20.0) -> Limits:
    return Limits(5.0, 120.0, cap, price_for_hourly_failure(20))


def intervals(feeds: list[Demand], limits: Limits) -> list[float]:
    price, longest = find_price(feeds, limits), limits.longest_interval(len(feeds))
    return [interval_at(each, price, limits.min_interval_seconds, longest) for each in feeds]


@pytest.mark.parametrize(("failure_seconds", "interval"), [(HOUR, 20.0), (DAY, 98.0), (60 * DAY, 120.0), (20, 5.0)])
def test_interval_follows_the_square_root_of_the_rate(failure_seconds: float, interval: float) -> None:
    assert intervals([Demand(1 / failure_seconds)], some_limits()) == [pytest.approx(interval, abs=0.1)]


def test_interval_without_failures_is_the_longest() -> None:
    assert intervals([Demand(0.0)] * 1000, some_limits(cap=20)) == [200.0] * 1000


def test_price_of_more_feeds_than_requests_rises_to_the_limit() -> None:
    feeds = [Demand(1 / HOUR)] * 1000
    used = sum(1 / each for each in intervals(feeds, some_limits(cap=20)))
    assert used == pytest.approx(MAX_PLANNED_SHARE * 20, rel=0.01)


@given(demands, caps)
def test_allocation_stays_within_its_bounds_and_the_cap(feeds: list[Demand], cap: float) -> None:
    """The cap holds whenever the longest intervals can meet it."""
    limits = some_limits(cap)
    found = intervals(feeds, limits)
    longest = limits.longest_interval(len(feeds))
    assert all(limits.min_interval_seconds <= each <= longest for each in found)
    used = sum(feed.requests_per_poll / interval for feed, interval in zip(feeds, found, strict=True))
    least = sum(feed.requests_per_poll / longest for feed in feeds)
    assert used <= max(MAX_PLANNED_SHARE * cap, least) * (1 + 1e-9)


@given(similar_demands, caps)
def test_feed_that_fails_more_often_is_never_polled_less(feeds: list[Demand], cap: float) -> None:
    """Feeds are compared whose polls need as many requests."""
    found = intervals(feeds, some_limits(cap))
    by_rate = sorted(zip(feeds, found, strict=True), key=lambda each: each[0].failures_per_second)
    for pages in {each.requests_per_poll for each in feeds}:
        similar = [interval for feed, interval in by_rate if feed.requests_per_poll == pages]
        assert similar == sorted(similar, reverse=True)


def test_other_requests_are_not_planned_but_leave_a_quarter() -> None:
    feeds, limits = [Demand(1 / HOUR)] * 1000, some_limits(cap=20)
    longest = limits.longest_interval(1000)
    for reserved, planned in ((0.5, 20 * MAX_PLANNED_SHARE), (10.0, 10.0), (100.0, 5.0)):
        price = find_price(feeds, limits, reserved)
        used = sum(1 / interval_at(each, price, limits.min_interval_seconds, longest) for each in feeds)
        assert used == pytest.approx(planned, rel=1e-6)


@given(st.integers(1, 100_000), caps)
def test_longest_backoff_is_at_most_the_longest_interval(feeds: int, cap: float) -> None:
    limits = some_limits(cap)
    assert limits.max_interval_seconds <= limits.longest_backoff(feeds) <= limits.longest_interval(feeds)


@given(demands, caps)
def test_price_never_falls_below_the_setting(feeds: list[Demand], cap: float) -> None:
    limits = some_limits(cap)
    price = find_price(feeds, limits)
    assert price >= limits.price
    assert not math.isnan(price)
