"""The estimation of a feed's failure rate."""

from datetime import timedelta

import pytest

from forwarder.intake.failure_rates import estimate, observe
from forwarder.intake.failure_shares import SharePrior
from forwarder.model import FeedActivity
from tests.virtual_clock import NOON

HOUR = timedelta(hours=1)
PRIOR = SharePrior()


def observe_failures(every: timedelta, total: timedelta) -> FeedActivity:
    """Return the activity after failures at a constant rate, of which every second execution is one."""
    activity = observe(None, NOON, executions=0, failure_ages=[])
    now = NOON
    while now < NOON + total:
        now += every
        activity = observe(activity, now, executions=2, failure_ages=[timedelta()])
    return activity


@pytest.mark.parametrize(("minutes", "tolerance"), [(1, 0.05), (10, 0.15), (30, 0.3)])
def test_estimate_of_steady_failures_approaches_their_rate(minutes: int, tolerance: float) -> None:
    """The prior weighs a few failures, so it counts more where failures are few."""
    every = timedelta(minutes=minutes)
    activity = observe_failures(every, 24 * HOUR)
    rate = estimate(activity, activity.at, PRIOR).per_second
    assert rate == pytest.approx(1 / every.total_seconds(), rel=tolerance)


def test_estimate_falls_when_the_failures_end() -> None:
    activity = observe_failures(timedelta(minutes=10), 24 * HOUR)
    rates = [estimate(activity, activity.at + hours * HOUR, PRIOR).per_second for hours in (0, 3, 6, 24)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] < rates[0] / 20


def test_burst_of_failures_raises_the_estimate_at_once() -> None:
    activity = observe_failures(6 * HOUR, 24 * HOUR)
    before = estimate(activity, activity.at, PRIOR)
    now = activity.at + timedelta(minutes=1)
    burst = observe(activity, now, executions=6, failure_ages=[timedelta(seconds=10 * each) for each in range(6)])
    after = estimate(burst, now, PRIOR)
    assert before.burst == 0
    assert after.burst > 20 * before.usual


def test_one_failure_alone_is_no_burst() -> None:
    activity = observe(None, NOON, executions=1, failure_ages=[timedelta()])
    assert estimate(activity, NOON, PRIOR).burst == 0


def test_old_failures_count_less_than_new_ones() -> None:
    start = observe(None, NOON - 24 * HOUR, executions=0, failure_ages=[])
    new = observe(start, NOON, executions=5, failure_ages=[timedelta()] * 5)
    old = observe(start, NOON, executions=5, failure_ages=[12 * HOUR] * 5)
    assert estimate(new, NOON, PRIOR).usual > 2 * estimate(old, NOON, PRIOR).usual


def test_rate_without_failures_grows_with_the_executions() -> None:
    start = observe(None, NOON, executions=0, failure_ages=[])
    few = observe(start, NOON + HOUR, executions=10, failure_ages=[])
    many = observe(start, NOON + HOUR, executions=1000, failure_ages=[])
    prior = PRIOR.fitted([few, many])
    rates = [estimate(each, NOON + HOUR, prior).per_second for each in (start, few, many)]
    assert rates[0] == 0
    assert rates == sorted(rates)
    assert rates[2] < 1 / HOUR.total_seconds()


def test_clock_that_was_set_back_raises_no_count() -> None:
    activity = observe_failures(timedelta(minutes=10), 24 * HOUR)
    before = observe(activity, activity.at - 12 * HOUR, executions=0, failure_ages=[timedelta(hours=-1)])
    assert before.failures == pytest.approx(activity.failures + 1)


def test_activity_without_new_observations_is_unchanged() -> None:
    activity = observe_failures(HOUR, 24 * HOUR)
    assert observe(activity, activity.at + HOUR, executions=0, failure_ages=[]) is activity


def test_burst_ends_although_the_clock_was_set_back() -> None:
    """A machine may start with a clock that is a day ahead. The next poll after the correction finds nothing new."""
    ahead = NOON + 24 * HOUR
    before = observe(None, ahead - HOUR, executions=0, failure_ages=[])
    burst = observe(before, ahead, executions=6, failure_ages=[timedelta()] * 6)
    corrected = observe(burst, NOON, executions=0, failure_ages=[])
    rates = [estimate(corrected, NOON + age, PRIOR) for age in (timedelta(), HOUR, 24 * HOUR)]
    assert rates[0].burst > 0
    assert rates[1].burst == 0
    assert rates[2].usual < rates[1].usual / 20


def test_burst_counts_as_one_failure_in_the_usual_rate() -> None:
    """A poll that comes late finds the failures of hours at once."""
    start = observe(None, NOON - 24 * HOUR, executions=0, failure_ages=[])
    burst = observe(start, NOON, executions=9, failure_ages=[timedelta(seconds=15 * each) for each in range(9)])
    single = observe(start, NOON, executions=9, failure_ages=[timedelta(minutes=6 * each) for each in range(9)])
    assert burst.failures == pytest.approx(1, rel=0.01)
    assert single.failures == pytest.approx(9, rel=0.1)
    assert estimate(burst, NOON, PRIOR).usual < estimate(single, NOON, PRIOR).usual
