"""The requests that a scheduler plans: full scans, storms, feeds with errors, outages and restarts."""

from dataclasses import replace

import pytest

from forwarder.intake.allocation import MAX_PLANNED_SHARE, REQUESTS_PER_FAILED_POLL
from forwarder.intake.poll_plan import IntervalReason
from forwarder.model import Feed
from tests.intake.scheduler_harness import (
    MAX_INTERVAL_SECONDS,
    QUIET,
    A,
    B,
    create_scheduler,
    failing_every,
    intervals,
    wait_for_next,
)


async def test_pages_of_a_full_scan_do_not_lengthen_the_interval() -> None:
    """A full scan comes at its own interval. The feed with most executions has most pages, and often fails most."""
    scheduler, clock = create_scheduler(A)
    await intervals(scheduler, clock, failing_every(3600.0))
    feed, _ = await wait_for_next(scheduler, clock)
    scheduler.record_success(feed, replace(failing_every(3600.0), at=clock.now()), 1600, is_full_scan=True)
    plan = scheduler.plan(A)
    assert plan is not None
    assert plan.interval_seconds == pytest.approx(20, rel=0.1)


async def test_requests_of_full_scans_are_not_planned_for_polls() -> None:
    feeds = [Feed(f"w-{number}") for number in range(200)]
    scheduler, clock = create_scheduler(*feeds, requests_per_second=4, full_scan_interval="1h")
    for _ in range(400):
        feed, _ = await wait_for_next(scheduler, clock)
        clock.advance(0.25)
        activity = replace(failing_every(600.0), at=clock.now())
        scheduler.record_success(feed, activity, 36, is_full_scan=True)  # 2 requests a second
    plan = scheduler.plan(feed)
    assert plan is not None
    assert plan.interval_seconds == pytest.approx(200 / (4 - 2), rel=0.05)


async def test_storm_of_failures_delays_no_feed_beyond_its_bound() -> None:
    """All feeds begin to fail at once, and each burst is found before the price of a request rises."""
    feeds = [Feed(f"w-{number}") for number in range(100)]
    scheduler, clock = create_scheduler(*feeds, requests_per_second=1)
    longest_interval, begins_at = 400.0, 1000 + 2000.0
    polled_at = dict.fromkeys(feeds, clock.monotonic())
    longest = 0.0
    while clock.monotonic() < begins_at + 2 * longest_interval:
        feed, _ = await wait_for_next(scheduler, clock)
        longest = max(longest, clock.monotonic() - polled_at[feed])
        polled_at[feed] = clock.monotonic()
        clock.advance(1.0)
        activity = QUIET if clock.monotonic() < begins_at else failing_every(3600.0, burst=30.0)
        scheduler.record_success(feed, replace(activity, at=clock.now()), 1)
    assert longest <= longest_interval


async def test_interval_is_shorter_after_most_feeds_were_removed() -> None:
    feeds = [Feed(f"w-{number}") for number in range(1000)]
    scheduler, clock = create_scheduler(*feeds, requests_per_second=4)  # each is polled every 1,000 s
    polled_at = {}
    for _ in feeds:
        feed, _ = await wait_for_next(scheduler, clock)
        polled_at[feed] = clock.monotonic()
        scheduler.record_success(feed, QUIET, 1)
        clock.advance(0.25)
    removed_at = clock.monotonic()
    remaining = sorted(feeds, key=lambda feed: polled_at[feed])[::10]
    scheduler.watch(remaining)
    waits: dict[Feed, float] = {}
    while len(waits) < len(remaining):
        feed, _ = await wait_for_next(scheduler, clock)
        if feed in remaining:
            waits.setdefault(feed, clock.monotonic() - max(removed_at, polled_at[feed]))
        scheduler.record_success(feed, QUIET, 1)
    assert max(waits.values()) <= MAX_INTERVAL_SECONDS


async def test_feeds_with_errors_leave_the_requests_to_the_others() -> None:
    """A tenth of the feeds cannot be read. They use no more than their share of the requests."""
    feeds = [Feed(f"w-{number}") for number in range(100)]
    broken = set(feeds[:10])
    scheduler, clock = create_scheduler(*feeds, requests_per_second=0.2)
    polls = {True: 0, False: 0}
    while clock.monotonic() < 1000 + 20_000:
        feed, _ = await wait_for_next(scheduler, clock)
        clock.advance(5)
        polls[feed in broken] += 1
        if feed in broken:
            scheduler.record_failure(feed)
        else:
            scheduler.record_success(feed, replace(failing_every(600.0), at=clock.now()), 1)
    assert polls[True] <= 0.1 * polls[False]


async def test_all_feeds_are_read_soon_after_an_outage_of_the_api() -> None:
    feeds = [Feed(f"w-{number}") for number in range(1200)]
    scheduler, clock = create_scheduler(*feeds, requests_per_second=4)
    while clock.monotonic() < 1000 + 7200:
        feed, _ = await wait_for_next(scheduler, clock)
        clock.advance(0.25)
        scheduler.record_failure(feed)
    recovered_at, unread = clock.monotonic(), set(feeds)
    while unread:
        feed, _ = await wait_for_next(scheduler, clock)
        clock.advance(0.25)
        unread.discard(feed)
        scheduler.record_success(feed, QUIET, 1)
    assert clock.monotonic() - recovered_at <= 1.1 * REQUESTS_PER_FAILED_POLL * len(feeds) / 4


async def test_feeds_of_an_earlier_run_are_polled_by_their_rates() -> None:
    """The first polls of many feeds take minutes. Feeds that fail often come first, and are polled again meanwhile."""
    hot, new = Feed("hot"), Feed("new")
    quiet = [Feed(f"quiet-{number}") for number in range(1000)]
    scheduler, clock = create_scheduler(*quiet, hot, new)
    scheduler.restore({**dict.fromkeys(quiet, QUIET), hot: failing_every(30.0)})
    polled: list[Feed] = []
    while not set(quiet) <= set(polled):
        feed, _ = await wait_for_next(scheduler, clock)
        polled.append(feed)
        clock.advance(0.05)
        activity = failing_every(30.0) if feed == hot else QUIET
        scheduler.record_success(feed, replace(activity, at=clock.now()), 1)
    assert polled[:2] == [new, hot]
    assert polled.count(hot) >= 10
    longest = scheduler.plan(quiet[0])
    assert longest is not None
    assert clock.monotonic() - 1000 <= longest.interval_seconds / 2 * 1.1


async def test_restored_rates_determine_the_first_intervals() -> None:
    """The price of a request considers the rates of feeds that were not polled since the start."""
    feeds = [Feed(f"w-{number}") for number in range(200)]
    scheduler, _ = create_scheduler(*feeds, requests_per_second=4)
    scheduler.restore(dict.fromkeys(feeds, failing_every(600.0)))
    scheduler.record_success(await scheduler.claim_next(), failing_every(600.0), 1)
    plan = scheduler.plan(feeds[0])
    assert plan is not None
    assert plan.reason is IntervalReason.BUDGET
    assert plan.interval_seconds == pytest.approx(200 / (MAX_PLANNED_SHARE * 4), rel=0.05)


async def test_restored_activity_does_not_replace_a_newer_one() -> None:
    scheduler, _ = create_scheduler(A)
    wait = scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    scheduler.restore({A: failing_every(60.0), B: QUIET})
    assert B not in scheduler
    _, until_due = scheduler.claim_due()
    assert until_due == pytest.approx(wait)
