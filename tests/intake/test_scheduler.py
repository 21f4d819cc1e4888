"""The time at which each feed is polled next."""

import asyncio
from dataclasses import replace

import pytest

from forwarder.intake.allocation import MAX_PLANNED_SHARE
from forwarder.intake.poll_plan import IntervalReason, PollPlan
from forwarder.intake.wait_plan import MAX_FIRST_JITTER, MAX_JITTER
from forwarder.model import Feed, FeedActivity
from tests.intake.scheduler_harness import (
    MAX_INTERVAL_SECONDS,
    MIN_INTERVAL_SECONDS,
    QUIET,
    A,
    B,
    C,
    create_scheduler,
    failing_every,
    intervals,
    is_nothing_due,
    wait_for_next,
)


async def test_new_feeds_are_due_at_once_and_claimed_once() -> None:
    scheduler, clock = create_scheduler(A, B, C, A)
    assert [(await wait_for_next(scheduler, clock)) for _ in range(3)] == [(A, 0), (B, 0), (C, 0)]
    assert await is_nothing_due(scheduler)


async def test_concurrent_polls_are_limited_by_concurrency_setting() -> None:
    scheduler, clock = create_scheduler(A, B, C, concurrency=2)
    assert [await scheduler.claim_next() for _ in range(2)] == [A, B]
    assert await is_nothing_due(scheduler)
    waiting = asyncio.create_task(wait_for_next(scheduler, clock))
    await asyncio.sleep(0)
    scheduler.record_success(B, QUIET, 1)
    assert await waiting == (C, 0)


@pytest.mark.parametrize(
    ("failure_seconds", "interval", "reason"),
    [
        (60.0, MIN_INTERVAL_SECONDS, IntervalReason.OFTEN),
        (3600.0, 20, IntervalReason.RATE),
        (28 * 86_400.0, MAX_INTERVAL_SECONDS, IntervalReason.QUIET),
    ],
)
async def test_interval_follows_the_rate_of_failures(
    failure_seconds: float, interval: float, reason: IntervalReason
) -> None:
    scheduler, clock = create_scheduler(A)
    waits = await intervals(scheduler, clock, failing_every(failure_seconds))
    plan = scheduler.plan(A)
    assert plan is not None
    assert plan.interval_seconds == pytest.approx(interval, rel=0.05)
    least = min(interval, plan.interval_seconds)  # the prior changes the rate a little
    assert waits[1] >= (1 - MAX_FIRST_JITTER) * least - 1e-6
    assert min(waits[2:]) >= (1 - MAX_JITTER) * least - 1e-6
    assert max(waits[1:]) <= 1.1 * interval
    assert plan.reason is reason


async def test_quiet_feed_waits_longer_when_requests_are_few() -> None:
    scheduler, clock = create_scheduler(*(Feed(f"w-{number}") for number in range(100)), requests_per_second=2)
    for _ in range(100):
        scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    plan = scheduler.plan(Feed("w-99"))
    assert plan == PollPlan(200.0, IntervalReason.QUIET, failures_per_second=0.0)
    assert (await wait_for_next(scheduler, clock))[1] >= (1 - MAX_FIRST_JITTER) * 200


async def test_new_feed_is_polled_at_growing_intervals() -> None:
    scheduler, clock = create_scheduler(A)
    waits = await intervals(scheduler, clock, FeedActivity(clock.now(), clock.now()))
    assert waits[1] <= MIN_INTERVAL_SECONDS
    assert waits[2:6] == sorted(waits[2:6])
    assert min(waits[-5:]) >= 0.8 * MAX_INTERVAL_SECONDS - 1e-6


async def test_burst_shortens_the_interval_of_a_quiet_feed() -> None:
    scheduler, clock = create_scheduler(A)
    await intervals(scheduler, clock, failing_every(86_400.0, burst=5.0))
    plan = scheduler.plan(A)
    assert plan is not None
    assert (plan.interval_seconds < 10, plan.reason) == (True, IntervalReason.BURST)


async def test_more_failing_feeds_than_requests_share_the_limit() -> None:
    feeds = [Feed(f"w-{number}") for number in range(200)]
    scheduler, clock = create_scheduler(*feeds, requests_per_second=4)
    for _ in range(400):
        feed, _ = await wait_for_next(scheduler, clock)
        clock.advance(0.25)
        scheduler.record_success(feed, replace(failing_every(600.0), at=clock.now()), 1)
    plan = scheduler.plan(feed)
    assert plan is not None
    assert plan.reason is IntervalReason.BUDGET
    assert plan.interval_seconds == pytest.approx(200 / (MAX_PLANNED_SHARE * 4), rel=0.05)


