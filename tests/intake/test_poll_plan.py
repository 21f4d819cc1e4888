"""The plan for the next poll of a feed."""

from datetime import timedelta

from forwarder.intake.allocation import Demand
from forwarder.intake.poll_plan import IntervalReason, PollPlanner
from forwarder.model import FeedActivity
from tests.factories import some_settings
from tests.virtual_clock import NOON

FEEDS = 1000
LAST_WEEK = NOON - timedelta(days=7)


def rate_without_failures(*, failures_of_others: float) -> float:
    """Return the planned failures a second of a feed in which none of 60 executions failed, among other feeds."""
    planner = PollPlanner(some_settings().source)
    others = [FeedActivity(LAST_WEEK, NOON, executions=60, failures=failures_of_others)] * FEEDS
    for _ in range(10):
        planner.allocate([Demand(0.0)] * FEEDS, others)
    return planner.plan(FeedActivity(LAST_WEEK, NOON, executions=60), 1, NOON).failures_per_second


def test_rate_of_a_feed_without_failures_follows_other_feeds() -> None:
    assert rate_without_failures(failures_of_others=6) > 10 * rate_without_failures(failures_of_others=0)


def test_exhausted_limit_is_the_reason_for_the_longest_interval() -> None:
    """Full scans may need more than all requests. A feed that fails often must not read as one that fails rarely."""
    planner = PollPlanner(some_settings().source)
    busy = FeedActivity(LAST_WEEK, NOON, executions=600, failures=60)
    planner.allocate([Demand(0.01, 100.0)] * FEEDS, [busy] * FEEDS, reserved_per_second=100)
    assert planner.plan(busy, 100, NOON).reason is IntervalReason.EXHAUSTED


def test_longest_interval_of_a_feed_that_failed_names_the_rate() -> None:
    """A feed with 40 failures does not fail rarely."""
    planner = PollPlanner(some_settings(source={"hourly_failure_interval": "10m"}).source)
    feed = FeedActivity(LAST_WEEK, NOON, executions=600, failures=40)
    planner.allocate([Demand(0.0)], [feed])
    assert planner.plan(feed, 1, NOON).reason == "longest interval: its failure rate needs no shorter one"