async def test_polls_of_feeds_started_together_spread() -> None:
    scheduler, clock = create_scheduler(*(Feed(f"w-{number}") for number in range(20)))
    due = []
    for _ in range(200):
        feed, _ = await wait_for_next(scheduler, clock)
        due.append(clock.monotonic())
        scheduler.record_success(feed, QUIET, 1)
    assert len(set(due[-20:])) == 20


async def test_failing_feed_backs_off_alone_and_recovers_at_once() -> None:
    scheduler, clock = create_scheduler(A, B)
    times: dict[Feed, list[float]] = {A: [], B: []}
    while len(times[A]) < 8:
        feed, _ = await wait_for_next(scheduler, clock)
        times[feed].append(clock.monotonic())
        if feed == A:
            scheduler.record_failure(feed)
        else:
            scheduler.record_success(feed, replace(failing_every(60.0), at=clock.now()), 1)
    waits = [after - before for before, after in zip(times[A], times[A][1:], strict=False)]
    assert waits[0] <= 2 * MIN_INTERVAL_SECONDS
    assert max(waits) <= MAX_INTERVAL_SECONDS
    assert min(waits[-2:]) >= MAX_INTERVAL_SECONDS / 2
    assert len(times[B]) > 20
    while (await wait_for_next(scheduler, clock))[0] != A:
        scheduler.record_success(B, QUIET, 1)
    wait = scheduler.record_success(A, replace(failing_every(60.0), at=clock.now()), 1)
    assert wait is not None
    assert wait <= 2 * MIN_INTERVAL_SECONDS


async def test_feed_added_later_is_due_and_others_keep_their_time() -> None:
    scheduler, clock = create_scheduler(A)
    wait = scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    scheduler.watch([A, B])
    assert await wait_for_next(scheduler, clock) == (B, 0)
    feed, waited_seconds = await wait_for_next(scheduler, clock)
    assert feed == A
    assert waited_seconds == pytest.approx(wait)


async def test_interval_begins_with_the_poll() -> None:
    """A failure during a long poll is found by the next one, so the length of the poll does not delay that one."""
    scheduler, clock = create_scheduler(A)
    scheduler.record_success(await scheduler.claim_next(), QUIET, 1)
    for _ in range(3):
        await wait_for_next(scheduler, clock)
        started = clock.monotonic()
        clock.advance(100.0)
        scheduler.record_success(A, replace(QUIET, at=clock.now()), 300)
        await scheduler.claim_next()
        assert clock.monotonic() - started <= MAX_INTERVAL_SECONDS
        scheduler.record_success(A, replace(QUIET, at=clock.now()), 1)


async def test_poll_longer_than_its_interval_leaves_a_pause() -> None:
    scheduler, clock = create_scheduler(A)
    await scheduler.claim_next()
    clock.advance(10 * MAX_INTERVAL_SECONDS)
    assert scheduler.record_success(A, QUIET, 300) == MIN_INTERVAL_SECONDS


async def test_quiet_feed_stays_within_its_interval_if_polls_are_slow() -> None:
    """A slow API allows fewer requests than the setting. The feeds that fail often wait longer, and no other."""
    hot = [Feed(f"hot-{number}") for number in range(100)]
    quiet = [Feed(f"quiet-{number}") for number in range(50)]
    scheduler, clock = create_scheduler(*hot, *quiet)
    polled_at = dict.fromkeys(quiet, clock.monotonic())
    longest = 0.0
    while clock.monotonic() < 1000 + 20 * MAX_INTERVAL_SECONDS:
        feed, _ = await wait_for_next(scheduler, clock)
        if feed in polled_at:
            if clock.monotonic() > 1000 + 5 * MAX_INTERVAL_SECONDS:
                longest = max(longest, clock.monotonic() - polled_at[feed])
            polled_at[feed] = clock.monotonic()
        clock.advance(0.25)
        activity = QUIET if feed in polled_at else failing_every(30.0)
        scheduler.record_success(feed, replace(activity, at=clock.now()), 1)
    assert longest <= MAX_INTERVAL_SECONDS
